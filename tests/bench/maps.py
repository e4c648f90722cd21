"""A map of every channel against stock Sionna's map of gain alone, at equal rays; and against the path solver."""

from dataclasses import replace

import torch

from sim_bridge.simulator import Sionna
from tests.bench.common import SIZE, compare, munich, outdoors
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid

import mitsuba as mi  # isort: skip  (after the simulator, which finds a usable LLVM)
import sionna.rt as rt  # isort: skip
from sim_bridge.radio_maps.solver import radio_map  # isort: skip

PIXEL, POINTS = 4.0, 500


def run() -> dict[str, float]:
    sim, grid = munich(), Grid(size=SIZE, pixel=PIXEL)
    tracing = sim.tracing
    solver, square = rt.RadioMapSolver(), mi.Point2f(SIZE, SIZE)

    def stock(turn: int) -> None:
        cells = mi.Point2f(PIXEL, PIXEL)
        center, turned = mi.Point3f(0, 0, tracing.ue_height), mi.Point3f(0, 0, 0)
        solver(
            sim.scene, center=center, orientation=turned, size=square, cell_size=cells,
            samples_per_tx=tracing.map_rays, max_depth=tracing.max_depth, seed=turn,
        ).path_gain.numpy()  # fmt: skip

    ours, theirs, ratio = compare(lambda _: sim.radio_map(grid), stock, "radio maps")
    return {"map_s": ours, "stock_map_s": theirs, "map_time_ratio": 1 / ratio, **_errors(sim, grid)}


def _errors(sim: Sionna, grid: Grid) -> dict[str, float]:
    """Medians over links of `POINTS` places that both map and path solver know."""
    many_rays = replace(sim.radio_scene, tracing=replace(sim.tracing, map_rays=16_000_000))
    looked = radio_map(many_rays, grid)
    position = outdoors(POINTS, torch.Generator().manual_seed(9))
    with torch.no_grad():
        seen, paths = looked.lookup(position), sim.trace(position)
    both = seen.known & paths.known()
    off = (seen.first_arrival - paths.first_arrival()).abs()[both] * SPEED_OF_LIGHT
    unit = [torch.nn.functional.normalize(v[both], dim=-1) for v in (seen.mean_arrival, paths.mean_arrival())]
    angle = torch.rad2deg((unit[0] * unit[1]).sum(-1).clamp(-1, 1).acos())
    return {
        "map_links_compared": float(both.sum()),
        "toa_error_pixels": float(off.median()) / grid.pixel,
        "aoa_error_deg": float(angle.median()),
    }
