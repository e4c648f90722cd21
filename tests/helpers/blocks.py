"""Buildings as tiles have them: walls and roof are two meshes, whatever a neighbour shares with them."""

from itertools import pairwise

import numpy as np

import sim_bridge.simulator as tracer  # first: it finds a usable LLVM before Dr.Jit is imported
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

import mitsuba as mi  # isort: skip
import sionna.rt as rt  # isort: skip

Ring = list[tuple[float, float]]


def rectangle(x: tuple[float, float], y: tuple[float, float]) -> Ring:
    """Corners, counter-clockwise."""
    return [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]


def walls(ring: Ring, top: float, bottom: float = 0.0) -> np.ndarray:
    """Two triangles for each side of a ring, (triangle, 3, 3) in metres."""
    triangles = []
    for (x, y), (u, v) in zip(ring, ring[1:] + ring[:1], strict=True):
        triangles += [[(x, y, bottom), (u, v, bottom), (u, v, top)], [(x, y, bottom), (u, v, top), (x, y, top)]]
    return np.array(triangles, dtype=np.float64)


def roof(ring: Ring, top: float) -> np.ndarray:
    """A fan of triangles over a convex ring."""
    return np.array([[(*ring[0], top), (*a, top), (*b, top)] for a, b in pairwise(ring[1:])])


def block(ring: Ring, top: float) -> np.ndarray:
    """Walls and roof; the foot is open."""
    return np.concatenate([walls(ring, top), roof(ring, top)])


def simulator(
    buildings: list[tuple[Ring, float]], sites: tuple[Site, ...], size: float = 256.0, **tracing: object
) -> tracer.Sionna:
    """Metal buildings (ring, top) on nothing: one mesh for all walls, another for all roofs."""
    parts = {
        "walls": np.concatenate([walls(ring, top) for ring, top in buildings]),
        "roofs": np.concatenate([roof(ring, top) for ring, top in buildings]),
    }
    return of_meshes(parts, "metal", sites, size, **tracing)


def ridges(tops: list[tuple[float, float]], sites: tuple[Site, ...], size: float = 512.0, **tracing: object):
    """Ridges of concrete along y, as sharp as knives: x and height of each, 2 m wide at its foot."""
    slopes = []
    for x, top in tops:
        for side in (-1.0, 1.0):
            low = [(x + side, y, 0.0) for y in (-150.0, 150.0)]
            high = [(x, y, top) for y in (-150.0, 150.0)]
            slopes += [[low[0], low[1], high[1]], [low[0], high[1], high[0]]]
    return of_meshes({"ridges": np.array(slopes)}, "concrete", sites, size, **tracing)


def of_meshes(
    parts: dict[str, np.ndarray], material: str, sites: tuple[Site, ...], size: float, **tracing: object
) -> tracer.Sionna:
    """Triangles of some meshes (triangle, 3, 3), all of one ITU material."""
    scene = rt.load_scene(None)
    slab = rt.ITURadioMaterial(material, material, thickness=0.1)
    objects = [
        rt.SceneObject(mi_mesh=_mesh(name, rows), name=name, radio_material=slab) for name, rows in parts.items()
    ]
    scene.edit(add=objects)
    return tracer.Sionna(scene, sites, TracingConfig(**{"samples": 1000, **tracing}), size=size)


def _mesh(name: str, corner: np.ndarray) -> mi.Mesh:
    points, faces = np.unique(corner.reshape(-1, 3), axis=0, return_inverse=True)
    mesh = mi.Mesh(name, len(points), len(corner))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = points.astype(np.float32).ravel()
    parameters["faces"] = faces.reshape(-1).astype(np.uint32)
    parameters.update()
    return mesh
