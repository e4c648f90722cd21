"""First-order diffraction in radio maps, by sampling edges and Keller's cones.

Stock Sionna loses nearly all of it on meshes (2.2.0 tests the segment from the edge for one metre only, and asks that
the surface be met there: 1.4e-9 instead of 3.3e-7 of power in munich), so its parts are put together anew here.
"""

from collections.abc import Callable

import drjit as dr
import mitsuba as mi
import numpy as np
import sionna.rt as rt
from sionna.rt.utils import WedgeGeometry, sample_keller_cone_with_measure, spawn_ray_to

from sim_bridge.backend import sionna_internals
from sim_bridge.radio_maps.accumulator import MapAccumulator

EDGE_CLEARANCE = 5e-2  # m off the edge, at which its segments are tested, so that its own walls do not block them


def add_diffraction(
    scene: rt.Scene,
    surface: mi.Scene,
    sums: MapAccumulator,
    edges: WedgeGeometry,
    source: mi.Point3f,
    radiate: Callable[[mi.Vector3f], mi.Vector4f],
    cell: mi.UInt,
    seed: int,
) -> None:
    """Add diffracted rays at edges that were found from the cells; `source` and `cell` are those of every ray.

    `radiate` returns the field of every ray's cell in a direction."""
    width = dr.width(cell)
    if not dr.width(edges.length):
        return
    random = mi.PCG32(width, dr.opaque(mi.UInt64, seed + 1))
    drawn = mi.DiscreteDistribution(edges.length / dr.sum(edges.length)).sample(random.next_float32())
    edge = dr.gather(WedgeGeometry, edges, drawn)
    # Sums of points and vectors have the type of whichever came first: each is given its own.
    point = mi.Point3f(edge.o + random.next_float32() * edge.length * edge.e_hat)
    outwards = dr.select(edge.primn == edge.prim0, mi.Vector3f(0), dr.normalize(edge.n0 + edge.nn))
    clear = point + EDGE_CLEARANCE * outwards
    out, measure = sample_keller_cone_with_measure(
        edge.e_hat, edge.n0, edge.nn, random.next_float32(), dr.normalize(point - source), True
    )
    out = mi.Vector3f(out)
    where = surface.ray_intersect(mi.Ray3f(o=point, d=out, time=0.0, wavelengths=mi.Color0f()))
    free = where.is_valid()
    for start, end in ((source, point), (source, clear), (where.p, point), (where.p, clear)):
        free &= ~scene.mi_scene.ray_test(spawn_ray_to(start, end), active=free)
    into = mi.Vector3f(dr.normalize(point - source))
    field = radiate(into)
    field, weight = sionna_internals.diffract(
        edge, drawn, cell, int(np.prod(sums.shape[:1])), point, source, out, field, where, free
    )
    excess = dr.norm(point - source) + dr.norm(where.p - point) - dr.norm(where.p - source)
    density = dr.squared_norm(field) * weight * measure
    sums.add(density, dr.maximum(excess, 0), -out, into, where, cell, free & (density > 0))
