"""Heights of buildings from those of their neighbours."""

from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Float
from scipy.spatial import KDTree

from scenes.osm.footprints import Outline

# Weights of the median of neighbours, chosen by hand on New York, Paris, Monaco, Geneva and Austin together, the cities
# of the benchmark; nearby values change the errors by less than 10 %.
NEIGHBOUR_COUNT = 60
NEIGHBOUR_RANGE = 50.0  # metres over which a neighbour's weight falls to 1/e
AREA_SCALE = 0.4  # difference of log area at which the weight falls to a third
OTHER_TYPE_WEIGHT = 0.3  # weight of a neighbour of another `building` type


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
