"""What `build_report.json` says of a tile: counts, checks, and the problems that they amount to."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from scenes.mesh.extrusion import PrismMesh
from scenes.mesh.mesh_parts import Array, MeshPart
from scenes.osm.map_features import Exclusion, MapExtract
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

MAX_OVERLAP_FRACTION = 1e-3  # of all footprints: what rounding and repaired outlines may share
MAX_ROUND_TRIP_ERROR = 1e-3  # m
UNKNOWN_FOR_MESHES = (
    "georeference",
    "number of buildings",
    "how heights and materials are known",
    "watertight meshes: walls are merged by material and cut at the margin's edge",
    "overlaps",
)
SIGHT_PIXEL_STEP = 4  # pixels between places at which sight is tried: shares to a per cent, in a sixteenth of the time


def map_tile_report(place: MapExtract, meshes: Mapping[str, PrismMesh], tile: Tile) -> dict[str, Any]:
    """Checks of a tile that was built from a place; `report_problems` is empty for a sound one. No date in it."""
    told: dict[str, Any] = {
        "name": place.name,
        "buildings": len(place.buildings),
        "excluded": dict(sorted(Counter(_kind(exclusion) for exclusion in place.exclusions).items())),
        "ground": dict(sorted(Counter(patch.kind for patch in place.ground).items())),
        "terrain": tile.meta["terrain"] | _relief(tile),
        "materials": {side: _material_counts(tile, side) for side in ("wall", "roof")},
        "outdoors": _area_fractions(tile, tile.rasters["footprint"].numpy() < 0.5),
        "heights": check_heights(place.buildings),
        "meshes": check_meshes(meshes),
        "overlaps": check_overlaps(place.buildings),
        "round_trip": check_round_trip(place.crs, place.origin, place.size / 2 + place.margin),
        **_site_checks(tile),
    }
    return told | {"problems": report_problems(told), "notes": report_notes(told)}


def mesh_tile_report(tile: Tile, parts: Sequence[MeshPart]) -> dict[str, Any]:
    """The checks of a tile that was cut out of somebody else's meshes, as far as these tell: by area, by triangles.

    `unknown` names what nobody can say of them.
    """
    told = {
        "name": tile.name,
        "triangles": {part.name: len(part.faces) for part in parts},
        "terrain": {"kind": "mesh", **_relief(tile)},
        "roofs": _roofs(tile),
        "outdoors": _area_fractions(tile, tile.rasters["footprint"].numpy() < 0.5),
        "unknown": list(UNKNOWN_FOR_MESHES),
        **_site_checks(tile),
    }
    return told | {"problems": _site_problems(told), "notes": report_notes(told)}


def _roofs(tile: Tile) -> dict[str, Any]:
    """What a look from above tells: the share of the square that is built on, and by area heights and materials."""
    stands = tile.rasters["footprint"].numpy() > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()[stands]
    return {
        "covered": float(stands.mean()),
        "quartiles": np.percentile(above, [0, 25, 50, 75, 100]).tolist(),
        "materials": _area_fractions(tile, stands),
    }


def _area_fractions(tile: Tile, where: Bool[Array, "row column"]) -> dict[str, float]:
    """The share of each material that is seen there from above; of 1, or none where there is no pixel."""
    count = np.bincount(tile.rasters["material"].numpy()[where].astype(int), minlength=len(tile.materials))
    return {name: float(n / count.sum()) for name, n in zip(tile.materials, count, strict=True) if n}


def _site_checks(tile: Tile) -> dict[str, Any]:
    sites = tile.sites if (tile.folder / "sites.json").is_file() else ()
    sight = check_line_of_sight(tile, sites, every=SIGHT_PIXEL_STEP) if sites else None
    return {"sites": check_sites(tile, sites), "sight": sight}


def report_problems(told: Mapping[str, Any]) -> list[str]:
    """What is wrong, in words."""
    meshes, shared, off = told["meshes"], told["overlaps"]["share"] or 0.0, told["round_trip"]["error"]
    impossible = told["heights"]["impossible"]
    found = {
        f"{meshes['count']} meshes, of which {meshes['open']} are open": bool(meshes["open"]),
        f"buildings overlap: {shared:.2%} of their footprints": shared > MAX_OVERLAP_FRACTION,
        f"coordinates move by {off:g} m on the way to degrees and back": off > MAX_ROUND_TRIP_ERROR,
        f"buildings that end where none can: {impossible}": bool(impossible),
    }
    return [words for words, wrong in found.items() if wrong] + _site_problems(told)


def _site_problems(told: Mapping[str, Any]) -> list[str]:
    sites, sight = told["sites"], told["sight"]
    found = {
        f"sites that cannot stand there: {sites['refused']}": bool(sites["refused"]),
        "no site sees anything of the streets": bool(sight) and sight["any"] == 0,
    }
    return [words for words, wrong in found.items() if wrong]


def report_notes(told: Mapping[str, Any]) -> list[str]:
    """What is odd, but may be so: a mast in the middle of a deep roof is heard round corners, rays meet thin slabs."""
    thin = told["heights"]["thin"] if "heights" in told else []
    blind = [index for index, share in enumerate(told["sight"]["sites"]) if share == 0] if told["sight"] else []
    found = {
        f"pieces of less than {MIN_PIECE_HEIGHT:g} m from bottom to top: {', '.join(thin)}": bool(thin),
        f"sites that see nothing of the streets: {', '.join(map(str, blind))}": bool(blind),
    }
    return [words for words, odd in found.items() if odd]


def _kind(exclusion: Exclusion) -> str:
    """The reason without the ids of other features that it may end with."""
    return re.sub(r":? (way|relation|node|file)/.*", "", exclusion.reason)


def _relief(tile: Tile) -> dict[str, Any]:
    ground = tile.rasters["ground"]
    return {"lowest": float(ground.min()), "highest": float(ground.max())}


def _material_counts(tile: Tile, side: str) -> dict[str, int]:
    return dict(sorted(Counter(building[side] for building in tile.meta["buildings"].values()).items()))
