"""Radio maps that follow the ground: gain, delays and directions in one pass over rays, with their Monte-Carlo error.

Rays leave every cell on a shifted lattice, meet walls, go on as the materials draw, and leave their power wherever they
cross the measurement surface, at UE height above the ground. Rays that left the scene are dropped between bounces, and
a crossing does not end a ray, so that one intersection a segment is enough (stock Sionna takes two, and returns the
gain alone).
"""

from typing import TYPE_CHECKING

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from sim_bridge.backend import sionna_internals
from sim_bridge.chains.ray_launching import sphere
from sim_bridge.radio_maps.accumulator import MapAccumulator
from sim_bridge.radio_maps.diffraction import add_diffraction
from uel.core.grid import Grid
from uel.core.units import SPEED_OF_LIGHT
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.sites import cell_positions

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

LEAST = 4  # batches before their scatter is believed to say that the map is good enough
RayBatch = dict[str, Tensor]


def radio_map(sim: "Sionna", grid: Grid) -> RadioMap:
    """Shoot `map_rays` rays per cell in independent batches; their mean is the map, their scatter its error.

    Stops early once the median relative error is below `map_target`. A pixel that no ray met stays unknown: it is not
    filled.
    """
    tracing, batches = sim.tracing, list[RayBatch]()
    shooter = RadioMapSolver(sim, grid)
    with Progress(transient=True) as progress:
        task = progress.add_task("radio map: batches of rays", total=tracing.map_batches)
        while len(batches) < tracing.map_batches and not _good_enough(batches, tracing.map_target):
            batches.append(shooter.batch(max(tracing.map_rays // tracing.map_batches, 1), len(batches)))
            progress.advance(task)
    return _map_of(sim, grid, batches, shooter.elevation)


def _good_enough(batches: list[RayBatch], target: float) -> bool:
    if len(batches) < LEAST or target <= 0:
        return False
    gain, error = _gain(batches)
    return float((error / gain)[gain > 0].median()) <= target


def _gain(batches: list[RayBatch]) -> tuple[Tensor, Tensor]:
    """Mean gain of the batches and its standard error."""
    gain = torch.stack([batch["gain"] for batch in batches])
    return gain.mean(0), gain.std(0) / len(batches) ** 0.5


def _map_of(sim: "Sionna", grid: Grid, batches: list[RayBatch], elevation: Tensor) -> RadioMap:
    gain, error = _gain(batches)
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
        channels=_channels(sim, grid, batches, points),
    )


def _channels(
    sim: "Sionna", grid: Grid, batches: list[RayBatch], points: Float[Tensor, "pixel 3"]
) -> PropagationChannels:
    """First arrival, delay spread and mean directions, weighted by power; 0 where nothing is known."""
    total = {name: torch.stack([batch[name] for batch in batches]).sum(0) for name in batches[0]}
    power = total["gain"]
    mean = lambda name: torch.where(power > 0, total[name] / power.clamp(min=1e-300), 0.0)  # noqa: E731
    along = lambda end: torch.stack([mean(f"{end}_{axis}") for axis in "xyz"], 1).float()  # noqa: E731
    excess = torch.stack([batch["first"] for batch in batches]).amin(0)
    direct = (points - cell_positions(sim.sites)[:, None]).norm(dim=-1).view(-1, *grid.shape)
    spread = (mean("square") - mean("excess").square()).clamp(min=0).sqrt()
    return PropagationChannels(
        first_arrival=torch.where(power > 0, (direct + excess) / SPEED_OF_LIGHT, 0.0).float(),
        delay_spread=(spread / SPEED_OF_LIGHT).float(),
        arrival=along("arrival"),
        departure=along("departure"),
        sight=(total["area"] / len(batches) / grid.pixel**2).clamp(max=1).float(),
    )


class RadioMapSolver:
    """Rays over one simulator's scene and one grid."""

    def __init__(self, sim: "Sionna", grid: Grid) -> None:
        self.sim, self.grid = sim, grid
        self.surface, self.elevation = surface_of(sim, grid)
        self.surface_scene = mi.load_dict({"type": "scene", "surface": self.surface})
        # A ray may cross a hill's surface twice between two walls.
        self.crossings = 1 if float(self.elevation.max() - self.elevation.min()) == 0 else 2

    def batch(self, rays: int, number: int) -> RayBatch:
        """One independent batch of rays from every cell."""
        tracing, cells = self.sim.tracing, len(cell_positions(self.sim.sites))
        seed = tracing.seed * 1000 + number
        sums = MapAccumulator(self.grid, cells, self.surface, self.sim.wavelength)
        with dr.scoped_set_flag(dr.JitFlag.OptimizeLoops, False):  # the loop is traced once, not twice
            self._shoot(sums, rays, seed)
        if tracing.diffraction and tracing.max_depth > 0:
            source, turn, cell, _ = self._leave(rays)
            add_diffraction(self.sim.scene, self.surface_scene, sums, source, turn, cell, rays, seed)
        return sums.to_torch()

    def _shoot(self, sums: MapAccumulator, rays: int, seed: int) -> None:
        """From wall to wall, leaving power on the surface on the way."""
        scene, scattering = self.sim.scene.mi_scene, self.sim.tracing.scattering > 0
        source, turn, cell, last = self._leave(rays)
        width = dr.width(cell)
        departure = dr.tile(sphere(rays, seed), width // rays)
        field = sionna_internals.radiate(self.sim.scene, turn, departure)

        # Not by `dr.syntax`, which cannot read functions that are type-checked (as ours are in tests).
        def step(active, depth, origin, direction, field, solid_angle, length, random):
            ray = mi.Ray3f(o=origin, d=direction, time=0.0, wavelengths=mi.Color0f())
            hit = scene.ray_intersect(ray, active=active)
            reach = dr.select(hit.is_valid(), hit.t, dr.inf)
            light = (source, departure, field, solid_angle, length, cell)
            self._cross(sums, ray, reach, light, depth == 0, active)
            active &= hit.is_valid() & (depth < last)
            length = length + dr.select(active, hit.t, 0)
            out, bounced, kind = sionna_internals.bounce(hit, direction, field, solid_angle, random, scattering, active)
            active &= kind != sionna_internals.NONE
            field = dr.select(active, bounced, field)
            solid_angle = dr.select(kind == sionna_internals.DIFFUSE, dr.two_pi, solid_angle)
            on = hit.spawn_ray(out)
            return active, depth + 1, mi.Point3f(on.o), mi.Vector3f(on.d), field, solid_angle, length, random

        start = (
            dr.full(mi.Bool, True, width),
            dr.zeros(mi.UInt, width),
            mi.Point3f(source),
            mi.Vector3f(departure),
            field,
            dr.full(mi.Float, 4 * dr.pi / rays, width),
            dr.zeros(mi.Float, width),
            mi.PCG32(width, dr.opaque(mi.UInt64, seed)),
        )
        dr.while_loop(start, lambda active, *_: active, step, mode="symbolic")

    def _leave(self, rays: int) -> tuple[mi.Point3f, mi.Point3f, mi.UInt, mi.UInt]:
        """Of every ray, its cell's position, turn and number, and the most bounces."""
        ends = self.sim.ends(torch.zeros(1, 3), {})
        cell = dr.repeat(dr.arange(mi.UInt, len(ends.source)), rays)
        place, turn = (
            mi.Point3f(*(mi.Float(c.numpy()) for c in v.T.contiguous())) for v in (ends.source, ends.source_turn)
        )
        source, turn = dr.gather(mi.Point3f, place, cell), dr.gather(mi.Point3f, turn, cell)
        return source, turn, cell, dr.opaque(mi.UInt, self.sim.tracing.max_depth)

    def _cross(
        self, sums: MapAccumulator, ray: mi.Ray3f, reach: mi.Float, light: tuple, direct: mi.Bool, active: mi.Bool
    ) -> None:
        """Leave power wherever a ray crosses the surface before it meets the next wall."""
        source, departure, field, solid_angle, length, cell = light
        way = mi.Float(0)
        for _ in range(self.crossings):
            where = self.surface_scene.ray_intersect(ray, active=active)
            way += where.t
            here = active & where.is_valid() & (way < reach)
            slant = dr.abs(dr.dot(where.n, ray.d))
            straight = dr.norm(where.p - source)
            density = dr.squared_norm(field) * solid_angle / slant
            sums.add(density, dr.maximum(length + way - straight, 0), -ray.d, departure, where, cell, here)
            sums.add_sight(solid_angle * dr.square(straight) / slant * dr.abs(where.n.z), where, cell, here & direct)
            ray = where.spawn_ray(ray.d)


def surface_of(sim: "Sionna", grid: Grid) -> tuple[mi.Mesh, Float[Tensor, "row column"]]:
    """The measurement mesh, and the elevation of each pixel's centre in metres. Flat ground takes two triangles."""
    axis = torch.linspace(-grid.size / 2, grid.size / 2, grid.count + 1)
    corner = sim.at_height(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1))
    z = corner[..., 2]
    elevation = (z[:-1, :-1] + z[1:, 1:]) / 2
    if float(z.max() - z.min()) == 0:
        corner = corner[:: grid.count, :: grid.count]
    index = torch.arange(corner[..., 0].numel()).reshape(corner.shape[:2])
    a, b, c, d = (v.reshape(-1) for v in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)], 1)
    mesh = mi.Mesh("measurement-surface", corner[..., 0].numel(), faces.numel() // 3)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = corner.reshape(-1).numpy()
    parameters["faces"] = faces.reshape(-1).numpy().astype(np.uint32)
    parameters.update()
    return mesh, elevation
