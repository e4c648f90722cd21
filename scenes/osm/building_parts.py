"""Overlaps: outlines and their parts become prisms that share no volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from jaxtyping import Int
from shapely import MultiPolygon, Polygon

from scenes.osm.footprints import LATTICE_STEP, Outline, polygonal_part, wall_polygons
from scenes.osm.map_features import Building, Exclusion, Height

MIN_SHARED_AREA = 0.001  # square metres: a smaller overlap comes from the lattice of the corners
MIN_WALL_HEIGHT = 0.5  # metres: a lower wall is none
MIN_PASSAGE_HEIGHT = (
    11.0  # metres, three storeys: a part that begins below it stands over a passage, a higher one hovers
)
MAX_DUPLICATE_DIFFERENCE = 0.01  # outlines that differ by less than this share of their area are drawn twice


@dataclass(frozen=True)
class Prism:
    """A piece of one feature: its plan from `base` to `top` in metres above the ground."""

    plan: Polygon | MultiPolygon
    base: float
    top: float

    def meets(self, other: "Prism") -> bool:
        return min(self.top, other.top) - max(self.base, other.base) > LATTICE_STEP


def disjoint_prisms(outlines: Sequence[Outline], heights: Sequence[Height]) -> tuple[list[Building], list[Exclusion]]:
    """Buildings that share no volume, in the order of the outlines, and an exclusion for each that vanished.

    Where two meet at the same height one gives way: an outline to a part, then the lower to the higher, then the
    later to the earlier. It is cut in plan; beneath a building that begins above the ground what stood there
    stays. Beneath a part the outline stays only where the part would hover, higher than `MIN_PASSAGE_HEIGHT`.
    Rests too small for walls vanish. All pieces of an outline and its parts are told the `whole` that they belong to.
    """
    rivals = _overlapping_winners(outlines, heights)
    found, whole = _carve(outlines, heights, rivals), _parent_outlines(outlines, rivals)
    kept = [_buildings(outlines[k], heights[k], found[k], outlines[whole[k]].shape) for k in range(len(outlines))]
    gone = [
        _vanished(outlines[k], heights[k], [outlines[rival] for rival in rivals.get(k, [])])
        for k in range(len(outlines))
        if not kept[k]
    ]
    return [building for several in kept for building in several], gone


def remove_duplicates(outlines: Sequence[Outline]) -> tuple[list[Outline], list[Exclusion]]:
    """Outlines without those that draw the outer ring of another and none of its courtyards.

    Old multipolygons carry their tags on the relation and on its outer way, and the way knows of no courtyard.
    """
    shapes: Any = np.array([outline.shape for outline in outlines], dtype=object)
    is_part = np.array([outline.is_part for outline in outlines], dtype=bool)
    piece, owner = shapely.get_parts(shapes, return_index=True)
    holed = shapely.get_num_interior_rings(piece) > 0
    rings: Any = shapely.polygons(shapely.get_exterior_ring(piece[holed]))
    ring, other = shapely.STRtree(shapes).query(rings, predicate="intersects")
    same = shapely.area(
        shapely.symmetric_difference(rings[ring], shapes[other])
    ) < MAX_DUPLICATE_DIFFERENCE * shapely.area(rings[ring])
    # A part is no copy of its outline; of two with courtyards neither is a copy.
    original = owner[holed][ring]
    same &= (shapely.get_num_interior_rings(shapes[other]) == 0) & (is_part[other] == is_part[original])
    copies = {int(k): outlines[r].id for k, r in zip(other[same], original[same], strict=True)}
    gone = [Exclusion(id=outlines[k].id, reason=f"drawn twice: {copies[k]} has its courtyards") for k in sorted(copies)]
    return [outline for k, outline in enumerate(outlines) if k not in copies], gone


def _pairs(shapes: np.ndarray) -> Int[np.ndarray, "pair 2"]:
    """Indices a < b of shapes that share more area than the lattice explains."""
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    shared = shapely.area(shapely.intersection(shapes[a], shapes[b])) > MIN_SHARED_AREA
    return np.stack([a[shared], b[shared]], axis=1)


def _priority_order(outlines: Sequence[Outline], heights: Sequence[Height]) -> list[int]:
    """Who comes first gives way to nobody: parts, then the highest, then the first drawn."""
    return sorted(range(len(outlines)), key=lambda k: (not outlines[k].is_part, -heights[k].top, k))


def _overlapping_winners(outlines: Sequence[Outline], heights: Sequence[Height]) -> dict[int, list[int]]:
    """For each outline those it overlaps that come before it, first ones first."""
    rank = np.argsort(_priority_order(outlines, heights))
    rivals: dict[int, list[int]] = {}
    for a, b in _pairs(np.array([outline.shape for outline in outlines], dtype=object)).tolist():
        later, earlier = (a, b) if rank[a] > rank[b] else (b, a)
        rivals.setdefault(later, []).append(earlier)
    return {later: sorted(earlier, key=lambda k: rank[k]) for later, earlier in rivals.items()}


def _parent_outlines(outlines: Sequence[Outline], rivals: Mapping[int, Sequence[int]]) -> list[int]:
    """The outline that each one belongs to: a part to the one that it shares most area with, any other to itself."""
    whole, most = list(range(len(outlines))), [0.0] * len(outlines)
    for k, others in rivals.items():
        for part in others if not outlines[k].is_part else ():
            shared = outlines[k].shape.intersection(outlines[part].shape).area
            if outlines[part].is_part and shared > most[part]:
                whole[part], most[part] = k, shared
    return whole


def _carve(
    outlines: Sequence[Outline], heights: Sequence[Height], rivals: Mapping[int, Sequence[int]]
) -> dict[int, list[Prism]]:
    """What is left of each outline when all its rivals have taken their room."""
    found: dict[int, list[Prism]] = {}
    for k in _priority_order(outlines, heights):
        stands = heights[k].top - heights[k].base >= MIN_WALL_HEIGHT
        found[k] = [Prism(outlines[k].shape, heights[k].base, heights[k].top)] if stands else []
        for rival in rivals.get(k, []):
            gap = MIN_PASSAGE_HEIGHT if outlines[rival].is_part and not outlines[k].is_part else MIN_WALL_HEIGHT
            for other in found[rival]:
                found[k] = [rest for prism in found[k] for rest in _cut_from(prism, other, gap)]
        # What is too small for walls takes nobody's room.
        walled = ((prism, wall_polygons(prism.plan)) for prism in found[k])
        found[k] = [replace(prism, plan=MultiPolygon(plan)) for prism, plan in walled if plan]
    return found


def _cut_from(prism: Prism, other: Prism, gap: float) -> list[Prism]:
    """What is left of a prism beside `other`, and beneath it if `gap` metres or more are free."""
    if not prism.meets(other):
        return [prism]
    beside = polygonal_part(shapely.difference(prism.plan, other.plan, grid_size=LATTICE_STEP))
    rest = [replace(prism, plan=beside)]
    if other.base - prism.base >= gap:
        shared = polygonal_part(shapely.intersection(prism.plan, other.plan, grid_size=LATTICE_STEP))
        rest.append(Prism(shared, prism.base, other.base))
    return [piece for piece in rest if not piece.plan.is_empty]


def _buildings(
    outline: Outline, height: Height, found: Sequence[Prism], whole: Polygon | MultiPolygon
) -> list[Building]:
    """One building per piece, the largest first, numbered where there are several."""
    parts = [(piece, prism) for prism in found for piece in shapely.get_parts(prism.plan)]
    parts.sort(key=lambda part: (-part[0].area, part[0].bounds, part[1].base))
    return [
        Building(
            id=outline.id if len(parts) == 1 else f"{outline.id}#{n + 1}",
            footprint=footprint,
            base=prism.base,
            top=prism.top,
            whole=whole,
            tags=outline.tags,
            provenance=height.provenance,
            top_std=height.std,
        )
        for n, (footprint, prism) in enumerate(parts)
    ]


def _vanished(outline: Outline, height: Height, rivals: Sequence[Outline]) -> Exclusion:
    if height.top - height.base < MIN_WALL_HEIGHT:
        reason = f"no walls: its tags put them from {height.base:g} m to {height.top:g} m"
        return Exclusion(id=outline.id, reason=reason)
    if not outline.is_part:
        rivals = [rival for rival in rivals if rival.is_part] or rivals
    who = "its parts" if rivals and rivals[0].is_part and not outline.is_part else "others"
    names = ", ".join(rival.id for rival in rivals[:4]) + (", …" if len(rivals) > 4 else "")
    return Exclusion(id=outline.id, reason=f"{who} stand in its place: {names}")
