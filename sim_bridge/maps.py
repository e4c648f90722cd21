"""Radio maps that follow the ground, with the Monte-Carlo error of every pixel."""

from typing import TYPE_CHECKING

import mitsuba as mi
import numpy as np
import sionna.rt as rt
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from uel.grid import Grid
from uel.radiomap import RadioMap

if TYPE_CHECKING:
    from sim_bridge.tracer import Sionna


def radio_map(sim: "Sionna", grid: Grid) -> RadioMap:
    """Shoot `map_rays` rays per cell in independent batches; their mean is the gain, their scatter its error.

    The measurement surface is a mesh at UE height above the ground, two triangles a pixel, so that hills do not
    bury it. A pixel that no ray met stays unknown: it is not filled.
    """
    surface, elevation = surface_of(sim, grid)
    batches = torch.stack(
        [
            _one_batch(sim, surface, grid, batch)
            for batch in track(range(sim.tracing.map_batches), "radio map: batches of rays", transient=True)
        ]
    )
    gain = batches.mean(0)
    error = batches.std(0) / len(batches) ** 0.5
    known = gain > 0
    points = torch.cat([grid.centres(), elevation[..., None]], -1).reshape(-1, 3)
    return RadioMap(
        grid=grid,
        sites=sim.sites,
        gain=gain.float(),
        relative_error=torch.where(known, error / gain.clamp(min=1e-300), 0.0).float(),
        known=known,
        los=sim.line_of_sight(points).T.reshape(-1, *grid.shape),
        elevation=elevation,
    )


def _one_batch(sim: "Sionna", surface: mi.Mesh, grid: Grid, batch: int) -> Float[Tensor, "cell row column"]:
    tracing = sim.tracing
    rays = max(tracing.map_rays // tracing.map_batches, 1)
    result = rt.RadioMapSolver()(
        sim.scene,
        measurement_surface=surface,
        # The first rays leave on a Fibonacci lattice that the seed does not move; another count of rays does.
        samples_per_tx=rays + batch * max(rays // 100, 1),
        max_depth=tracing.max_depth,
        diffraction=tracing.diffraction,
        diffuse_reflection=tracing.scattering > 0,
        seed=tracing.seed * 1000 + batch,
    )
    gain = torch.from_numpy(result.path_gain.numpy().astype(np.float64))
    return gain.reshape(len(gain), *grid.shape, 2).mean(-1)


def surface_of(sim: "Sionna", grid: Grid) -> tuple[mi.Mesh, Float[Tensor, "row column"]]:
    """The measurement mesh, and the elevation of each pixel's centre in metres."""
    axis = torch.linspace(-grid.size / 2, grid.size / 2, grid.count + 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    corner = sim.at_height(torch.stack([x, y], -1))
    index = torch.arange(corner[..., 0].numel()).reshape(corner.shape[:2])
    a, b, c, d = (v.reshape(-1) for v in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)], 1)
    mesh = mi.Mesh("measurement-surface", corner[..., 0].numel(), faces.numel() // 3)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = corner.reshape(-1).numpy()
    parameters["faces"] = faces.reshape(-1).numpy().astype(np.uint32)
    parameters.update()
    z = corner[..., 2]
    return mesh, (z[:-1, :-1] + z[1:, 1:]) / 2
