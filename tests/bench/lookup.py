"""A million positions × eight cells: the censored, differentiable lookup against bare `grid_sample`."""

import torch
from torch.nn import functional as F

from tests.bench.common import compare
from tests.helpers.free_space import CORNERS, masts, radio_map

POSITIONS, SIZE = 1_000_000, 256.0


def run() -> dict[str, float]:
    radio = radio_map(masts(*CORNERS, (60.0, 10.0), (-50.0, 30.0)), pixel=2.0)
    hidden = torch.rand(radio.known.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    radio.known[hidden] = False
    position = (torch.rand(POSITIONS, 2, generator=torch.Generator().manual_seed(1)) - 0.5) * SIZE
    level = 10 * radio.gain.log10()[None]
    scaled = (position / (SIZE / 2))[None, None]

    def bare(_: int) -> None:
        F.grid_sample(level, scaled, mode="bilinear", padding_mode="border", align_corners=False)

    with torch.no_grad():
        ours, theirs, ratio = compare(
            lambda _: radio.gain_db(position), bare, "lookup", rounds=50
        )  # fresh pages: noisy
    return {"lookup_ms": 1e3 * ours, "grid_sample_ms": 1e3 * theirs, "lookup_ratio": 1 / ratio}
