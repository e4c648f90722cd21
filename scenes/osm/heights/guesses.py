"""Heights of buildings that a map gives none: from neighbours of the same kind, or from the type."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scenes.osm.footprints import Outline
from scenes.osm.heights.building_types import MIXED_GROUPS, building_group, height_by_type
from scenes.osm.heights.neighbours import neighbour_median
from scenes.osm.map_features import HeightProvenance

MIN_KNOWN_HEIGHTS = 10  # with fewer known heights in a map the type of building predicts better
MIN_KNOWN_OF_GROUP = 5  # with fewer known heights of a group the type predicts better: 4.9 m for churches, not 11.6 m
PRIOR_STD = 0.5  # relative to the height

KnownHeight = tuple[Outline, float]


class HeightGuess(NamedTuple):
    """A height in metres and where it comes from."""

    top: float
    provenance: HeightProvenance


def guess_heights(pool: Sequence[KnownHeight], targets: Sequence[Outline] | None = None) -> list[HeightGuess]:
    """Heights of outlines from those that are known.

    A church between towers is no tower, and neither is a garage: the height of such a type (`building_types`) comes
    from known ones of the same group, or from the type where these are few. Blocks, public buildings and those of
    unknown type are as high as what stands around them.

    Args:
        pool: outlines with their known heights in metres.
        targets: outlines to guess; without it each one of the pool is guessed from the others.
    """
    wanted = [outline for outline, _ in pool] if targets is None else list(targets)
    guesses = [HeightGuess(height_by_type(outline.tags), "prior") for outline in wanted]
    if len(pool) - (targets is None) < MIN_KNOWN_HEIGHTS:
        return guesses
    groups, pool_groups = (
        np.array([_group(outline) for outline in outlines], dtype=object)
        for outlines in (wanted, [outline for outline, _ in pool])
    )
    for group in sorted(set(groups)):
        chosen, alike = np.flatnonzero(groups == group), np.flatnonzero(pool_groups == group)
        known = [pool[int(k)] for k in alike] if group else list(pool)
        if len(known) - (targets is None) < MIN_KNOWN_OF_GROUP:
            continue
        # Each of the pool is left out of its own guess, for which the targets have to be the pool itself.
        tops = neighbour_median(known, None if targets is None else [wanted[k] for k in chosen])
        picked = chosen if targets is None and not group else range(len(chosen))
        for k, place in zip(chosen, picked, strict=True):
            guesses[k] = HeightGuess(float(tops[place]), "neighbours")
    return guesses


def _group(outline: Outline) -> str:
    """The group of a type with a height of its own; empty for all others."""
    group = building_group(outline.tags)
    return "" if group in MIXED_GROUPS else group


def relative_error(pool: Sequence[KnownHeight]) -> float:
    """Root mean square of the relative error of guesses over the known heights, each left out of its own guess."""
    if len(pool) <= MIN_KNOWN_HEIGHTS:
        return PRIOR_STD
    truth = np.array([top for _, top in pool])
    residual = np.log(np.array([guess.top for guess in guess_heights(pool)]) / truth)
    return float(np.sqrt(np.mean(residual**2)))


def mean_error(pool: Sequence[KnownHeight]) -> float | None:
    """Mean absolute error in metres of guesses over the known heights, each left out of its own; None with few."""
    if len(pool) <= MIN_KNOWN_HEIGHTS:
        return None
    truth = np.array([top for _, top in pool])
    return float(np.abs(np.array([guess.top for guess in guess_heights(pool)]) - truth).mean())
