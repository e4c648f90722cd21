"""Is a built place sound? Checks that return plain dictionaries for the tile's report; lengths in metres."""

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
TOUCH_TOLERANCE = 0.01  # m² and m: what two buildings share at most by rounding
MAX_LISTED_IDS = 10  # how many offenders a report names


def check_meshes(meshes: Mapping[str, PrismMesh]) -> dict[str, Any]:
    """How many meshes there are, the share of closed ones with a positive volume, and the ids of others."""
    bad = [name for name, mesh in meshes.items() if not (mesh.closed and mesh.volume > 0)]
    return {
        "count": len(meshes),
        "watertight": _fraction(len(meshes) - len(bad), len(meshes)),
        "open": bad[:MAX_LISTED_IDS],
    }


def check_overlaps(buildings: Sequence[Building]) -> dict[str, Any]:
    """Area in m² that pairs of buildings occupy at the same height, its share of all footprints, the worst pairs.

    Heights are those above the ground, so on a slope they compare two buildings' own grounds.
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
    """Largest error in metres on the way from local metres to latitude and longitude and back, on a lattice."""
    axis = np.linspace(-half, half, 11)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis))
    there = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    back = there.transform(*there.transform(x + origin[0], y + origin[1]), direction="INVERSE")
    error = np.hypot(back[0] - origin[0] - x, back[1] - origin[1] - y)
    return {"points": len(x), "error": float(error.max())}


def check_heights(buildings: Sequence[Building]) -> dict[str, Any]:
    """Roofs above the ground: quartiles, how they are known, and the ids of odd ones.

    `impossible` ones are wrong: no building ends there. `thin` ones, less than a door, are odd only: slabs, plinths
    and canopies that the map draws as parts, and what is left of outlines beneath them; rays meet them as they are.
    """
    tops = np.array([building.top for building in buildings], dtype=float)
    impossible = [building.id for building in buildings if not 0 < building.top <= MAX_BUILDING_HEIGHT]
    thin = [building.id for building in buildings if building.top - building.base < MIN_PIECE_HEIGHT]
    quartiles = np.percentile(tops, [0, 25, 50, 75, 100]).tolist() if len(tops) else []
    known = dict(sorted(Counter(building.provenance for building in buildings).items()))
    odd = {"impossible": impossible[:MAX_LISTED_IDS], "thin": thin[:MAX_LISTED_IDS]}
    return {"count": len(tops), "quartiles": quartiles, "provenance": known, **odd}


def check_sites(tile: Tile, sites: Sequence[Site]) -> dict[str, Any]:
    """The sites that cannot stand where they are, each by its index and with the reason."""
    refused = []
    for index, site in enumerate(sites):
        try:
            tile.require_sites((site,))
        except UelError as error:
            refused.append({"site": index, "reason": str(error)})
    return {"count": len(sites), "refused": refused}


def check_line_of_sight(tile: Tile, sites: Sequence[Site], height: float = 1.5, every: int = 1) -> dict[str, Any]:
    """The share of outdoor pixels, `height` metres above the ground, in sight of each site, and of any.

    Of every `every` rows and columns one is looked at.

    Raises `UelError` when a site is off the tile, inside a wall or in the ground.
    """
    tile.require_sites(tuple(sites))
    outdoor = int((tile.rasters["footprint"][::every, ::every] < 0.5).sum())
    seen = np.stack([line_of_sight_raster(tile, site.position, height, every) for site in sites])
    each = [_fraction(int(one.sum()), outdoor) for one in seen]
    return {"outdoor": outdoor, "sites": each, "any": _fraction(int(seen.any(axis=0).sum()), outdoor)}


def _fraction(part: int | float, whole: int | float) -> float | None:
    """None where there is nothing to have a share of: JSON knows no NaN."""
    return part / whole if whole else None
