"""Radio maps that follow the ground: gain, delays and directions in one pass over rays, with their Monte-Carlo error.

Rays leave every cell on a shifted lattice, meet walls, go on as the materials draw, and leave their power wherever they
cross the measurement surface, at UE height above the ground. Rays that left the scene are dropped between bounces, and
a crossing does not end a ray, so that one intersection a segment is enough (stock Sionna takes two, and returns the
gain alone).

Where an antenna stands at the height of the surface, rays graze it and hardly ever cross. There the direct path comes
from its closed form (Friis) at the pixel's centre, and what walls reflect along the surface is counted in the metre
above and below it, at random points of each segment (track-length estimator), instead of at crossings.
"""

from functools import cached_property, partial

import drjit as dr
import mitsuba as mi
import torch
from jaxtyping import Float, Float64
from rich.progress import Progress
from torch import Tensor

from sim_bridge.backend import map_fields, sionna_internals
from sim_bridge.chains.ray_launching import sphere_lattice
from sim_bridge.radio_maps.accumulator import MapAccumulator
from sim_bridge.radio_maps.diffraction import CellEdges, add_diffraction
from sim_bridge.radio_maps.shadow_boundaries import direct_factors
from sim_bridge.scene.cell_antennas import path_gains
from sim_bridge.scene.measurement_surface import measurement_surface
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.sites import cell_positions

GRAZING_HEIGHT = 1.0  # m between an antenna and the surface, below which hardly any direct ray meets the surface
GRAZING_SLOPE = 0.1  # of reflected rays that are counted around the surface there
POINTS_PER_SEGMENT = 4  # of such a ray
CELLS_PER_LAUNCH = 24  # whose rays are shot at once: some 100 bytes a ray
MIN_BATCHES = 4  # before their scatter is taken for the map's error
RayBatch = dict[str, Tensor]


