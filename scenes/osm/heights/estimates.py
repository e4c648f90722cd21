"""Building heights from tags, from the building that a part belongs to, from neighbours, or from the type."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from scenes.osm.above_ground import is_passage, passage_clearance
from scenes.osm.building_parts import parent_outlines
from scenes.osm.footprints import Outline
from scenes.osm.heights.guesses import PRIOR_STD, KnownHeight, guess_heights, mean_error, relative_error
from scenes.osm.heights.storeys import LEVELS_STD, Storey, storey_of_map
from scenes.osm.map_features import Height, HeightProvenance
from scenes.osm.tags import STOREY_HEIGHT, height_from_levels, level_count, parse_length, wall_base

TAG_STD = 1.0  # metres: rounded numbers, roofs that are not flat
MIN_WALL_HEIGHT = 0.5  # metres of a bridge's walls at least
GUESS_SOURCES: tuple[HeightProvenance, ...] = ("neighbours", "prior")


def estimate_heights(
    outlines: Sequence[Outline], storey: Storey | None = None, passages: Set[int] = frozenset()
) -> list[Height]:
    """Estimate the height of every outline: from its height tag, else its levels, else the building that it is a part
    of, else neighbours of its kind, else its type.

    Neighbours count where enough heights are known (`guess_heights`); the uncertainty of such an estimate is the
    leave-one-out error over the known heights. A bridge begins above the street (`is_passage`). Nothing is random here:
    `draw_heights` draws.

    Args:
        storey: height of a level; default: that of the map (`storey_of_map`).
        passages: indices of outlines that cross a street above it, beside those whose tags say so.
    """
    storey = storey or storey_of_map(outlines)
    known, parents = known_heights(outlines, storey.height), parent_outlines(outlines)
    heights = [_height_from_tags(outline, storey.height) for outline in outlines]
    wholes = [k for k, height in enumerate(heights) if height is None and parents[k] == k]
    for k, height in zip(wholes, _guesses(outlines, known, wholes, storey.height), strict=True):
        heights[k] = _below_own_parts(height, k, parents, known)
    for k, height in enumerate(heights):
        if height is None:
            heights[k] = _height_of_part(outlines[k], heights[parents[k]], storey.height)
    done = [height for height in heights if height is not None]
    return [
        _raised(outlines[k], height, storey.height) if k in passages or is_passage(outlines[k].tags) else height
        for k, height in enumerate(done)
    ]


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


def known_heights(outlines: Sequence[Outline], storey: float = STOREY_HEIGHT) -> list[float | None]:
    """Height of every outline in metres from its `height` tag, else from its levels, else None."""
    return [
        parse_length(outline.tags.get("height")) or height_from_levels(outline.tags, storey) for outline in outlines
    ]


def height_summary(outlines: Sequence[Outline], heights: Sequence[Height], storey: Storey) -> dict[str, Any]:
    """How well the heights are known, for the report of a tile.

    Returns:
        `guessed`: fraction of the outlines whose height comes from neighbours or the type. `error`: mean absolute error
        in metres of such a guess over the known heights, each left out of its own guess; None where few are known.
        `storey`: the height of a level and its source. `unread`: values of `height` tags that are no height.
    """
    pool = _pool(outlines, known_heights(outlines, storey.height))
    guessed = sum(height.provenance in GUESS_SOURCES for height in heights)
    texts = [outline.tags["height"] for outline in outlines if "height" in outline.tags]
    return {
        "guessed": guessed / len(heights) if heights else 0.0,
        "error": mean_error(pool) if guessed else None,
        "storey": storey._asdict(),
        "unread": dict(Counter(text for text in texts if parse_length(text) is None)),
    }


def height_notes(summary: Mapping[str, Any]) -> list[str]:
    """What a user should know of a tile's heights."""
    notes = []
    if summary["guessed"]:
        error = "by the type of building alone, with an error of half of the height: the map knows too few"
        if summary["error"] is not None:
            error = f"of a mean error of {summary['error']:.1f} m, measured on the known heights"
        notes.append(f"{100 * summary['guessed']:.0f} % of the heights are guessed, {error}")
    if summary["unread"]:
        values = ", ".join(f"{text!r}" + f" ({n} times)" * (n > 1) for text, n in list(summary["unread"].items())[:5])
        notes.append(f"height tags that are no height above the ground, and do not count: {values}")
    return notes


