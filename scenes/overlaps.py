"""Overlaps: outlines and their parts become prisms that share no volume."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from jaxtyping import Int
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from scenes.buildings import Building, Exclusion
from scenes.footprints import PRECISION, SMALLEST, denotes, pieces

SHARED = 0.01  # square metres: a smaller overlap comes from the lattice of the corners
STEP = 0.5  # metres: a lower piece of wall is not kept beneath a part that begins above the ground
SAME = 0.01  # outlines that differ by less than this share of their area are drawn twice


@dataclass(frozen=True)
class Prism:
    """A piece of one feature: its plan from `base` to `top` in metres above the ground."""

    plan: BaseGeometry
    base: float
    top: float

    def meets(self, other: "Prism") -> bool:
        return min(self.top, other.top) - max(self.base, other.base) > PRECISION


def feature_id(building_id: str) -> str:
    """The feature that a building, or a piece of one, comes from: `way/1` of `way/1#2`."""
    return re.sub(r"#\d+$", "", building_id)


def resolve(buildings: Sequence[Building], shapes: Sequence[BaseGeometry]) -> tuple[list[Building], list[Exclusion]]:
    """Prisms that share no volume, in the order given, and what vanished.

    `shapes` are the plans in metres, polygons or multipolygons; a building's own `footprint` is not looked at.
    Where two meet at the same height one gives way: an outline to a part, then the lower to the higher, then the
    later to the earlier. It is cut in plan; beneath a part that begins above the ground what stood there
    stays, except that an outline says nothing where parts are drawn. Rests too small for walls vanish.
    """
    order = sorted(range(len(buildings)), key=lambda k: _precedence(buildings[k], k))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    rivals = _rivals(shapes, rank)
    prisms: dict[int, list[Prism]] = {}
    for k in order:
        prisms[k] = [Prism(shapes[k], buildings[k].base, buildings[k].top)]
        outline = not _is_part(buildings[k])
        for rival in rivals.get(k, []):
            silent = outline and _is_part(buildings[rival])
            for other in prisms[rival]:
                prisms[k] = [rest for prism in prisms[k] for rest in _give_way(prism, other, silent)]
    kept, gone = [], []
    for k, building in enumerate(buildings):
        found = _buildings(building, prisms[k])
        kept += found
        if not found:
            gone.append(_vanished(building, [buildings[rival] for rival in rivals.get(k, [])]))
    return kept, gone


def drawn_twice(outlines: Sequence[tuple[str, BaseGeometry]]) -> dict[str, str]:
    """Features with the same outer ring as another, and that other one: the one with fewer courtyards is the copy.

    Old multipolygons carry their tags on the relation and on its outer way; the way knows of no courtyard.
    """
    filled = np.array([shapely.MultiPolygon(_filled(shape)) for _, shape in outlines], dtype=object)
    copies: dict[str, str] = {}
    for a, b in _pairs(filled):
        (one, first), (two, second) = outlines[a], outlines[b]
        different = shapely.symmetric_difference(filled[a], filled[b]).area
        if first.area != second.area and different < SAME * filled[a].area and {one, two}.isdisjoint(copies):
            copy, original = (one, two) if first.area > second.area else (two, one)
            copies[copy] = original
    return copies


def _filled(shape: BaseGeometry) -> list[Polygon]:
    return [Polygon(piece.exterior) for piece in shapely.get_parts(shape)]


def _is_part(building: Building) -> bool:
    return not denotes(building.tags, "building")


def _precedence(building: Building, index: int) -> tuple[bool, float, int]:
    return not _is_part(building), -building.top, index


def _pairs(shapes: np.ndarray) -> Int[np.ndarray, "pair 2"]:
    """Indices a < b of shapes that share more area than the lattice explains."""
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    shared = shapely.area(shapely.intersection(shapes[a], shapes[b])) > SHARED
    return np.stack([a[shared], b[shared]], axis=1)


def _rivals(shapes: Sequence[BaseGeometry], rank: Int[np.ndarray, "shape"]) -> dict[int, list[int]]:
    """For each shape those it overlaps that come before it, first in rank first."""
    rivals: dict[int, list[int]] = {}
    for a, b in _pairs(np.array(shapes, dtype=object)):
        later, earlier = (a, b) if rank[a] > rank[b] else (b, a)
        rivals.setdefault(int(later), []).append(int(earlier))
    return {later: sorted(earlier, key=lambda k: rank[k]) for later, earlier in rivals.items()}


def _give_way(prism: Prism, other: Prism, silent: bool) -> list[Prism]:
    """What is left of a prism beside `other`, and beneath it unless `silent`."""
    if not prism.meets(other):
        return [prism]
    beside = shapely.difference(prism.plan, other.plan, grid_size=PRECISION)
    rest = [replace(prism, plan=beside)]
    if not silent and other.base - prism.base >= STEP:
        shared = shapely.intersection(prism.plan, other.plan, grid_size=PRECISION)
        rest.append(Prism(shared, prism.base, other.base))
    return [piece for piece in rest if not piece.plan.is_empty]


def _buildings(building: Building, prisms: Sequence[Prism]) -> list[Building]:
    """One building per piece, numbered where there are several; the largest first."""
    found = [replace(prism, plan=piece) for prism in prisms for piece in pieces(prism.plan)]
    found.sort(key=lambda prism: (-prism.plan.area, prism.plan.bounds))
    names = [building.id] if len(found) == 1 else [f"{building.id}#{n + 1}" for n in range(len(found))]
    return [
        replace(building, id=name, footprint=prism.plan, base=prism.base, top=prism.top)
        for name, prism in zip(names, found, strict=True)
    ]


def _vanished(building: Building, rivals: Sequence[Building]) -> Exclusion:
    names = ", ".join(rival.id for rival in rivals[:4]) + (", …" if len(rivals) > 4 else "")
    parts = any(_is_part(rival) for rival in rivals) and not _is_part(building)
    why = f"its parts stand in its place: {names}" if parts else f"others stand in its place: {names}"
    return Exclusion(id=building.id, reason=f"{why}; less than {SMALLEST:g} m² or a crack is left")
