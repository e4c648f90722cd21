"""Radio maps where rays graze the surface, and the same bytes in every process."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch

from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.grid import Grid

MAP = """
import hashlib
from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import mast
from uel.core.grid import Grid
import drjit as dr
dr.set_thread_count({threads})
houses = [(rectangle((x, x + 8.0), (y, y + 8.0)), 12.0) for x in (-40.0, 0.0, 40.0) for y in (-40.0, 20.0)]
sim = simulator(houses, mast((-10.0, 0.0, 25.0)), max_depth=2, diffraction=True, map_rays=60_000, map_batches=2)
radio = sim.radio_map(Grid(size=128.0, pixel=4.0))
channels = [getattr(radio.channels, name) for name in ("first_arrival", "delay_spread", "arrival", "sight")]
parts = (radio.gain, radio.relative_error, *channels)
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""


def test_a_wall_mirrors_a_mast_in_the_plane_of_the_map() -> None:
    """Direct path and image by Friis, 1.5 m above the ground: no ray crosses the surface."""
    wall = rectangle((30.0, 32.0), (-100.0, 100.0))
    sim = simulator([(wall, 20.0)], mast((0.0, 0.0, 1.5)), max_depth=1, diffraction=False, map_rays=2_000_000)
    grid = Grid(size=128.0, pixel=4.0)
    radio, centre = sim.radio_map(grid), grid.centres()
    open_air = (centre[..., 0] < 28) & (centre.norm(dim=-1) > 10)
    direct, image = (friis((centre - torch.tensor([x, 0.0])).norm(dim=-1)) for x in (0.0, 60.0))
    apart = 10 * (radio.gain[0] / (direct + image)).log10()[open_air]
    assert float(apart.abs().median()) < 0.4
    assert float(apart.median().abs()) < 0.1
    reflected = (radio.gain[0] - direct)[open_air]
    assert float((10 * (reflected.sum() / image[open_air].sum()).log10()).abs()) < 0.15
    stated = radio.relative_error[0][open_air] * radio.gain[0][open_air]
    within = ((reflected - image[open_air]).abs() < 3 * stated + 0.02 * image[open_air]).float().mean()
    assert float(within) > 0.9


@pytest.mark.slow  # 60 s: three processes that open Sionna RT
def test_one_seed_is_one_map_in_every_process_on_a_busy_machine() -> None:
    """With one thread and with four, beside processes that never wait: the same bytes."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        runs = [
            subprocess.run([sys.executable, "-c", MAP.format(threads=threads)], capture_output=True, text=True)
            for threads in (1, 4, 4)
        ]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    digests = {run.stdout.strip() for run in runs}
    assert len(digests) == 1, [run.stderr[-2000:] for run in runs]
    assert len(digests.pop()) == hashlib.sha256().digest_size * 2
