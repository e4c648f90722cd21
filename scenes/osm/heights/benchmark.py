"""How well each method estimates the heights that a map gives, leaving each building out of its own estimate.

`python -m scenes.osm.heights.benchmark FILE…` prints a table of mean absolute errors.
"""

import sys
from collections.abc import Sequence

import numpy as np

from scenes.osm.footprints import Outline
from scenes.osm.heights.estimates import known_heights
from scenes.osm.heights.guesses import MIN_KNOWN_HEIGHTS, guess_heights
from scenes.osm.heights.neighbours import nearest_known
from scenes.osm.heights.storeys import storey_of_map
from scenes.osm.reader import outlines_of_file
from scenes.osm.tags import height_from_levels, parse_length


def leave_one_out(outlines: Sequence[Outline], seed: int | np.random.Generator = 0) -> dict[str, float]:
    """Mean absolute error in metres of each method over the buildings whose height is known.

    The true height is the `height` tag, else the levels; each building is left out of its own estimate. Methods:
    `neighbours` (`estimate_heights`), `median_10` (median of the 10 nearest), `random_floors` (3.5 m times a number of
    floors around 5 ± 1, as Geo2SigMap draws them), `constant` (10 m, as DeepMIMO sets them) and `own_levels` (the
    building's levels, over those `both` buildings that have a height and levels).
    """
    storey = storey_of_map(outlines).height
    pool = [
        (outline, top)
        for outline, top in zip(outlines, known_heights(outlines, storey), strict=True)
        if top is not None and not outline.is_part
    ]
    if len(pool) <= MIN_KNOWN_HEIGHTS:
        return {"count": float(len(pool))}
    truth = np.array([top for _, top in pool])
    floors = np.random.default_rng(seed).normal(5.0, 1.0, len(pool)).astype(int).clip(1, 15)
    index, _ = nearest_known(pool, [outline for outline, _ in pool], leave_out=True)
    estimates = {
        "neighbours": np.array([guess.top for guess in guess_heights(pool)]),
        "median_10": np.median(truth[index[:, :10]], axis=1),
        "random_floors": 3.5 * floors,
        "constant": 10.0,
    }
    errors = {name: float(np.abs(estimate - truth).mean()) for name, estimate in estimates.items()}
    return {"count": float(len(pool)), **errors, **_level_errors(pool, storey)}


def _level_errors(pool: Sequence[tuple[Outline, float]], storey: float) -> dict[str, float]:
    pairs = [
        (parse_length(outline.tags.get("height")), height_from_levels(outline.tags, storey)) for outline, _ in pool
    ]
    errors = [abs(tagged - levels) for tagged, levels in pairs if tagged is not None and levels is not None]
    return {"both": float(len(errors)), **({"own_levels": float(np.mean(errors))} if errors else {})}


def main(files: Sequence[str]) -> None:
    """Print a table of mean absolute errors in metres, one row per map file."""
    names = ("count", "neighbours", "median_10", "random_floors", "constant", "both", "own_levels")
    print(f"{'file':32}" + "".join(f"{name:>14}" for name in names))
    for file in files:
        errors = leave_one_out(outlines_of_file(file))
        cells = [f"{errors[name]:14.4g}" if name in errors else f"{'–':>14}" for name in names]
        print(f"{file.rsplit('/', 1)[-1]:32}" + "".join(cells))


if __name__ == "__main__":
    main(sys.argv[1:])
