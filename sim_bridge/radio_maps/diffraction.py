"""First-order diffraction in radio maps, by sampling edges and Keller's cones.

Stock Sionna loses nearly all of it on meshes (2.2.0 tests the segment from the edge for one metre only, and asks that
the surface be met there: 1.4e-9 instead of 3.3e-7 of power in munich), and finds edges by rays, within single meshes.
So its parts are put together anew here: every cell samples the edges of the whole scene (`DiffractionEdges`) that it
sees, by their lengths.

Near the boundary of an antenna's shadow the wave from the edge continues the direct one (`paths.edges.coherence`): what
it takes from direct rays is in their `shadow_boundaries`, and it is left out here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

import drjit as dr
import mitsuba as mi
import numpy as np
from sionna.rt.utils import sample_keller_cone_with_measure, spawn_ray_to

from sim_bridge.backend import map_fields
from sim_bridge.backend.path_fields import PathWedges
from sim_bridge.backend.utd import FaceMaterials, material_numbers
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.wedges import (
    COHERENCE_LENGTH,
    EDGE_CLEARANCE,
    NO_COHERENCE,
    edges_in_sight,
    facing,
    sionna_wedges,
)
from sim_bridge.radio_maps.accumulator import MapAccumulator
from sim_bridge.radio_maps.ray_launches import RayLaunch
from sim_bridge.scene.radio_scene import RadioScene
from uel.radio.sites import cell_positions


@dataclass(frozen=True, eq=False)
class CellEdges:
    """The edges that each cell sees: those of the first cell, then those of the second, …"""

    edges: DiffractionEdges
    wedges: PathWedges
    bounds: np.ndarray
    """(edge + 1,) m of edge before each of them"""
    first: np.ndarray
    """(cell + 1,) first edge of each cell"""

    @staticmethod
    def of_scene(scene: RadioScene) -> "CellEdges":
        """Test which edges of a scene its cells see."""
        seen = []
        for position in cell_positions(scene.sites).double().numpy():
            index = edges_in_sight(scene.rt_scene.mi_scene, scene.edges, position)
            seen.append(facing(scene.edges.select(index), position)[0])
        edges = DiffractionEdges.concatenate(seen)
        bounds = np.concatenate([[0.0], np.cumsum(edges.length)])
        first = np.cumsum([0, *(len(part) for part in seen)])
        numbers = material_numbers(scene.rt_scene, scene.facets.shape[edges.triangle])
        wedges = PathWedges.of_faces(sionna_wedges(edges, scene.facets), *numbers.T)
        return CellEdges(edges, wedges, bounds, first)

    def of_cell(self, cell: int) -> DiffractionEdges:
        """The edges that a cell sees, the first face turned to it."""
        return self.edges.select(np.arange(self.first[cell], self.first[cell + 1]))

    def draw(self, cell: mi.UInt, sample: mi.Float64) -> tuple[mi.UInt, mi.Float, mi.Float, mi.Bool]:
        """By numbers from 0 to 1, one a ray of some `cell`: an edge, a point on it as a fraction of its length, the
        metres of edge that the cell sees, and whether it sees any."""
        bounds, first = mi.Float64(self.bounds), mi.UInt(self.first.astype(np.uint32))
        begin, end = dr.gather(mi.UInt, first, cell), dr.gather(mi.UInt, first, cell + 1)
        low, metres = dr.gather(mi.Float64, bounds, begin), dr.gather(mi.Float64, bounds, end)
        metres -= low
        at, last = low + sample * metres, len(self.bounds) - 2
        edge = dr.binary_search(0, last + 1, lambda index: dr.gather(mi.Float64, bounds, index) <= at) - 1
        edge = dr.minimum(dr.clip(edge, begin, dr.maximum(end, begin + 1) - 1), last)
        start = dr.gather(mi.Float64, bounds, edge)
        fraction = dr.clip((at - start) / (dr.gather(mi.Float64, bounds, edge + 1) - start), 0.0, 1.0)
        return edge, mi.Float(fraction), mi.Float(metres), metres > 0


def add_diffraction(
    scene: RadioScene,
    surface: mi.Scene,
    sums: MapAccumulator,
    edges: CellEdges,
    source: mi.Point3f,
    radiate: Callable[[mi.Vector3f], mi.Vector4f],
    launch: RayLaunch,
    seed: int,
) -> None:
    """Add diffracted rays at edges that the cells see; `source` is that of every ray.

    `radiate` returns the field of every ray's cell in a direction."""
    if len(edges.bounds) == 1:
        return
    rt_scene, cell, rays = scene.rt_scene, launch.cell, launch.rays
    random = launch.random(seed + 1)
    # One point in each of as many equal stretches of edge as there are rays: where threads end first does not matter.
    stretch = (mi.Float64(launch.ray) + mi.Float64(random.next_float32())) / rays
    drawn, fraction, metres, free = edges.draw(cell, stretch)
    wedges = edges.wedges.gather(drawn)
    edge = wedges.geometry
    # Sums of points and vectors have the type of whichever came first: each is given its own.
    point = mi.Point3f(edge.o + fraction * edge.length * edge.e_hat)
    clear = point + EDGE_CLEARANCE * dr.normalize(edge.n0 + edge.nn)
    into = mi.Vector3f(dr.normalize(point - source))
    out, measure = sample_keller_cone_with_measure(edge.e_hat, edge.n0, edge.nn, random.next_float32(), into, True)
    out = mi.Vector3f(out)
    where = surface.ray_intersect(mi.Ray3f(o=point, d=out, time=0.0, wavelengths=mi.Color0f()))
    free &= where.is_valid()
    for start, end in ((source, point), (source, clear), (where.p, point), (where.p, clear)):
        free &= ~rt_scene.mi_scene.ray_test(spawn_ray_to(start, end), active=free)
    wavelength, materials = mi.Float(rt_scene.wavelength), FaceMaterials.of_scene(rt_scene)
    field, weight = map_fields.diffract(wedges, materials, wavelength, point, source, out, radiate(into), where)
    excess = dr.maximum(dr.norm(point - source) + dr.norm(where.p - point) - dr.norm(where.p - source), 0)
    coherent = dr.exp(-dr.square(excess / (COHERENCE_LENGTH * wavelength)))
    near = free & (excess < NO_COHERENCE * wavelength)
    lit = near & ~rt_scene.mi_scene.ray_test(spawn_ray_to(source, where.p), active=near)
    density = dr.squared_norm(field) * weight * measure * metres / rays * dr.select(lit, 1 - coherent, 1)
    if scene.foliage is not None:
        inside = (scene.foliage.canopy.length(*ends, free) for ends in ((source, point), (point, where.p)))
        density *= scene.foliage.ray_gain(reduce(add, inside))
    sums.add(density, excess, -out, into, where, cell, free & (density > 0))
