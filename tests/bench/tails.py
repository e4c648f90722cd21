"""What a 95th percentile can be: `python -m tests.bench.tails wrong_buildings rsrp_ta`.

On both tiles of the protocol `florence`, with 2000 labelled reports.

Who is to be within a radius of the truth as often as can be names the disc of that radius that holds most probability,
not the geometric median. For the limit and robust grid Bayes: both percentiles of such answers, for each radius.
"""

import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from training.cache import StageCache
from training.evaluation.methods import EvaluationCase, single_report_methods
from training.evaluation.protocol import EvalConfig, protocol_conditions
from training.evaluation.scenarios import evaluation_scenarios
from uel.core.grid import Grid
from uel.core.io import data_folder
from uel.estimation.estimates import GridEstimate
from uel.estimation.scoring import position_error

RADII = (36.0, 48.0, 60.0, 72.0, 84.0, 96.0, 108.0, 120.0, 132.0, 144.0, 156.0)
METHODS = ("limit", "grid_robust")
CHUNK = 16


def fullest(probability: Float[Tensor, "n row column"], grid: Grid, radius: float) -> Float[Tensor, "n 2"]:
    """The pixel centre within whose disc most probability lies, in metres."""
    reach = int(radius / grid.pixel)
    axis = torch.arange(-reach, reach + 1) * grid.pixel
    disc = (torch.hypot(axis[:, None], axis) <= radius).float()
    size = (grid.count + 2 * reach,) * 2
    held = torch.fft.irfft2(torch.fft.rfft2(probability, size) * torch.fft.rfft2(disc, size), size)
    inside = held[:, reach : reach + grid.count, reach : reach + grid.count]
    return grid.centres().view(-1, 2)[inside.flatten(1).argmax(1)]


def errors(case: EvaluationCase) -> dict[tuple[str, float], Float[Tensor, " phone"]]:
    """By method and radius, in metres; radius 0 is the geometric median."""
    methods = single_report_methods(case, {}, controls=False)
    found = dict[tuple[str, float], list[Tensor]]()
    for start in range(0, len(case.reports), CHUNK):
        part = slice(start, start + CHUNK)
        for name in METHODS:
            pixels = methods[name]((case.true_reports if name == "limit" else case.reports)[part])
            assert isinstance(pixels, GridEstimate)
            answers = {0.0: pixels.position} | {r: fullest(pixels.probability, pixels.grid, r) for r in RADII}
            for radius, answer in answers.items():
                found.setdefault((name, radius), []).append(position_error(answer, case.position[part]))
    return {key: torch.cat(parts) for key, parts in found.items()}


@torch.no_grad()
def main(condition: str, tier: str) -> None:
    config = EvalConfig(
        run=Path(), seed=3, phones=500, fingerprints=2000, deployments=1, truths=("map",), carriers=(3.5e9,),
        tiers=(tier,), axis_tiers=(), speeds=(), conditions=(condition,), map_tiers=(tier,),
    )  # fmt: skip
    *_, asked = protocol_conditions(config)
    each = [errors(make().case(asked)) for make in evaluation_scenarios(config, StageCache(data_folder()))]
    print(f"{condition} {tier}, median / 95th percentile in metres")
    for radius in (0.0, *RADII):
        line = f"  disc of {radius:3.0f} m " if radius else "  geometric median"
        for name in METHODS:
            both = torch.quantile(torch.cat([one[name, radius] for one in each]), torch.tensor([0.5, 0.95]))
            line += "   {} {:5.1f} / {:5.1f}".format(name, *both.tolist())
        print(line)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("give a map condition and a tier: python -m tests.bench.tails wrong_buildings rsrp_ta")
    main(*sys.argv[1:])
