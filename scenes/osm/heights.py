"""Building heights from tags, from neighbouring buildings, or from the type of building, with their uncertainty."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely
from jaxtyping import Float
from scipy.spatial import KDTree

from scenes.osm.footprints import Outline
from scenes.osm.map_features import Height, HeightProvenance
from scenes.osm.tags import STOREY_HEIGHT, height_from_levels, parse_length, wall_base

# Weights of the median of neighbours, chosen by hand on New York, Paris, Monaco, Geneva and Austin together, the cities
# of the benchmark; nearby values change the errors by less than 10 %.
NEIGHBOUR_COUNT = 60
NEIGHBOUR_RANGE = 50.0  # metres over which a neighbour's weight falls to 1/e
AREA_SCALE = 0.4  # difference of log area at which the weight falls to a third
OTHER_TYPE_WEIGHT = 0.3  # weight of a neighbour of another `building` type
MIN_KNOWN_HEIGHTS = 10  # with fewer known heights in a map the type of building predicts better

TAG_STD = 1.0  # metres: rounded numbers, roofs that are not flat
LEVELS_STD = 0.23  # relative: root mean square error over 363 buildings of New York with height and levels
PRIOR_STD = 0.5  # relative to the height
DEFAULT_HEIGHT = 8.0  # metres: two storeys, the most common building of most maps
HEIGHT_BY_TYPE = {
    **dict.fromkeys(("garage", "garages", "carport", "shed", "hut", "kiosk", "greenhouse", "cabin", "toilets"), 3.0),
    **dict.fromkeys(("retail", "supermarket", "service", "farm_auxiliary", "stable", "barn"), 6.0),
    **dict.fromkeys(("house", "detached", "semidetached_house", "terrace", "bungalow", "farm"), 7.0),
    **dict.fromkeys(("industrial", "warehouse", "hangar", "sports_hall", "train_station"), 9.0),
    **dict.fromkeys(("school", "university", "college", "hospital", "civic", "public"), 12.0),
    **dict.fromkeys(("apartments", "residential", "dormitory", "hotel", "office", "commercial"), 15.0),
    **dict.fromkeys(("church", "cathedral", "mosque", "temple"), 18.0),
}


def estimate_heights(outlines: Sequence[Outline]) -> list[Height]:
    """Estimate the height of every outline from its height tag, else its levels, else its neighbours, else its type.

    Neighbours count where at least `MIN_KNOWN_HEIGHTS` heights are known; the uncertainty of such an estimate is the
    leave-one-out error over the known heights. Nothing is random here: `draw_heights` draws.
    """
    known = known_heights(outlines)
    targets = [k for k, (outline, top) in enumerate(zip(outlines, known, strict=True)) if top is None]
    pool = [k for k, top in enumerate(known) if top is not None and not outlines[k].is_part]
    estimates = _estimates_without_tags(outlines, [(outlines[k], known[k] or 0.0) for k in pool], targets)
    return [estimates[k] if k in estimates else _height_from_tags(outline) for k, outline in enumerate(outlines)]


def draw_heights(heights: Sequence[Height], seed: int | np.random.Generator) -> list[Height]:
    """Draw heights from their uncertainty: the height of the walls is multiplied by a log-normal factor of median 1.

    Tagged heights stay as they are, otherwise a part that stands on another one would hover or sink.
    """
    random = np.random.default_rng(seed)
    wall = np.array([height.top - height.base for height in heights])
    relative_std = np.array([height.std for height in heights]) / np.maximum(wall, 1.0)
    drawn = wall * np.exp(relative_std.clip(max=1.0) * random.standard_normal(len(heights)))
    return [
        height if height.provenance == "tag" else replace(height, top=height.base + float(new))
        for height, new in zip(heights, drawn, strict=True)
    ]


def known_heights(outlines: Sequence[Outline]) -> list[float | None]:
    """Height of every outline in metres from its `height` tag, else from its levels, else None."""
    return [parse_length(outline.tags.get("height")) or height_from_levels(outline.tags) for outline in outlines]


def _height_from_tags(outline: Outline) -> Height:
    """The height of a building whose tags tell it."""
    tagged, from_levels = parse_length(outline.tags.get("height")), height_from_levels(outline.tags)
    lower = wall_base(outline.tags)
    if tagged is not None:
        return Height(base=lower, top=tagged, std=TAG_STD, provenance="tag")
    assert from_levels is not None
    return Height(base=lower, top=from_levels, std=LEVELS_STD * from_levels, provenance="levels")


def _estimates_without_tags(
    outlines: Sequence[Outline], pool: Sequence[tuple[Outline, float]], targets: Sequence[int]
) -> dict[int, Height]:
    """Heights of the outlines of index `targets`, from a pool of known heights or by their type."""
    unknown = [outlines[k] for k in targets]
    if len(pool) < MIN_KNOWN_HEIGHTS:
        tops = np.array([_height_by_type(outline) for outline in unknown])
        relative_std, provenance = PRIOR_STD, "prior"
    else:
        tops = neighbour_median(pool, unknown)
        relative_std, provenance = _relative_std(pool), "neighbours"
    return {
        k: _height_estimate(outlines[k], float(top), relative_std, provenance)
        for k, top in zip(targets, tops, strict=True)
    }


def _height_estimate(outline: Outline, top: float, relative_std: float, provenance: HeightProvenance) -> Height:
    """An estimated height; at least one storey above the walls' lower end where that is raised."""
    lower = wall_base(outline.tags)
    top = max(top, lower + STOREY_HEIGHT) if lower else top
    return Height(base=lower, top=top, std=relative_std * top, provenance=provenance)