def radio_map(scene: RadioScene, grid: Grid) -> RadioMap:
    """Shoot `map_rays` rays per cell in independent batches; their mean is the map, their scatter its error.

    Stops early once the median relative error is below `map_target`. A pixel that no ray met stays unknown: it is not
    filled. Raises `UelError` where phones have other antennas than isotropic ones of both polarizations.
    """
    tracing, batches = scene.tracing, list[RayBatch]()
    if (tracing.ue_pattern, tracing.ue_polarization) != ("iso", "VH"):
        raise UelError(
            "a radio map is what a phone receives of all directions and polarizations",
            got=f"ue_pattern {tracing.ue_pattern}, ue_polarization {tracing.ue_polarization}",
            do="make the map with iso and VH, and use the phone's antenna with path_gain and trace",
        )
    solver = RadioMapSolver(scene, grid)
    with Progress(transient=True) as progress:
        task = progress.add_task("radio map: batches of rays", total=tracing.map_batches)
        while len(batches) < tracing.map_batches and not _good_enough(batches, tracing.map_target):
            batches.append(solver.batch(max(tracing.map_rays // tracing.map_batches, 1), len(batches)))
            progress.advance(task)
    return _map_of(scene, grid, batches, solver)


def _good_enough(batches: list[RayBatch], target: float) -> bool:
    if len(batches) < MIN_BATCHES or target <= 0:
        return False
    gain, error = _gain(batches)
    return float((error / gain)[gain > 0].median()) <= target


def _gain(batches: list[RayBatch]) -> tuple[Tensor, Tensor]:
    """Mean gain of the batches and its standard error."""
    gain = torch.stack([batch["gain"] for batch in batches])
    return gain.mean(0), gain.std(0) / len(batches) ** 0.5


def _map_of(scene: RadioScene, grid: Grid, batches: list[RayBatch], solver: "RadioMapSolver") -> RadioMap:
    gain, error = _gain(batches)
    known = gain.float() > 0  # in the precision of the map: a gain that vanishes in it is none
    return RadioMap(
        grid=grid,
        sites=scene.sites,
        gain=gain.float(),
        relative_error=torch.where(known, error / gain.clamp(min=1e-300), 0.0).float(),
        known=known,
        los=solver.los.reshape(-1, *grid.shape),
        elevation=solver.elevation,
        channels=_channels(scene, grid, batches, solver.points),
        made_on=scene.tile.reference if scene.tile else None,
    )


def _channels(
    scene: RadioScene, grid: Grid, batches: list[RayBatch], points: Float[Tensor, "pixel 3"]
) -> PropagationChannels:
    """First arrival, delay spread and mean directions, weighted by power; 0 where nothing is known."""
    total = {name: torch.stack([batch[name] for batch in batches]).sum(0) for name in batches[0]}
    power = total["gain"]

    def mean(name):
        return torch.where(power > 0, total[name] / power.clamp(min=1e-300), 0.0)

    def along(end):
        return torch.stack([mean(f"{end}_{axis}") for axis in "xyz"], 1).float()

    excess = torch.stack([batch["first"] for batch in batches]).amin(0)
    direct = (points - cell_positions(scene.sites)[:, None]).norm(dim=-1).view(-1, *grid.shape)
    std = (mean("square") - mean("excess").square()).clamp(min=0).sqrt()
    return PropagationChannels(
        first_arrival=torch.where(power > 0, (direct + excess) / SPEED_OF_LIGHT, 0.0).float(),
        delay_spread=(std / SPEED_OF_LIGHT).float(),
        arrival=along("arrival"),
        departure=along("departure"),
        sight=(total["area"] / len(batches) / grid.pixel**2).clamp(max=1).float(),
    )


class RadioMapSolver:
    """Rays over one scene and one grid."""

    def __init__(self, scene: RadioScene, grid: Grid) -> None:
        self.scene, self.grid = scene, grid
        self.surface_scene, self.elevation = measurement_surface(scene, grid)
        # A ray may cross a hill's surface twice between two walls.
        self.crossings = 1 if float(self.elevation.max() - self.elevation.min()) == 0 else 2
        points = torch.cat([grid.centres(), self.elevation[..., None]], -1).reshape(-1, 3)
        self.points, self.los = points, scene.line_of_sight(points).T

    @cached_property
    def edges(self) -> CellEdges:
        """The edges that the cells see."""
        return CellEdges.of_scene(self.scene)

    @cached_property
    def direct_factors(self) -> Float64[Tensor, "cell row column"]:
        """Factors of the direct power, which edges take a part of near the boundaries of their shadows."""
        shape = (self.scene.cell_count, *self.grid.shape)
        if not self.diffracts:
            return torch.ones(shape, dtype=torch.float64, device="cpu")
        return torch.from_numpy(direct_factors(self.scene, self.grid, self.points.double().numpy(), self.edges))

    @property
    def diffracts(self) -> bool:
        return self.scene.tracing.diffraction and self.scene.tracing.max_depth > 0

    def batch(self, rays: int, number: int) -> RayBatch:
        """One independent batch of rays from every cell."""
        tracing, cells = self.scene.tracing, self.scene.cell_count
        seed = tracing.seed * 1000 + number
        sums = MapAccumulator(self.grid, cells, self.scene.wavelength)
        launches = [range(first, min(first + CELLS_PER_LAUNCH, cells)) for first in range(0, cells, CELLS_PER_LAUNCH)]
        with dr.scoped_set_flag(dr.JitFlag.OptimizeLoops, False):  # the loop is traced once, not twice
            for launch in launches:
                self._shoot(sums, launch, rays, seed)
        if self.diffracts:
            for launch in launches:
                source, orientation, cell, _ = self._rays_of_cells(launch, rays)
                radiate = partial(self._radiate, launch, orientation)
                add_diffraction(
                    self.scene.rt_scene, self.surface_scene, sums, self.edges, source, radiate, cell, rays, seed
                )
        return self._with_grazing_paths(sums.to_torch())

    def _with_grazing_paths(self, batch: RayBatch) -> RayBatch:
        """Add the direct paths to pixels in sight of an antenna at nearly their own height."""
        positions = cell_positions(self.scene.sites)
        for cell, position in enumerate(positions):
            grazing = self.los[cell] & ((self.points[:, 2] - position[2]).abs() < GRAZING_HEIGHT)
            if not bool(grazing.any()):
                continue
            offset = (self.points[grazing] - position).double()
            distance = offset.norm(dim=-1)
            departure = offset / distance.clamp(min=1e-9)[:, None]
            direction = mi.Vector3f(*(mi.Float(axis.float().contiguous().numpy()) for axis in departure.T))
            _, orientation, _, _ = self._rays_of_cells(range(cell, cell + 1), len(offset))
            field = self._radiate(range(cell, cell + 1), orientation, direction)
            power = torch.from_numpy(dr.squared_norm(field).numpy()).double()
            # In the mast's own pixel a phone is half a pixel away, more or less.
            wavelengths = 4 * torch.pi * distance.clamp(min=self.grid.pixel / 2) / self.scene.wavelength
            gain = power / wavelengths.square() * self.direct_factors[cell].flatten()[grazing]
            ends = {"arrival": -departure, "departure": departure}
            values = {f"{end}_{axis}": gain * d[:, k] for end, d in ends.items() for k, axis in enumerate("xyz")}
            values |= {"gain": gain, "area": torch.full_like(gain, self.grid.pixel**2)}
            for name, value in values.items():
                batch[name][cell].view(-1)[grazing] += value
            batch["first"][cell].view(-1)[grazing] = 0.0
        return batch

    def _shoot(self, sums: MapAccumulator, launch: range, rays: int, seed: int) -> None:
        """Follow rays of some cells from wall to wall, and count their power wherever they cross the surface."""
        scene, scattering = self.scene.rt_scene.mi_scene, self.scene.tracing.scattering > 0
        source, orientation, cell, max_depth = self._rays_of_cells(launch, rays)
        width = dr.width(cell)
        departure = dr.tile(sphere_lattice(rays, seed), width // rays)
        field = self._radiate(launch, orientation, departure)
        factors = mi.Float(self.direct_factors.flatten().float().numpy()) if self.diffracts else None
        grazing = self._grazes(launch)

        # Not by `dr.syntax`, which cannot read functions that are type-checked (as ours are in tests).
        def step(active, depth, origin, direction, field, solid_angle, length, random):
            ray = mi.Ray3f(o=origin, d=direction, time=0.0, wavelengths=mi.Color0f())
            hit = scene.ray_intersect(ray, active=active)
            to_wall = dr.select(hit.is_valid(), hit.t, dr.inf)
            state = (source, departure, field, solid_angle, length, cell, factors)
            if grazing:
                samples = [(k + random.next_float32()) / POINTS_PER_SEGMENT for k in range(POINTS_PER_SEGMENT)]
                self._count_around_surface(sums, ray, to_wall, state, samples, active & (depth > 0))
            self._count_crossings(sums, ray, to_wall, state, depth == 0, active)
            active &= hit.is_valid() & (depth < max_depth)
            length = length + dr.select(active, hit.t, 0)
            out, bounced, kind = map_fields.bounce(hit, direction, field, solid_angle, random, scattering, active)
            active &= kind != sionna_internals.NONE
            field = dr.select(active, bounced, field)
            solid_angle = dr.select(kind == sionna_internals.DIFFUSE_REFLECTION, dr.two_pi, solid_angle)
            onward = hit.spawn_ray(out)
            return active, depth + 1, mi.Point3f(onward.o), mi.Vector3f(onward.d), field, solid_angle, length, random

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

    def _radiate(self, launch: range, orientation: mi.Point3f, direction: mi.Vector3f) -> mi.Vector4f:
        """Field of every ray's cell in a direction of the world."""
        field = map_fields.radiate(self.scene.rt_scene, orientation, direction)
        if not self.scene.has_own_gains:
            return field
        endpoints = self.scene.endpoints_of(torch.zeros(1, 3, device="cpu"), {})
        rays = torch.stack([torch.from_numpy(dr.detach(axis).numpy()) for axis in direction], -1)
        cell = torch.arange(launch.start, launch.stop, device="cpu").repeat_interleave(len(rays) // len(launch))
        gain = path_gains(self.scene.sites, endpoints.source_orientation, cell, rays)
        return field * mi.Float(gain.sqrt().float().numpy())

    def _rays_of_cells(self, launch: range, rays: int) -> tuple[mi.Point3f, mi.Point3f, mi.UInt, mi.UInt]:
        """Position, orientation and number of every ray's cell, and the greatest number of bounces."""
        endpoints = self.scene.endpoints_of(torch.zeros(1, 3, device="cpu"), {})
        cell = dr.repeat(dr.arange(mi.UInt, launch.start, launch.stop), rays)
        source, orientation = (
            dr.gather(mi.Point3f, mi.Point3f(*(mi.Float(c.numpy()) for c in v.T.contiguous())), cell)
            for v in (endpoints.source, endpoints.source_orientation)
        )
        return source, orientation, cell, dr.opaque(mi.UInt, self.scene.tracing.max_depth)

    def _count_crossings(
        self, sums: MapAccumulator, ray: mi.Ray3f, to_wall: mi.Float, state: tuple, direct: mi.Bool, active: mi.Bool
    ) -> None:
        """Add power wherever a ray crosses the surface before it meets the next wall."""
        source, departure, field, solid_angle, length, cell, factors = state
        distance = mi.Float(0)
        for _ in range(self.crossings):
            where = self.surface_scene.ray_intersect(ray, active=active)
            distance += where.t
            crossed = active & where.is_valid() & (distance < to_wall)
            slant = dr.abs(dr.dot(where.n, ray.d))
            straight = dr.norm(where.p - source)
            density = dr.squared_norm(field) * solid_angle / slant
            if factors is not None:
                density *= dr.select(direct, sums.value_at(factors, where, cell, crossed & direct), 1.0)
            grazing = dr.abs(where.p.z - source.z) < GRAZING_HEIGHT
            crossed &= ~(grazing & (direct | (dr.abs(ray.d.z) < GRAZING_SLOPE)))
            sums.add(density, dr.maximum(length + distance - straight, 0), -ray.d, departure, where, cell, crossed)
            area = solid_angle * dr.square(straight) / slant * dr.abs(where.n.z)
            sums.add_direct_area(area, where, cell, crossed & direct)
            ray = where.spawn_ray(ray.d)

    def _grazes(self, launch: range) -> bool:
        """Whether the surface is somewhere at the height of one of the antennas."""
        height = cell_positions(self.scene.sites)[launch.start : launch.stop, 2]
        return bool(((self.points[:, 2, None] - height).abs() < GRAZING_HEIGHT).any())

    def _count_around_surface(
        self, sums: MapAccumulator, ray: mi.Ray3f, to_wall: mi.Float, state: tuple, samples: list[mi.Float],
        active: mi.Bool,
    ) -> None:  # fmt: skip
        """Add the power of rays along the surface, where it is at the height of their antenna: a ray brings its power
        times its length in a volume, over the volume; `samples` are fractions of the segment."""
        source, departure, field, solid_angle, length, cell, _ = state
        elevation, reach = mi.Float(self.elevation.flatten().numpy()), dr.minimum(to_wall, 2 * self.grid.size)
        density = dr.squared_norm(field) * solid_angle * reach / (2 * GRAZING_HEIGHT * len(samples))
        flat = active & (dr.abs(ray.d.z) < GRAZING_SLOPE)
        for sample in samples:
            where = dr.zeros(mi.SurfaceInteraction3f, dr.width(cell))
            where.p, where.n = ray.o + sample * reach * ray.d, mi.Normal3f(0, 0, 1)
            surface = sums.value_at(elevation, where, mi.UInt(0), flat)
            near = flat & (dr.abs(where.p.z - surface) < GRAZING_HEIGHT)
            near &= dr.abs(surface - source.z) < GRAZING_HEIGHT
            excess = dr.maximum(length + sample * reach - dr.norm(where.p - source), 0)
            sums.add(density, excess, -ray.d, departure, where, cell, near)
