"""Checks of a built tile; each returns a dictionary for its report. Lengths are in metres."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer

from scenes.mesh.extrusion import PrismMesh
from scenes.osm.map_features import Building
from scenes.sites.visibility import line_of_sight_raster
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site

MAX_BUILDING_HEIGHT = 830.0  # m: the Burj Khalifa
MIN_PIECE_HEIGHT = 2.0  # m: a door
TOUCH_TOLERANCE = 0.01  # m² and m: smaller overlaps come from rounding
MAX_LISTED_IDS = 10  # of ids that a report lists per check


def check_meshes(meshes: Mapping[str, PrismMesh]) -> dict[str, Any]:
    """Number of meshes, fraction of closed ones with a positive volume, and the ids of the others."""
    faulty = [name for name, mesh in meshes.items() if not (mesh.is_closed and mesh.volume > 0)]
    return {
        "count": len(meshes),
        "watertight": _fraction(len(meshes) - len(faulty), len(meshes)),
        "open": faulty[:MAX_LISTED_IDS],
    }


def check_overlaps(buildings: Sequence[Building]) -> dict[str, Any]:
    """Area in m² that pairs of buildings share at the same height, its fraction of all footprints, and the worst pairs.

    Heights are above each building's own ground, also on a slope.
    """
    footprints = np.array([building.footprint for building in buildings], dtype=object)
    near = shapely.STRtree(footprints).query(footprints, predicate="intersects").T.tolist()
    pairs = [(a, b) for a, b in near if a < b and _heights_overlap(buildings[a], buildings[b])]
    areas = [buildings[a].footprint.intersection(buildings[b].footprint).area for a, b in pairs]
    shared = sorted(
        ((area, a, b) for area, (a, b) in zip(areas, pairs, strict=True) if area > TOUCH_TOLERANCE), reverse=True
    )
    total = math.fsum(area for area, _, _ in shared)
    return {
        "pairs": len(shared),
        "area": total,
        "share": _fraction(total, float(shapely.area(footprints).sum())),
        "worst": [[buildings[a].id, buildings[b].id, area] for area, a, b in shared[:MAX_LISTED_IDS]],
    }


def _heights_overlap(one: Building, other: Building) -> bool:
    return min(one.top, other.top) - max(one.base, other.base) > TOUCH_TOLERANCE


def check_round_trip(crs: str, origin: tuple[float, float], half: float) -> dict[str, Any]:
    """Largest error in metres of converting a lattice of local metres to latitude and longitude and back."""
    axis = np.linspace(-half, half, 11)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis))
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    back = to_degrees.transform(*to_degrees.transform(x + origin[0], y + origin[1]), direction="INVERSE")
    error = np.hypot(back[0] - origin[0] - x, back[1] - origin[1] - y)
    return {"points": len(x), "error": float(error.max())}


def check_heights(buildings: Sequence[Building]) -> dict[str, Any]:
    """Building heights: quartiles, provenance, and the ids of odd ones.

    Heights that are `impossible` are wrong. `thin` buildings, lower than a door, are only unusual: slabs, plinths and
    canopies that the map has as parts, and pieces of outlines beneath parts.
    """
    tops = np.array([building.top for building in buildings], dtype=float)
    impossible = [building.id for building in buildings if not 0 < building.top <= MAX_BUILDING_HEIGHT]
    thin = [building.id for building in buildings if building.top - building.base < MIN_PIECE_HEIGHT]
    quartiles = np.percentile(tops, [0, 25, 50, 75, 100]).tolist() if len(tops) else []
    known = dict(sorted(Counter(building.provenance for building in buildings).items()))
    odd = {"impossible": impossible[:MAX_LISTED_IDS], "thin": thin[:MAX_LISTED_IDS]}
    return {"count": len(tops), "quartiles": quartiles, "provenance": known, **odd}


def check_sites(tile: Tile, sites: Sequence[Site]) -> dict[str, Any]:
    """The sites at impossible positions, each by its index and with the reason."""
    refused = []
    for index, site in enumerate(sites):
        try:
            tile.require_sites((site,))
        except UelError as error:
            refused.append({"site": index, "reason": str(error)})
    return {"count": len(sites), "refused": refused}


def check_line_of_sight(tile: Tile, sites: Sequence[Site], height: float = 1.5, every: int = 1) -> dict[str, Any]:
    """Fraction of outdoor pixels with a line of sight, `height` metres above the ground, to each site and to any site.

    Only every `every`-th row and column is evaluated.

    Raises `UelError` when a site is off the tile, inside a wall or in the ground.
    """
    tile.require_sites(tuple(sites))
    outdoor = int((tile.rasters["footprint"][::every, ::every] < 0.5).sum())
    visible = np.stack([line_of_sight_raster(tile, site.position, height, every) for site in sites])
    fractions = [_fraction(int(site.sum()), outdoor) for site in visible]
    return {"outdoor": outdoor, "sites": fractions, "any": _fraction(int(visible.any(axis=0).sum()), outdoor)}


def _fraction(part: int | float, whole: int | float) -> float | None:
    """`part / whole`, or None for a `whole` of 0, because JSON has no NaN."""
    return part / whole if whole else None
