"""Paths as lines through space, to be drawn."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.backend import path_buffers
from sim_bridge.backend.torch_drjit import LOCK
from sim_bridge.paths import solver
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.paths.path_set import PathSet
from sim_bridge.scene.endpoints import Endpoints
from sim_bridge.scene.radio_scene import RadioScene
from uel.radio.sites import cell_positions


@dataclass(frozen=True, eq=False)
class PathPolylines:
    """Paths, and the corners of each: the antenna, every interaction, the phone."""

    paths: PathSet
    corner: Float[Tensor, "row corner 3"]
    """m; not to be read where `real` is False"""
    real: Bool[Tensor, "row corner"]
    kind: Int[Tensor, "row interaction"]
    """Sionna's kind of each interaction (1 reflection, 2 scattering, 4 refraction, 8 diffraction); 0 where there is
    none"""

    def line(self, row: int) -> Float[Tensor, "corner 3"]:
        """The corners of one path in m, from the antenna to the phone."""
        return self.corner[row][self.real[row]]


def trace_polylines(finder: PathFinder, position: Float[Tensor, "n dim"]) -> PathPolylines:
    """Every path to some positions (m), found by the full search. Raises `UelError` as `Sionna.trace` does."""
    with torch.no_grad():
        points = finder.scene.rows(position)
        parts = [
            (index, _part(finder.scene, resolved, endpoints, given))
            for index, resolved, endpoints, given in finder.find_paths(points, {}, search=True)
        ]
    paths = solver.in_order([(index, part.paths) for index, part in parts], len(points))
    corner, real, kind = (torch.cat([getattr(part, name) for _, part in parts]) for name in ("corner", "real", "kind"))
    return PathPolylines(paths, corner, real, kind)


def _part(
    scene: RadioScene, resolved: solver.ResolvedPaths, endpoints: Endpoints, given: dict[str, Tensor]
) -> PathPolylines:
    """The paths with power of one batch, whose receivers count from 0."""
    paths = solver.evaluate_paths(scene, resolved, endpoints, given, keep_silent=True)
    rows, depth = len(paths.power), scene.tracing.max_depth
    middle, kind = (
        torch.zeros(rows, depth, 3, device=paths.power.device),
        torch.zeros(rows, depth, dtype=torch.long, device=paths.power.device),
    )
    if resolved.count:
        with LOCK:
            middle = path_buffers.vertices(resolved.buffer, resolved.count).to(middle.device)
            kind = path_buffers.interaction_surfaces(resolved.buffer, resolved.count)[0].to(kind.device)
    first, last = cell_positions(scene.sites, paths.power.device)[paths.source], endpoints.target[paths.target]
    ones = torch.ones(rows, 1, dtype=torch.bool, device=paths.power.device)
    loud = (paths.power > 0).nonzero()[:, 0]
    corner, real = torch.cat([first[:, None], middle, last[:, None]], 1), torch.cat([ones, kind > 0, ones], 1)
    return PathPolylines(paths.select(loud), corner[loud], real[loud], kind[loud])
