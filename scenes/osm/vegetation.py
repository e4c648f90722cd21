"""Trees, rows of trees and woods of a map as crowns: areas with a lower and an upper end, in metres of the tile.

What mappers leave out is that of an ordinary tree in a street, and of the woods of 15 and 16 m mean height in which
ITU-R P.833-10 (section 2.1) has its figures measured. Woods, orchards and scrub begin at the ground, as they do there:
antennas of 1.6 and 2.4 m stood inside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from scenes.osm.footprints import feature_ids, polygonal_part, repair_polygons, square, tags_of
from scenes.osm.map_features import VegetationPatch
from scenes.osm.tags import parse_length

TREE_HEIGHT = 10.0  # m
CROWN_FRACTION = 0.6  # diameter of a single tree's crown, of its height
CLEAR_FRACTION = 0.3  # of its height, below its crown
AREA_HEIGHTS = {  # m, of what covers an area
    ("natural", "wood"): 15.0,
    ("landuse", "forest"): 15.0,
    ("landuse", "orchard"): 4.0,
    ("natural", "scrub"): 3.0,
}
HEIGHT_KEYS, CROWN_KEYS = ("height", "est_height"), ("diameter_crown", "crown_diameter")


def vegetation_patches(frame: gpd.GeoDataFrame, half: float) -> list[VegetationPatch]:
    """Crowns of a table in metres, cut at the square |x|, |y| ≤ `half`: trees, rows of trees, woods and scrub.

    The height is that of the tags (`height`, `est_height`), else that of the kind; a tree's crown is as wide as
    `diameter_crown` says, else 0.6 of its height, and so is a row of trees.
    """
    patches = []
    for id, geometry, tags in zip(feature_ids(frame), frame.geometry, tags_of(frame), strict=True):
        if (crown := _crown(geometry, tags)) is not None:
            shape, base, top = crown
            (area,) = repair_polygons([shapely.intersection(shape, square(half))])
            if not area.is_empty:
                patches.append(VegetationPatch(id=id, footprint=area, base=base, top=top))
    return patches


def _crown(geometry: BaseGeometry, tags: Mapping[str, str]) -> tuple[BaseGeometry, float, float] | None:
    """Area of a feature's crowns, and their lower and upper end in metres above the ground; None for anything else."""
    if geometry.is_empty:
        return None
    if tags.get("natural") in ("tree", "tree_row"):
        top = _first_length(tags, HEIGHT_KEYS) or TREE_HEIGHT
        width = _first_length(tags, CROWN_KEYS) or CROWN_FRACTION * top
        return shapely.buffer(geometry, width / 2, quad_segs=4), CLEAR_FRACTION * top, top
    heights = [height for (key, value), height in AREA_HEIGHTS.items() if tags.get(key) == value]
    if not heights or "Polygon" not in geometry.geom_type:
        return None
    (shape,) = repair_polygons([polygonal_part(geometry)])
    return shape, 0.0, _first_length(tags, HEIGHT_KEYS) or max(heights)


def _first_length(tags: Mapping[str, str], keys: tuple[str, ...]) -> float | None:
    """The first of some lengths that a feature has."""
    lengths = [parse_length(tags.get(key)) for key in keys]
    return next((length for length in lengths if length is not None), None)


def vegetation_summary(patches: Sequence[VegetationPatch]) -> dict[str, Any]:
    """How many crowns and areas a map has, and the median of their heights in metres; for a build report."""
    tops = [patch.top for patch in patches]
    return {"count": len(tops), "median_top": float(np.median(tops)) if tops else 0.0}
