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
    LOWEST,
    check_heights,
    check_meshes,
    check_overlaps,
    check_round_trip,
    check_sight,
    check_sites,
)
from uel.geo.tile import Tile

OVERLAP = 1e-3  # of all footprints: what rounding and repaired outlines may share
ROUND_TRIP = 1e-3  # m
UNKNOWN = (
    "georeference",
    "number of buildings",
    "how heights and materials are known",
    "watertight meshes: walls are merged by material and cut at the margin's edge",
    "overlaps",
)
LATTICE = 4  # pixels between places at which sight is tried: shares to a per cent, in a sixteenth of the time


def report(place: MapExtract, meshes: Mapping[str, PrismMesh], tile: Tile) -> dict[str, Any]:
    """Checks of a tile that was built from a place; `problems` is empty for a sound one. No date in it."""
    told: dict[str, Any] = {
        "name": place.name,
        "buildings": len(place.buildings),
        "excluded": dict(sorted(Counter(_kind(exclusion) for exclusion in place.exclusions).items())),
        "ground": dict(sorted(Counter(patch.kind for patch in place.ground).items())),
        "terrain": tile.meta["terrain"] | _relief(tile),
        "materials": {side: _counted(tile, side) for side in ("wall", "roof")},
        "outdoors": _by_area(tile, tile.rasters["footprint"].numpy() < 0.5),
        "heights": check_heights(place.buildings),
        "meshes": check_meshes(meshes),
        "overlaps": check_overlaps(place.buildings),
        "round_trip": check_round_trip(place.crs, place.origin, place.size / 2 + place.margin),
        **_masts(tile),
    }
    return told | {"problems": problems(told), "notes": notes(told)}


def report_of_meshes(tile: Tile, parts: Sequence[MeshPart]) -> dict[str, Any]:
    """The checks of a tile that was cut out of somebody else's meshes, as far as these tell: by area, by triangles.

    `unknown` names what nobody can say of them.
    """
    told = {
        "name": tile.name,
        "triangles": {part.name: len(part.faces) for part in parts},
        "terrain": {"kind": "mesh", **_relief(tile)},
        "roofs": _roofs(tile),
        "outdoors": _by_area(tile, tile.rasters["footprint"].numpy() < 0.5),
        "unknown": list(UNKNOWN),
        **_masts(tile),
    }
    return told | {"problems": _of_masts(told), "notes": notes(told)}


def _roofs(tile: Tile) -> dict[str, Any]:
    """What a look from above tells: the share of the square that is built on, and by area heights and materials."""
    stands = tile.rasters["footprint"].numpy() > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()[stands]
    return {
        "covered": float(stands.mean()),
        "quartiles": np.percentile(above, [0, 25, 50, 75, 100]).tolist(),
        "materials": _by_area(tile, stands),
    }


def _by_area(tile: Tile, where: Bool[Array, "row column"]) -> dict[str, float]:
    """The share of each material that is seen there from above; of 1, or none where there is no pixel."""
    count = np.bincount(tile.rasters["material"].numpy()[where].astype(int), minlength=len(tile.materials))
    return {name: float(n / count.sum()) for name, n in zip(tile.materials, count, strict=True) if n}


def _masts(tile: Tile) -> dict[str, Any]:
    sites = tile.sites if (tile.folder / "sites.json").is_file() else ()
    sight = check_sight(tile, sites, every=LATTICE) if sites else None
    return {"sites": check_sites(tile, sites), "sight": sight}


def problems(told: Mapping[str, Any]) -> list[str]:
    """What is wrong, in words."""
    meshes, shared, off = told["meshes"], told["overlaps"]["share"] or 0.0, told["round_trip"]["error"]
    impossible = told["heights"]["impossible"]
    found = {
        f"{meshes['count']} meshes, of which {meshes['open']} are open": bool(meshes["open"]),
        f"buildings overlap: {shared:.2%} of their footprints": shared > OVERLAP,
        f"coordinates move by {off:g} m on the way to degrees and back": off > ROUND_TRIP,
        f"buildings that end where none can: {impossible}": bool(impossible),
    }
    return [words for words, wrong in found.items() if wrong] + _of_masts(told)


def _of_masts(told: Mapping[str, Any]) -> list[str]:
    sites, sight = told["sites"], told["sight"]
    found = {
        f"sites that cannot stand there: {sites['refused']}": bool(sites["refused"]),
        "no site sees anything of the streets": bool(sight) and sight["any"] == 0,
    }
    return [words for words, wrong in found.items() if wrong]


def notes(told: Mapping[str, Any]) -> list[str]:
    """What is odd, but may be so: a mast in the middle of a deep roof is heard round corners, rays meet thin slabs."""
    thin = told["heights"]["thin"] if "heights" in told else []
    blind = [index for index, share in enumerate(told["sight"]["sites"]) if share == 0] if told["sight"] else []
    found = {
        f"pieces of less than {LOWEST:g} m from bottom to top: {', '.join(thin)}": bool(thin),
        f"sites that see nothing of the streets: {', '.join(map(str, blind))}": bool(blind),
    }
    return [words for words, odd in found.items() if odd]


def _kind(exclusion: Exclusion) -> str:
    """The reason without the ids of other features that it may end with."""
    return re.sub(r":? (way|relation|node|file)/.*", "", exclusion.reason)


def _relief(tile: Tile) -> dict[str, Any]:
    ground = tile.rasters["ground"]
    return {"lowest": float(ground.min()), "highest": float(ground.max())}


def _counted(tile: Tile, side: str) -> dict[str, int]:
    return dict(sorted(Counter(building[side] for building in tile.meta["buildings"].values()).items()))
