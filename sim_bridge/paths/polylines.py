"""Paths as lines through space, to be drawn."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge.backend import path_buffers
from sim_bridge.backend.torch_drjit import LOCK
from sim_bridge.paths import dispatch, solver
from sim_bridge.paths.path_set import PathSet
from uel.radio.sites import cell_positions

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna


@dataclass(frozen=True, eq=False)
class PathPolylines:
    """Paths, and the corners of each: the antenna, every interaction, the phone."""

    paths: PathSet
    corner: Float[Tensor, "row corner 3"]
    """m; not to be read where `real` is False"""
    real: Bool[Tensor, "row corner"]

    def line(self, row: int) -> Float[Tensor, "corner 3"]:
        """The corners of one path in m, from the antenna to the phone."""
        return self.corner[row][self.real[row]]


def rays(sim: "Sionna", position: Float[Tensor, "n dim"]) -> PathPolylines:
    """Every path to some positions, found by the full search. Raises `UelError` as `Sionna.trace` does."""
    with torch.no_grad():
        points = sim.rows(position)
        indices, parts = zip(*(_part(sim, *f) for f in dispatch.find_paths(sim, points, {}, search=True)), strict=True)
    paths = solver.in_order([(index, part.paths) for index, part in zip(indices, parts, strict=True)], len(points))
    return PathPolylines(paths, torch.cat([part.corner for part in parts]), torch.cat([part.real for part in parts]))


def _part(
    sim: "Sionna", index: Tensor, found: solver.ResolvedPaths, ends: solver.Endpoints, given: dict[str, Tensor]
) -> tuple[Tensor, PathPolylines]:
    """Receivers, and their paths with power, which count them from 0."""
    paths = solver.evaluate_paths(sim.scene, sim.facets, found, ends, given, sim.wavelength, silent=True)
    depth = sim.tracing.max_depth
    middle, met = torch.zeros(len(paths.power), depth, 3), torch.zeros(len(paths.power), depth, dtype=torch.bool)
    if found.count:
        with LOCK:
            middle, met = (
                path_buffers.vertices(found.buffer, found.count),
                path_buffers.rows(found.buffer, found.count)[0] > 0,
            )
    first, last = cell_positions(sim.sites)[paths.source], ends.target[paths.target]
    ones = torch.ones(len(paths.power), 1, dtype=torch.bool)
    loud = (paths.power > 0).nonzero()[:, 0]
    corner, real = torch.cat([first[:, None], middle, last[:, None]], 1), torch.cat([ones, met, ones], 1)
    return index, PathPolylines(paths.rows(loud), corner[loud], real[loud])
