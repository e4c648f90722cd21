"""Resolves overlapping outlines and building parts into prisms that share no volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from jaxtyping import Int
from shapely import MultiPolygon, Polygon

from scenes.osm.footprints import LATTICE_STEP, Outline, polygonal_part, wall_polygons
from scenes.osm.map_features import Building, Exclusion, Height

MIN_SHARED_AREA = 0.001  # square metres: smaller overlaps come from rounding the corners
MIN_WALL_HEIGHT = 0.5  # metres: lower walls are left out
MIN_PASSAGE_HEIGHT = (
    11.0  # metres, three storeys: a part that begins lower stands over a passage, a higher one would hover
)
MAX_DUPLICATE_DIFFERENCE = 0.01  # outlines that differ by less than this fraction of their area are duplicates


@dataclass(frozen=True)
class Prism:
    """A piece of one building: its footprint from `base` to `top` in metres above the ground."""

    footprint: Polygon | MultiPolygon
    base: float
    top: float

    def overlaps_in_height(self, other: "Prism") -> bool:
        return min(self.top, other.top) - max(self.base, other.base) > LATTICE_STEP


def disjoint_prisms(outlines: Sequence[Outline], heights: Sequence[Height]) -> tuple[list[Building], list[Exclusion]]:
    """Buildings that share no volume, in the order of the outlines, and an exclusion for each outline that vanished.

    Where two overlap at the same height, one is cut in plan: an outline by a part, then the lower by the higher, then
    the later by the earlier. Beneath a building that begins above the ground the other one stays; beneath a part, an
    outline stays only where the part would hover, higher than `MIN_PASSAGE_HEIGHT`. Pieces too small for walls vanish.
    Every piece keeps the outline of the building that it belongs to (`Building.outline`).
    """
    winners = _overlapping_winners(outlines, heights)
    prisms, parent = _carve(outlines, heights, winners), parent_outlines(outlines)
    kept = [_buildings(outlines[k], heights[k], prisms[k], outlines[parent[k]].shape) for k in range(len(outlines))]
    exclusions = [
        _vanished(outlines[k], heights[k], [outlines[winner] for winner in winners.get(k, [])])
        for k in range(len(outlines))
        if not kept[k]
    ]
    return [building for pieces in kept for building in pieces], exclusions


def remove_duplicates(outlines: Sequence[Outline]) -> tuple[list[Outline], list[Exclusion]]:
    """Outlines without duplicates: those that repeat the outer ring of another outline without its courtyards.

    Old multipolygons carry their tags on the relation and on its outer way, and the way has no courtyards.
    """
    shapes: Any = np.array([outline.shape for outline in outlines], dtype=object)
    is_part = np.array([outline.is_part for outline in outlines], dtype=bool)
    piece, owner = shapely.get_parts(shapes, return_index=True)
    holed = shapely.get_num_interior_rings(piece) > 0
    rings: Any = shapely.polygons(shapely.get_exterior_ring(piece[holed]))
    ring, other = shapely.STRtree(shapes).query(rings, predicate="intersects")
    is_same = shapely.area(
        shapely.symmetric_difference(rings[ring], shapes[other])
    ) < MAX_DUPLICATE_DIFFERENCE * shapely.area(rings[ring])
    # A part is no copy of its outline; of two with courtyards neither is a copy.
    original = owner[holed][ring]
    is_same &= (shapely.get_num_interior_rings(shapes[other]) == 0) & (is_part[other] == is_part[original])
    copies = {int(k): outlines[r].id for k, r in zip(other[is_same], original[is_same], strict=True)}
    exclusions = [
        Exclusion(id=outlines[k].id, reason=f"drawn twice: {copies[k]} has its courtyards") for k in sorted(copies)
    ]
    return [outline for k, outline in enumerate(outlines) if k not in copies], exclusions


def parent_outlines(outlines: Sequence[Outline]) -> list[int]:
    """Index of the outline that each one belongs to: for a part the one of largest common area, else itself."""
    parent, largest = list(range(len(outlines))), [0.0] * len(outlines)
    for pair in _pairs(np.array([outline.shape for outline in outlines], dtype=object)).tolist():
        for whole, part in (pair, pair[::-1]):
            if outlines[part].is_part and not outlines[whole].is_part:
                shared = outlines[whole].shape.intersection(outlines[part].shape).area
                if shared > largest[part]:
                    parent[part], largest[part] = whole, shared
    return parent


def _pairs(shapes: np.ndarray) -> Int[np.ndarray, "pair 2"]:
    """Pairs of indices a < b of shapes whose common area exceeds `MIN_SHARED_AREA`."""
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    shared = shapely.area(shapely.intersection(shapes[a], shapes[b])) > MIN_SHARED_AREA
    return np.stack([a[shared], b[shared]], axis=1)


def _priority_order(outlines: Sequence[Outline], heights: Sequence[Height]) -> list[int]:
    """Indices by priority in overlaps: parts first, then the highest, then the first in the map."""
    return sorted(range(len(outlines)), key=lambda k: (not outlines[k].is_part, -heights[k].top, k))


def _overlapping_winners(outlines: Sequence[Outline], heights: Sequence[Height]) -> dict[int, list[int]]:
    """For each outline the overlapping ones of higher priority, the highest priority first."""
    rank = np.argsort(_priority_order(outlines, heights))
    winners: dict[int, list[int]] = {}
    for a, b in _pairs(np.array([outline.shape for outline in outlines], dtype=object)).tolist():
        loser, winner = (a, b) if rank[a] > rank[b] else (b, a)
        winners.setdefault(loser, []).append(winner)
    return {loser: sorted(indices, key=lambda k: rank[k]) for loser, indices in winners.items()}


def _carve(
    outlines: Sequence[Outline], heights: Sequence[Height], winners: Mapping[int, Sequence[int]]
) -> dict[int, list[Prism]]:
    """The prisms that remain of each outline after the outlines of higher priority have taken their volume."""
    prisms: dict[int, list[Prism]] = {}
    for k in _priority_order(outlines, heights):
        has_walls = heights[k].top - heights[k].base >= MIN_WALL_HEIGHT
        prisms[k] = [Prism(outlines[k].shape, heights[k].base, heights[k].top)] if has_walls else []
        for winner in winners.get(k, []):
            gap = MIN_PASSAGE_HEIGHT if outlines[winner].is_part and not outlines[k].is_part else MIN_WALL_HEIGHT
            for other in prisms[winner]:
                prisms[k] = [rest for prism in prisms[k] for rest in _cut_from(prism, other, gap)]
        # Pieces too small for walls take no volume from others.
        walled = ((prism, wall_polygons(prism.footprint)) for prism in prisms[k])
        prisms[k] = [replace(prism, footprint=MultiPolygon(polygons)) for prism, polygons in walled if polygons]
    return prisms


def _cut_from(prism: Prism, other: Prism, gap: float) -> list[Prism]:
    """The rest of a prism beside `other`, and beneath it if at least `gap` metres are free there."""
    if not prism.overlaps_in_height(other):
        return [prism]
    beside = polygonal_part(shapely.difference(prism.footprint, other.footprint, grid_size=LATTICE_STEP))
    rest = [replace(prism, footprint=beside)]
    if other.base - prism.base >= gap:
        shared = polygonal_part(shapely.intersection(prism.footprint, other.footprint, grid_size=LATTICE_STEP))
        rest.append(Prism(shared, prism.base, other.base))
    return [piece for piece in rest if not piece.footprint.is_empty]


def _buildings(
    outline: Outline, height: Height, prisms: Sequence[Prism], parent: Polygon | MultiPolygon
) -> list[Building]:
    """One building for each piece, the largest first, numbered when there are several."""
    parts = [(piece, prism) for prism in prisms for piece in shapely.get_parts(prism.footprint)]
    parts.sort(key=lambda part: (-part[0].area, part[0].bounds, part[1].base))
    return [
        Building(
            id=outline.id if len(parts) == 1 else f"{outline.id}#{n + 1}",
            footprint=footprint,
            base=prism.base,
            top=prism.top,
            outline=parent,
            tags=outline.tags,
            provenance=height.provenance,
            top_std=height.std,
        )
        for n, (footprint, prism) in enumerate(parts)
    ]


def _vanished(outline: Outline, height: Height, winners: Sequence[Outline]) -> Exclusion:
    if height.top - height.base < MIN_WALL_HEIGHT:
        reason = f"no walls: its tags put them from {height.base:g} m to {height.top:g} m"
        return Exclusion(id=outline.id, reason=reason)
    if not outline.is_part:
        winners = [winner for winner in winners if winner.is_part] or winners
    cause = "its parts" if winners and winners[0].is_part and not outline.is_part else "others"
    names = ", ".join(winner.id for winner in winners[:4]) + (", …" if len(winners) > 4 else "")
    return Exclusion(id=outline.id, reason=f"{cause} stand in its place: {names}")
