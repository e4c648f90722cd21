"""Build report of a tile (`build_report.json`): counts, checks, problems and notes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from scenes.mesh.extrusion import PrismMesh
from scenes.mesh.mesh_parts import Array, MeshPart
from scenes.osm.map_features import Exclusion, MapExtract
from scenes.osm.vegetation import vegetation_summary
from scenes.tiles.validation import (
    MIN_PIECE_HEIGHT,
    check_heights,
    check_line_of_sight,
    check_meshes,
    check_overlaps,
    check_round_trip,
    check_sites,
)
from uel.geo.tile import Tile

MAX_OVERLAP_FRACTION = 1e-3  # of the area of all footprints, from rounding and repaired outlines
MAX_ROUND_TRIP_ERROR = 1e-3  # m
MIN_KNOWN = 0.5  # fraction of a tile whose heights a raster knows, below which buildings are guesses
UNKNOWN_FOR_MESHES = (
    "georeference",
    "number of buildings",
    "how heights and materials are known",
    "watertight meshes: walls are merged by material and cut at the margin's edge",
    "overlaps",
)
SIGHT_PIXEL_STEP = (
    4  # pixels between two tests of the line of sight: fractions to a per cent in a sixteenth of the time
)


def map_tile_report(extract: MapExtract, meshes: Mapping[str, PrismMesh], tile: Tile) -> dict[str, Any]:
    """Report of a tile that was built from a map, without a date; `problems` is empty for a sound tile."""
    report: dict[str, Any] = {
        "name": extract.name,
        "buildings": len(extract.buildings),
        "excluded": dict(sorted(Counter(_kind(exclusion) for exclusion in extract.exclusions).items())),
        "ground": dict(sorted(Counter(patch.kind for patch in extract.land_cover).items())),
        **({"vegetation": vegetation_summary(extract.vegetation)} if "canopy_top" in tile.rasters else {}),
        "terrain": tile.meta["terrain"] | _relief(tile),
        "materials": {side: _material_counts(tile, side) for side in ("wall", "roof")},
        "outdoors": _area_fractions(tile, tile.rasters["footprint"].numpy() < 0.5),
        "heights": check_heights(extract.buildings) | dict(extract.provenance.get("known_heights", {})),
        "coverage": extract.provenance.get("coverage"),
        **({"known_squares": extract.known_squares.report} if extract.known_squares else {}),
        "meshes": check_meshes(meshes),
        "overlaps": check_overlaps(extract.buildings),
        "round_trip": check_round_trip(extract.crs, extract.origin, extract.size / 2 + extract.margin),
        **_site_checks(tile),
    }
    return report | {"problems": find_problems(report), "notes": [*extract.notes, *find_notes(report)]}


def mesh_tile_report(tile: Tile, parts: Sequence[MeshPart]) -> dict[str, Any]:
    """Report of a tile that was cut out of a bundled city's meshes, by area and by triangles.

    `unknown` lists the checks that meshes do not allow.
    """
    report = {
        "name": tile.name,
        "triangles": {part.name: len(part.faces) for part in parts},
        "terrain": {"kind": "mesh", **_relief(tile)},
        "roofs": _roofs(tile),
        "outdoors": _area_fractions(tile, tile.rasters["footprint"].numpy() < 0.5),
        "unknown": list(UNKNOWN_FOR_MESHES),
        **_site_checks(tile),
    }
    return report | {"problems": _site_problems(report), "notes": [*_scene_notes(tile), *find_notes(report)]}


def _scene_notes(tile: Tile) -> list[str]:
    """What was assumed while a scene's file was read."""
    return list(tile.meta["provenance"].get("notes", []))


def _roofs(tile: Tile) -> dict[str, Any]:
    """From the rasters: the fraction of the square that is built on, and heights and materials of roofs by area."""
    is_roof = tile.rasters["footprint"].numpy() > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()[is_roof]
    return {
        "covered": float(is_roof.mean()),
        "quartiles": np.percentile(above, [0, 25, 50, 75, 100]).tolist(),
        "materials": _area_fractions(tile, is_roof),
    }


def _area_fractions(tile: Tile, where: Bool[Array, "row column"]) -> dict[str, float]:
    """Fraction of the pixels `where` whose topmost material is each one; empty without a pixel."""
    count = np.bincount(tile.rasters["material"].numpy()[where].astype(int), minlength=len(tile.materials))
    return {name: float(n / count.sum()) for name, n in zip(tile.materials, count, strict=True) if n}


def _site_checks(tile: Tile) -> dict[str, Any]:
    sites = tile.sites if tile.has_sites else ()
    sight = check_line_of_sight(tile, sites, every=SIGHT_PIXEL_STEP) if sites else None
    return {"sites": check_sites(tile, sites), "sight": sight}


def find_problems(report: Mapping[str, Any]) -> list[str]:
    """Messages about what is wrong with a tile."""
    meshes, shared, error = report["meshes"], report["overlaps"]["share"] or 0.0, report["round_trip"]["error"]
    impossible = report["heights"]["impossible"]
    known = report.get("known_squares", {"known": 1.0})["known"]
    messages = {
        f"{meshes['count']} meshes, of which {meshes['open']} are open": bool(meshes["open"]),
        f"buildings overlap: {shared:.2%} of their footprints": shared > MAX_OVERLAP_FRACTION,
        f"coordinates change by {error:g} m when converted to degrees and back": error > MAX_ROUND_TRIP_ERROR,
        f"buildings of impossible height: {impossible}": bool(impossible),
        f"the raster knows heights on {known:.0%} of the tile alone: buildings elsewhere are missing or guessed": known
        < MIN_KNOWN,
    }
    return [message for message, is_wrong in messages.items() if is_wrong] + _site_problems(report)


def _site_problems(report: Mapping[str, Any]) -> list[str]:
    sites, sight = report["sites"], report["sight"]
    messages = {
        f"sites at impossible positions: {sites['refused']}": bool(sites["refused"]),
        "no site has a line of sight to an outdoor pixel": bool(sight) and sight["any"] == 0,
    }
    return [message for message, is_wrong in messages.items() if is_wrong]


def find_notes(report: Mapping[str, Any]) -> list[str]:
    """Messages about what is unusual but valid: thin slabs, and sites in the middle of a deep roof that see no
    street."""
    thin = report["heights"]["thin"] if "heights" in report else []
    blind = (
        [index for index, fraction in enumerate(report["sight"]["sites"]) if fraction == 0] if report["sight"] else []
    )
    bare = report.get("vegetation", {"count": 1})["count"] == 0
    messages = {
        "the map has neither trees nor woods: --vegetation attenuates nothing": bare,
        f"pieces of less than {MIN_PIECE_HEIGHT:g} m from bottom to top: {', '.join(thin)}": bool(thin),
        f"sites without a line of sight to an outdoor pixel: {', '.join(map(str, blind))}": bool(blind),
    }
    return [message for message, is_unusual in messages.items() if is_unusual]


def _kind(exclusion: Exclusion) -> str:
    """The reason of an exclusion without the ids of other features, or the numbers, at its end."""
    return re.sub(r":? ((way|relation|node|file|feature)/|\d+ of ).*", "", exclusion.reason)


def _relief(tile: Tile) -> dict[str, Any]:
    ground = tile.rasters["ground"]
    return {"lowest": float(ground.min()), "highest": float(ground.max())}


def _material_counts(tile: Tile, side: str) -> dict[str, int]:
    return dict(sorted(Counter(building[side] for building in tile.meta["buildings"].values()).items()))
