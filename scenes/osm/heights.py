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

# Weights of the neighbours' median. Chosen by hand on New York, Paris, Monaco, Geneva and Austin together, the
# cities they are judged on; others near them give errors within 10 %.
NEIGHBOUR_COUNT = 60
NEIGHBOUR_RANGE = 50.0  # metres in which a neighbour's weight falls to 1/e
AREA_SCALE = 0.4  # difference of log area at which it falls to a third
OTHER_TYPE_WEIGHT = 0.3  # weight of a neighbour of another `building` type
MIN_KNOWN_HEIGHTS = 10  # known heights in a place: with fewer the prior knows better

TAG_STD = 1.0  # metres: a rounded number, a roof that is not flat
LEVELS_STD = 0.23  # of the height: root mean square over 363 buildings with height and levels, New York
PRIOR_STD = 0.5  # of the height
DEFAULT_HEIGHT = 8.0  # metres: two storeys, the commonest building of most maps
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
    """A height for every outline: its own tag, else its own levels, else its neighbours, else its type.

    Neighbours are asked where at least `MIN_KNOWN_HEIGHTS` buildings are known; their uncertainty is what leaving each
    known one out shows here. No randomness: `draw_heights` adds it.
    """
    known = known_heights(outlines)
    asked = [k for k, (outline, top) in enumerate(zip(outlines, known, strict=True)) if top is None]
    pool = [k for k, top in enumerate(known) if top is not None and not outlines[k].is_part]
    guessed = _estimates_without_tags(outlines, [(outlines[k], known[k] or 0.0) for k in pool], asked)
    return [guessed[k] if k in guessed else _height_from_tags(outline) for k, outline in enumerate(outlines)]


def draw_heights(heights: Sequence[Height], seed: int | np.random.Generator) -> list[Height]:
    """Heights drawn from their uncertainty: walls are longer or shorter by a log-normal factor with median 1.

    Tagged heights stay, else a part that stands on another would hover or sink.
    """
    random = np.random.default_rng(seed)
    wall = np.array([height.top - height.base for height in heights])
    spread = np.array([height.std for height in heights]) / np.maximum(wall, 1.0)
    drawn = wall * np.exp(spread.clip(max=1.0) * random.standard_normal(len(heights)))
    return [
        height if height.provenance == "tag" else replace(height, top=height.base + float(new))
        for height, new in zip(heights, drawn, strict=True)
    ]


def known_heights(outlines: Sequence[Outline]) -> list[float | None]:
    """Metres from the `height` tag, else from the levels, else None."""
    return [parse_length(outline.tags.get("height")) or height_from_levels(outline.tags) for outline in outlines]


def _height_from_tags(outline: Outline) -> Height:
    """From the tags of a building that has some."""
    tagged, counted = parse_length(outline.tags.get("height")), height_from_levels(outline.tags)
    low = wall_base(outline.tags)
    if tagged is not None:
        return Height(base=low, top=tagged, std=TAG_STD, provenance="tag")
    assert counted is not None
    return Height(base=low, top=counted, std=LEVELS_STD * counted, provenance="levels")


def _estimates_without_tags(
    outlines: Sequence[Outline], pool: Sequence[tuple[Outline, float]], asked: Sequence[int]
) -> dict[int, Height]:
    """Heights of the outlines `asked` for, from a pool of known ones or by their type."""
    unknown = [outlines[k] for k in asked]
    if len(pool) < MIN_KNOWN_HEIGHTS:
        tops = np.array([_height_by_type(outline) for outline in unknown])
        spread, provenance = PRIOR_STD, "prior"
    else:
        tops = neighbour_median(pool, unknown)
        spread, provenance = _relative_std(pool), "neighbours"
    return {
        k: _height_estimate(outlines[k], float(top), spread, provenance) for k, top in zip(asked, tops, strict=True)
    }


def _height_estimate(outline: Outline, top: float, spread: float, provenance: HeightProvenance) -> Height:
    """A guess, lifted where its walls begin so high that it would be less than a storey."""
    low = wall_base(outline.tags)
    top = max(top, low + STOREY_HEIGHT) if low else top
    return Height(base=low, top=top, std=spread * top, provenance=provenance)


def _height_by_type(outline: Outline) -> float:
    return HEIGHT_BY_TYPE.get(outline.tags.get("building", outline.tags.get("building:part", "yes")), DEFAULT_HEIGHT)


def _relative_std(pool: Sequence[tuple[Outline, float]]) -> float:
    """Root mean square of the relative error of `neighbour_median`, leaving each known building out."""
    truth = np.array([top for _, top in pool])
    residual = np.log(neighbour_median(pool) / truth)
    return float(np.sqrt(np.mean(residual**2)))


def neighbour_median(
    pool: Sequence[tuple[Outline, float]], asked: Sequence[Outline] | None = None
) -> Float[np.ndarray, " asked"]:
    """Weighted median of the nearest known heights in metres: near ones, of like area and type, weigh more.

    `pool` are outlines with their heights. Without `asked` each of the pool is asked for with itself left out.
    """
    targets = [outline for outline, _ in pool] if asked is None else list(asked)
    if not targets:
        return np.empty(0)
    index, distance = nearest_known(pool, targets, leave_out=asked is None)
    area, area_of = _log_area([outline for outline, _ in pool]), _log_area(targets)
    kind = np.array([outline.tags.get("building") for outline, _ in pool], dtype=object)
    kind_of = np.array([outline.tags.get("building") for outline in targets], dtype=object)
    weight = np.exp(-distance / NEIGHBOUR_RANGE)
    weight *= (1 + ((area[index] - area_of[:, None]) / AREA_SCALE) ** 2) ** -1.5
    weight *= np.where(kind[index] == kind_of[:, None], 1.0, OTHER_TYPE_WEIGHT)
    return _weighted_median(np.array([top for _, top in pool])[index], weight)


def nearest_known(
    pool: Sequence[tuple[Outline, float]], targets: Sequence[Outline], leave_out: bool
) -> tuple[np.ndarray, Float[np.ndarray, "asked neighbour"]]:
    """Indices into the pool and distances in metres, beyond the nearest one, between centroids."""
    tree = KDTree(_centroids([outline for outline, _ in pool]))
    count = min(NEIGHBOUR_COUNT, len(pool) - leave_out)
    found = tree.query(_centroids(targets), k=count + leave_out)
    distance, index = (np.asarray(values).reshape(len(targets), -1) for values in found)
    if leave_out:
        own = index == np.arange(len(index))[:, None]
        own[~own.any(axis=1), -1] = True  # several at one spot: itself is farther down the list than we asked
        index, distance = (values[~own].reshape(len(values), count) for values in (index, distance))
    return index, distance - distance[:, :1]  # only ratios of weights matter, and none may vanish


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