def _height_by_type(outline: Outline) -> float:
    return HEIGHT_BY_TYPE.get(outline.tags.get("building", outline.tags.get("building:part", "yes")), DEFAULT_HEIGHT)


def _relative_std(pool: Sequence[tuple[Outline, float]]) -> float:
    """Root mean square of the relative leave-one-out error of `neighbour_median`."""
    truth = np.array([top for _, top in pool])
    residual = np.log(neighbour_median(pool) / truth)
    return float(np.sqrt(np.mean(residual**2)))


def neighbour_median(
    pool: Sequence[tuple[Outline, float]], unknown: Sequence[Outline] | None = None
) -> Float[np.ndarray, " target"]:
    """Weighted median of the nearest known heights in metres; near ones of similar area and type weigh more.

    `pool` holds outlines with their heights. Without `unknown`, each outline of the pool is estimated from the others.
    """
    targets = [outline for outline, _ in pool] if unknown is None else list(unknown)
    if not targets:
        return np.empty(0)
    index, distance = nearest_known(pool, targets, leave_out=unknown is None)
    area, target_area = _log_area([outline for outline, _ in pool]), _log_area(targets)
    kind = np.array([outline.tags.get("building") for outline, _ in pool], dtype=object)
    target_kind = np.array([outline.tags.get("building") for outline in targets], dtype=object)
    weight = np.exp(-distance / NEIGHBOUR_RANGE)
    weight *= (1 + ((area[index] - target_area[:, None]) / AREA_SCALE) ** 2) ** -1.5
    weight *= np.where(kind[index] == target_kind[:, None], 1.0, OTHER_TYPE_WEIGHT)
    return _weighted_median(np.array([top for _, top in pool])[index], weight)


def nearest_known(
    pool: Sequence[tuple[Outline, float]], targets: Sequence[Outline], leave_out: bool
) -> tuple[np.ndarray, Float[np.ndarray, "target neighbour"]]:
    """Indices into the pool of each target's nearest outlines, and centroid distances in metres minus the smallest."""
    tree = KDTree(_centroids([outline for outline, _ in pool]))
    count = min(NEIGHBOUR_COUNT, len(pool) - leave_out)
    nearest = tree.query(_centroids(targets), k=count + leave_out)
    distance, index = (np.asarray(values).reshape(len(targets), -1) for values in nearest)
    if leave_out:
        is_target = index == np.arange(len(index))[:, None]
        is_target[~is_target.any(axis=1), -1] = (
            True  # several at one position: the target itself is farther down the list
        )
        index, distance = (values[~is_target].reshape(len(values), count) for values in (index, distance))
    return index, distance - distance[:, :1]  # only ratios of weights matter, and none may underflow


def _weighted_median(
    values: Float[np.ndarray, "row column"], weight: Float[np.ndarray, "row column"]
) -> Float[np.ndarray, " row"]:
    order = values.argsort(axis=1, kind="stable")
    total = np.take_along_axis(weight, order, axis=1).cumsum(axis=1)
    middle = (total >= total[:, -1:] / 2).argmax(axis=1)
    return np.take_along_axis(values, order, axis=1)[np.arange(len(values)), middle]


def _centroids(outlines: Sequence[Outline]) -> Float[np.ndarray, "outline 2"]:
    return shapely.get_coordinates(shapely.centroid([outline.shape for outline in outlines]))


def _log_area(outlines: Sequence[Outline]) -> Float[np.ndarray, " outline"]:
    return np.log(np.maximum(shapely.area([outline.shape for outline in outlines]), 1.0))