def _pool(outlines: Sequence[Outline], known: Sequence[float | None]) -> list[KnownHeight]:
    """The whole buildings on the ground of known height."""
    pairs = zip(outlines, known, strict=True)
    return [(o, top) for o, top in pairs if top is not None and not o.is_part and not is_passage(o.tags)]


def _height_from_tags(outline: Outline, storey: float) -> Height | None:
    """The height of a building whose tags tell it."""
    tagged, from_levels = parse_length(outline.tags.get("height")), height_from_levels(outline.tags, storey)
    lower = wall_base(outline.tags, storey)
    if tagged is not None:
        return Height(base=lower, top=tagged, std=TAG_STD, provenance="tag")
    if from_levels is not None:
        return Height(base=lower, top=from_levels, std=LEVELS_STD * from_levels, provenance="levels")
    return None


def _guesses(
    outlines: Sequence[Outline], known: Sequence[float | None], targets: Sequence[int], storey: float
) -> list[Height]:
    """Heights of the outlines of index `targets`, from the known ones or by their type."""
    pool = _pool(outlines, known)
    guesses = guess_heights(pool, [outlines[k] for k in targets]) if targets else []
    is_measured = any(guess.provenance == "neighbours" for guess in guesses)
    std = {"prior": PRIOR_STD, "neighbours": relative_error(pool) if is_measured else PRIOR_STD}
    return [
        _estimate(outlines[k], guess.top, std[guess.provenance], guess.provenance, storey)
        for k, guess in zip(targets, guesses, strict=True)
    ]


def _estimate(outline: Outline, top: float, relative_std: float, provenance: HeightProvenance, storey: float) -> Height:
    """An estimated height; at least one storey above the walls' lower end where that is raised."""
    lower = wall_base(outline.tags, storey)
    top = max(top, lower + storey) if lower else top
    return Height(base=lower, top=top, std=relative_std * top, provenance=provenance)


def _below_own_parts(height: Height, whole: int, parents: Sequence[int], known: Sequence[float | None]) -> Height:
    """A guessed height, no higher than the highest part of the building: the tags of parts are all that is known."""
    tops = [known[k] or 0.0 for k, parent in enumerate(parents) if parent == whole and k != whole]
    highest = max(tops, default=0.0)
    return replace(height, top=min(height.top, highest)) if highest > height.base + MIN_WALL_HEIGHT else height


def _height_of_part(part: Outline, whole: Height | None, storey: float) -> Height:
    """The height of a part that tells none: that of its building."""
    assert whole is not None, "buildings are estimated before their parts"
    provenance = "building" if whole.provenance in ("tag", "levels") else whole.provenance
    return _estimate(part, whole.top, whole.std / max(whole.top, 1.0), provenance, storey)


def _raised(outline: Outline, height: Height, storey: float) -> Height:
    """The height of a bridge: where no tag gives its lower end, it leaves room for the street below.

    Its levels are its own. A height tag counts from the ground; one too low for that is the bridge's own thickness.
    """
    if height.base > 0:
        return height
    own = (level_count(outline.tags) or 1.0) * storey
    clearance = passage_clearance(outline.tags, storey)
    if height.provenance == "tag" and height.top >= clearance + MIN_WALL_HEIGHT:
        return replace(height, base=max(clearance, height.top - own))
    own = height.top if height.provenance == "tag" else own
    return replace(height, base=clearance, top=clearance + own)
