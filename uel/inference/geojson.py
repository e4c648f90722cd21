"""Fixes as GeoJSON (RFC 7946): position, candidates, and the regions that hold 50 and 90 % of the probability."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uel.core.grid import Grid
from uel.core.io import staged_file
from uel.estimation.credible_regions import hpd_outlines, pixel_probability
from uel.estimation.fix import Fix
from uel.geo.tile import Tile

HPD_LEVELS = (0.5, 0.9)
CANDIDATE_COUNT = 5
CoordinateTransform = Callable[[Sequence[float]], list[float]]
LOCAL_COORDINATES_NOTE = (
    "metres east and north of the tile's centre: this tile is not georeferenced, so coordinates are not degrees"
)


def feature_collection(fix: Fix, tile: Tile, grid: Grid, **properties: Any) -> dict[str, Any]:
    """A feature collection of one fix (a batch of one); `properties` are added to those of every feature.

    Coordinates are longitude and latitude where the tile has a CRS, else metres, as a `note` then says. Standard
    deviations and covariances are in metres.
    """
    transform = coordinate_transform(tile)
    position = _point(transform(fix.position[0].tolist()), {"kind": "position", **_uncertainty(fix), **properties})
    means, probabilities, patches = fix.candidates(CANDIDATE_COUNT)
    parts = zip(means[0].tolist(), probabilities[0].tolist(), patches[0].tolist(), strict=True)
    candidates = [
        _point(transform(xy), {"kind": "candidate", **_component(fix, patch, p), **properties})
        for xy, p, patch in parts
    ]
    pixels = pixel_probability(fix, grid)
    regions = [
        _region(hpd_outlines(pixels, grid, level), transform, {"share": level, **properties}) for level in HPD_LEVELS
    ]
    return {**_head(tile), "features": [position, *candidates, *regions]}


FeatureWriter = Callable[..., None]
"""writes the features of one fix with further properties"""


@contextmanager
def open_features(file: Path | None, tile: Tile, grid: Grid) -> Iterator[FeatureWriter]:
    """A feature collection of many fixes, written as they come; the file appears at the end. None: nothing is written.

    Each fix has its position, candidates and regions, as in `feature_collection`.
    """
    if file is None:
        yield lambda fix, **properties: None
        return
    with staged_file(file) as staged, staged.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(_head(tile), ensure_ascii=False)[:-1] + ', "features": [')
        separator = "\n"

        def write(fix: Fix, **properties: Any) -> None:
            nonlocal separator
            for feature in feature_collection(fix, tile, grid, **properties)["features"]:
                stream.write(separator + json.dumps(feature, ensure_ascii=False))
                separator = ",\n"

        yield write
        stream.write("\n]}\n")


def _head(tile: Tile) -> dict[str, Any]:
    """A collection's own members but for its features."""
    note = {} if tile.meta.get("crs") else {"note": LOCAL_COORDINATES_NOTE}
    return {"type": "FeatureCollection", **note}


def coordinate_transform(tile: Tile) -> CoordinateTransform:
    """From metres on the tile to (longitude, latitude); to rounded metres where the tile is not georeferenced."""
    if not tile.meta.get("crs"):
        return lambda xy: [round(v, 2) for v in xy]
    from pyproj import Transformer

    transformer = Transformer.from_crs(tile.meta["crs"], "EPSG:4326", always_xy=True)
    east, north = tile.meta["origin"]
    return lambda xy: [round(v, 7) for v in transformer.transform(xy[0] + east, xy[1] + north)]


def _uncertainty(fix: Fix) -> dict[str, Any]:
    covariance = fix.covariance[0]
    return {
        "covariance": [[round(v, 3) for v in row] for row in covariance.tolist()],
        "std": round(float(fix.std[0]), 2),
        "entropy": round(float(fix.entropy()[0]), 4),
    }


def _component(fix: Fix, patch: int, probability: float) -> dict[str, Any]:
    std = fix.component_covariance[0, patch].trace().sqrt()
    return {"probability": round(probability, 6), "std": round(float(std), 2)}


def _point(coordinates: list[float], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": properties,
    }


def _region(
    polygons: list[list[list[list[float]]]], transform: CoordinateTransform, properties: dict[str, Any]
) -> dict[str, Any]:
    rings = [[[transform(xy) for xy in ring] for ring in polygon] for polygon in polygons]
    return {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": rings},
        "properties": {"kind": "region", **properties},
    }
