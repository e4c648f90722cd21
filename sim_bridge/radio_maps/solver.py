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
from jaxtyping import Float64
from torch import Tensor

from sim_bridge.backend import map_fields, sionna_internals
from sim_bridge.backend.canopy import lengths_in_canopy
from sim_bridge.backend.memory import memory_budget
from sim_bridge.chains.ray_launching import sphere_lattice
from sim_bridge.radio_maps.accumulator import MapAccumulator
from sim_bridge.radio_maps.diffraction import CellEdges, add_diffraction
from sim_bridge.radio_maps.map_totals import MapTotals, RayBatch
from sim_bridge.radio_maps.ray_launches import RayLaunch, cell_groups, ray_launches
from sim_bridge.radio_maps.shadow_boundaries import direct_factors
from sim_bridge.scene.cell_antennas import path_gains
from sim_bridge.scene.measurement_surface import measurement_surface
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.display.progress import progress_bar
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cell_positions

GRAZING_HEIGHT = 1.0  # m between an antenna and the surface, below which hardly any direct ray meets the surface
GRAZING_SLOPE = 0.1  # of reflected rays that are counted around the surface there
POINTS_PER_SEGMENT = 4  # of such a ray
MIN_BATCHES = 4  # before their scatter is taken for the map's error


def radio_map(scene: RadioScene, grid: Grid) -> RadioMap:
    """Shoot `map_rays` rays per cell in independent batches; their mean is the map, their scatter its error.

    Stops early once the median relative error is below `map_target`. A pixel that no ray met stays unknown: it is not
    filled. Raises `UelError` where phones have other antennas than isotropic ones of both polarizations.
    """
    tracing, totals = scene.tracing, MapTotals()
    if (tracing.ue_pattern, tracing.ue_polarization) != ("iso", "VH"):
        raise UelError(
            "a radio map is what a phone receives of all directions and polarizations",
            got=f"ue_pattern {tracing.ue_pattern}, ue_polarization {tracing.ue_polarization}",
            do="make the map with iso and VH, and use the phone's antenna with path_gain and trace",
        )
    solver = RadioMapSolver(scene, grid)
    with progress_bar(tracing.map_batches, "radio map: batches of rays") as bar:
        while len(totals.gains) < tracing.map_batches and not _good_enough(totals, tracing.map_target):
            totals.add(solver.batch(max(tracing.map_rays // tracing.map_batches, 1), len(totals.gains)))
            bar.update(1)
    return _map_of(scene, grid, totals, solver)


def _good_enough(totals: MapTotals, target: float) -> bool:
    if len(totals.gains) < MIN_BATCHES or target <= 0:
        return False
    gain, error = totals.gain()
    return float((error / gain)[gain > 0].median()) <= target


def _map_of(scene: RadioScene, grid: Grid, totals: MapTotals, solver: "RadioMapSolver") -> RadioMap:
    gain, error = totals.gain()
    known = gain.float() > 0  # in the precision of the map: a gain that vanishes in it is none
    return RadioMap(
        grid=grid,
        sites=scene.sites,
        gain=gain.float(),
        relative_error=torch.where(known, error / gain.clamp(min=1e-300), 0.0).float(),
        known=known,
        los=solver.los.reshape(-1, *grid.shape),
        elevation=solver.elevation,
        channels=totals.channels(scene, grid, solver.points),
        made_on=scene.tile.reference if scene.tile else None,
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
        seed, budget = self.scene.tracing.seed * 1000 + number, memory_budget(self.scene.tracing.memory)
        parts = []
        for cells in cell_groups(self.scene.cell_count, self.grid.count**2, budget):
            sums, launches = MapAccumulator(self.grid, cells, self.scene.wavelength), ray_launches(cells, rays, budget)
            for launch in launches:
                with dr.scoped_set_flag(dr.JitFlag.OptimizeLoops, False):  # the loop is traced once, not twice
                    self._shoot(sums, launch, seed)
                if self.diffracts:
                    source, orientation, _ = self._ends_of_rays(launch.cell)
                    radiate = partial(self._radiate, launch.cells, orientation)
                    add_diffraction(self.scene, self.surface_scene, sums, self.edges, source, radiate, launch, seed)
            parts.append(sums.to_torch())
        return self._with_grazing_paths({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

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
            _, orientation, _ = self._ends_of_rays(dr.full(mi.UInt, cell, len(offset)))
            field = self._radiate(range(cell, cell + 1), orientation, direction)
            power = torch.from_numpy(dr.squared_norm(field).numpy()).double()
            # In the mast's own pixel a phone is half a pixel away, more or less.
            wavelengths = 4 * torch.pi * distance.clamp(min=self.grid.pixel / 2) / self.scene.wavelength
            gain = power / wavelengths.square() * self.direct_factors[cell].flatten()[grazing]
            if (foliage := self.scene.foliage) is not None:
                inside = lengths_in_canopy(foliage.canopy, position.expand(len(offset), 3), self.points[grazing])
                gain = gain * foliage.gain(inside, {})
            ends = {"arrival": -departure, "departure": departure}
            values = {f"{end}_{axis}": gain * d[:, k] for end, d in ends.items() for k, axis in enumerate("xyz")}
            values |= {"gain": gain, "area": torch.full_like(gain, self.grid.pixel**2)}
            for name, value in values.items():
                batch[name][cell].view(-1)[grazing] += value
            batch["first"][cell].view(-1)[grazing] = 0.0
        return batch

    def _shoot(self, sums: MapAccumulator, launch: RayLaunch, seed: int) -> None:
        """Follow rays of some cells from wall to wall, and count their power wherever they cross the surface."""
        scene, scattering = self.scene.rt_scene.mi_scene, self.scene.tracing.scattering > 0
        cell, width = launch.cell, launch.width
        source, orientation, max_depth = self._ends_of_rays(cell)
        departure = dr.gather(mi.Vector3f, sphere_lattice(launch.rays, seed), launch.ray)
        field = self._radiate(launch.cells, orientation, departure)
        factors = self._factors_of(sums.cells)
        grazing = self._grazes(launch.side_by_side)

        # Not by `dr.syntax`, which cannot read functions that are type-checked (as ours are in tests).
        def step(active, depth, origin, direction, field, solid_angle, length, inside, random):
            ray = mi.Ray3f(o=origin, d=direction, time=0.0, wavelengths=mi.Color0f())
            hit = scene.ray_intersect(ray, active=active)
            to_wall = dr.select(hit.is_valid(), hit.t, dr.inf)
            state = (source, departure, field, solid_angle, length, inside, cell, factors)
            if grazing:
                samples = [(k + random.next_float32()) / POINTS_PER_SEGMENT for k in range(POINTS_PER_SEGMENT)]
                self._count_around_surface(sums, ray, to_wall, state, samples, active & (depth > 0))
            behind, inside = self._count_crossings(sums, ray, to_wall, state, depth == 0, active)
            active &= hit.is_valid() & (depth < max_depth)
            inside = self._inside_crowns(inside, behind, hit.p, active)
            length = length + dr.select(active, hit.t, 0)
            out, bounced, kind = map_fields.bounce(hit, direction, field, solid_angle, random, scattering, active)
            active &= kind != sionna_internals.NONE
            field = dr.select(active, bounced, field)
            solid_angle = dr.select(kind == sionna_internals.DIFFUSE_REFLECTION, dr.two_pi, solid_angle)
            onward = hit.spawn_ray(out)
            ahead = (mi.Point3f(onward.o), mi.Vector3f(onward.d))
            return active, depth + 1, *ahead, field, solid_angle, length, inside, random

        start = (
            dr.full(mi.Bool, True, width),
            dr.zeros(mi.UInt, width),
            mi.Point3f(source),
            mi.Vector3f(departure),
            field,
            dr.full(mi.Float, 4 * dr.pi / launch.rays, width),
            dr.zeros(mi.Float, width),
            dr.zeros(mi.Float, width),
            launch.random(seed),
        )
        dr.while_loop(start, lambda active, *_: active, step, mode="symbolic")

    def _inside_crowns(self, inside: mi.Float, start: mi.Point3f, end: mi.Point3f, active: mi.Bool) -> mi.Float:
        """Metres that rays have inside crowns of trees, with those of a line more."""
        foliage = self.scene.foliage
        return inside if foliage is None else inside + foliage.canopy.length(start, end, active)

    def _radiate(self, cells: range, orientation: mi.Point3f, direction: mi.Vector3f) -> mi.Vector4f:
        """Field of every ray's cell in a direction of the world."""
        field = map_fields.radiate(self.scene.rt_scene, orientation, direction)
        if not self.scene.has_own_gains:
            return field
        endpoints = self.scene.endpoints_of(torch.zeros(1, 3, device="cpu"), {})
        rays = torch.stack([torch.from_numpy(dr.detach(axis).numpy()) for axis in direction], -1)
        cell = torch.arange(cells.start, cells.stop, device="cpu").repeat_interleave(len(rays) // len(cells))
        gain = path_gains(self.scene.sites, endpoints.source_orientation, cell, rays)
        return field * mi.Float(gain.sqrt().float().numpy())

    def _factors_of(self, cells: range) -> mi.Float | None:
        """`direct_factors` of some cells in a row; None where nothing diffracts."""
        if not self.diffracts:
            return None
        return mi.Float(self.direct_factors[cells.start : cells.stop].flatten().float().numpy())

    def _ends_of_rays(self, cell: mi.UInt) -> tuple[mi.Point3f, mi.Point3f, mi.UInt]:
        """Position and orientation of every ray's cell, and the greatest number of bounces."""
        endpoints = self.scene.endpoints_of(torch.zeros(1, 3, device="cpu"), {})
        source, orientation = (
            dr.gather(mi.Point3f, mi.Point3f(*(mi.Float(c.numpy()) for c in v.T.contiguous())), cell)
            for v in (endpoints.source, endpoints.source_orientation)
        )
        return source, orientation, dr.opaque(mi.UInt, self.scene.tracing.max_depth)

    def _count_crossings(
        self, sums: MapAccumulator, ray: mi.Ray3f, to_wall: mi.Float, state: tuple, direct: mi.Bool, active: mi.Bool
    ) -> tuple[mi.Point3f, mi.Float]:
        """Add power wherever a ray crosses the surface before it meets the next wall.

        Returns the last crossing (m), or the ray's origin, and the metres that the ray has inside crowns up to it.
        """
        source, departure, field, solid_angle, length, inside, cell, factors = state
        distance, foliage, behind = mi.Float(0), self.scene.foliage, mi.Point3f(ray.o)
        for _ in range(self.crossings):
            where = self.surface_scene.ray_intersect(ray, active=active)
            distance += where.t
            crossed = active & where.is_valid() & (distance < to_wall)
            slant = dr.abs(dr.dot(where.n, ray.d))
            straight = dr.norm(where.p - source)
            density = dr.squared_norm(field) * solid_angle / slant
            if factors is not None:
                density *= dr.select(direct, sums.value_at(factors, where, cell, crossed & direct), 1.0)
            if foliage is not None:
                inside = self._inside_crowns(inside, behind, where.p, crossed)
                behind = dr.select(crossed, where.p, behind)
                density *= foliage.ray_gain(inside)
            grazing = dr.abs(where.p.z - source.z) < GRAZING_HEIGHT
            crossed &= ~(grazing & (direct | (dr.abs(ray.d.z) < GRAZING_SLOPE)))
            sums.add(density, dr.maximum(length + distance - straight, 0), -ray.d, departure, where, cell, crossed)
            area = solid_angle * dr.square(straight) / slant * dr.abs(where.n.z)
            sums.add_direct_area(area, where, cell, crossed & direct)
            ray = where.spawn_ray(ray.d)
        return behind, inside

    def _grazes(self, cells: range) -> bool:
        """Whether the surface is somewhere at the height of one of the antennas."""
        height = cell_positions(self.scene.sites)[cells.start : cells.stop, 2]
        return bool(((self.points[:, 2, None] - height).abs() < GRAZING_HEIGHT).any())

    def _count_around_surface(
        self, sums: MapAccumulator, ray: mi.Ray3f, to_wall: mi.Float, state: tuple, samples: list[mi.Float],
        active: mi.Bool,
    ) -> None:  # fmt: skip
        """Add the power of rays along the surface, where it is at the height of their antenna: a ray brings its power
        times its length in a volume, over the volume; `samples` are fractions of the segment."""
        source, departure, field, solid_angle, length, inside, cell, _ = state
        elevation, reach = mi.Float(self.elevation.flatten().numpy()), dr.minimum(to_wall, 2 * self.grid.size)
        density = dr.squared_norm(field) * solid_angle * reach / (2 * GRAZING_HEIGHT * len(samples))
        flat = active & (dr.abs(ray.d.z) < GRAZING_SLOPE)
        for sample in samples:
            where = dr.zeros(mi.SurfaceInteraction3f, dr.width(cell))
            where.p, where.n = ray.o + sample * reach * ray.d, mi.Normal3f(0, 0, 1)
            surface = sums.value_at(elevation, where, mi.UInt(sums.cells.start), flat)
            near = flat & (dr.abs(where.p.z - surface) < GRAZING_HEIGHT)
            near &= dr.abs(surface - source.z) < GRAZING_HEIGHT
            excess = dr.maximum(length + sample * reach - dr.norm(where.p - source), 0)
            foliage = self.scene.foliage
            kept = 1.0 if foliage is None else foliage.ray_gain(self._inside_crowns(inside, ray.o, where.p, near))
            sums.add(density * kept, excess, -ray.d, departure, where, cell, near)
