"""Munich with six masts, receivers drawn outdoors, stock Sionna on the same scene, and fair timing."""

import gc
import statistics
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from sim_bridge.simulator import Sionna, TracingConfig
from uel.radio.sites import Site

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip
import sionna.rt as rt  # isort: skip

ROUNDS = 5
SIZE = 512.0
MASTS = ((8.5, 21, 27), (-150, 60, 35), (120, -110, 35), (-60, -140, 30), (160, 120, 40), (-200, -60, 30))
STOCK_SAMPLES = 100_000


@cache
def munich() -> Sionna:
    """Six masts, three interactions, refraction, no diffraction; no atlas yet."""
    sites = tuple(Site(position=(float(x), float(y), float(z))) for x, y, z in MASTS)
    tracing = TracingConfig(samples=STOCK_SAMPLES, diffraction=False, map_rays=2_000_000)
    return Sionna(rt.load_scene(rt.scene.munich), sites, tracing, size=SIZE)


def outdoors(count: int, generator: torch.Generator) -> Tensor:
    """Positions 1.5 m above the ground with the sky overhead, (count, 3)."""
    found: list[Tensor] = []
    while sum(map(len, found)) < count:
        flat = (torch.rand(2 * count, 2, generator=generator) - 0.5) * SIZE
        point = torch.cat([flat, torch.full((len(flat), 1), 1.5)], 1)
        ray = mi.Ray3f(o=mi.Point3f(*(mi.Float(c.numpy()) for c in point.T.contiguous())), d=mi.Vector3f(0, 0, 1))
        covered = munich().scene.mi_scene.ray_test(ray)
        found.append(point[~torch.from_numpy(covered.numpy().astype(bool))])
    return torch.cat(found)[:count]


class Stock:
    """Sionna as a user sets it up: receivers in the scene and the path solver, with its defaults in munich."""

    def __init__(
        self,
        receivers: int,
        sim: Sionna | None = None,
        max_depth: int = 3,
        samples: int = STOCK_SAMPLES,
        **interactions: bool,
    ) -> None:
        self.scene = (sim or munich()).scene
        self.limits = {"max_depth": max_depth, "samples_per_src": samples, **interactions}
        for name in list(self.scene.receivers):
            self.scene.remove(name)
        for index in range(receivers):
            self.scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(0, 0, 0)))
        self.solver = rt.PathSolver()
        self.solver.loop_mode = "evaluated"

    def solve(self, x: mi.TensorXf, y: mi.TensorXf, z: mi.TensorXf) -> rt.Paths:
        for index, receiver in enumerate(self.scene.receivers.values()):
            receiver.position = mi.Point3f(*(dr.gather(mi.Float, c.array, index) for c in (x, y, z)))
        return self.solver(self.scene, **self.limits)

    def gain(self, position: Tensor) -> Tensor:
        """Linear path gain, `n cell`, differentiable."""

        @dr.wrap(source="torch", target="drjit")
        def ask(x, y, z):
            real, imag = self.solve(x, y, z).a
            return dr.sum(dr.square(real) + dr.square(imag), axis=(1, 3, 4))

        return ask(*(c.contiguous() for c in position.unbind(-1)))

    def paths(self, position: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Of every path its identity (receiver, cell, kinds, objects, primitives) and its power."""
        paths = self.solve(*(mi.TensorXf(c.contiguous().numpy()) for c in position.unbind(-1)))
        real, imag = (part.numpy() for part in paths.a)
        power = (real**2 + imag**2).sum((1, 3))
        at = np.argwhere(power > 0)

        def pick(v):
            return v.numpy().astype(np.int64)[:, at[:, 0], at[:, 1], at[:, 2]].T

        kind = pick(paths.interactions)
        named = [np.where(kind > 0, pick(v), 0) for v in (paths.objects, paths.primitives)]
        return np.concatenate([at[:, :2], kind, *named], 1), power[tuple(at.T)]


def compare(
    ours: Callable[[int], object], other: Callable[[int], object], title: str, rounds: int = ROUNDS, often: int = 1
) -> tuple[float, float, float]:
    """Medians in seconds of two calls made in turn, and the median of their ratios (other / ours).

    Round 0 is not timed: it pays for what is compiled once. Ours may be made `often` for each of the other, its turns
    running on, and counts by their mean: a call of 0.1 s is too short to be timed once beside one of 5 s.
    """
    seconds = []
    for turn in track(range(rounds + 1), title, transient=True):
        mine = sum(_timed(ours, often * turn + k) for k in range(often)) / often
        pair = (mine, _timed(other, turn))
        if turn:
            seconds.append(pair)
    first, second = zip(*seconds, strict=True)
    return statistics.median(first), statistics.median(second), statistics.median(b / a for a, b in seconds)


def _timed(call: Callable[[int], object], turn: int) -> float:
    gc.collect()  # what the other call left behind
    start = time.perf_counter()
    call(turn)
    return time.perf_counter() - start
