"""A tile in 3-D: buildings and ground as glTF, one mesh each."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from explorer.map_view.gltf import glb_bytes
from explorer.map_view.ground_image import Legend
from explorer.map_view.tile_meshes import TileMesh
from explorer.style import GREY, MATERIAL_COLOURS, QUANTITY_SCALES, Theme, apply_colour_map
from uel.geo.tile import Tile

BuildingColouring = Literal["plain", "height", "material"]
SHADE_COUNT = 12
HEIGHT_STEPS = 32  # of height
LIGHT_DIRECTION = np.array([-0.45, -0.65, 0.61])  # from the south-west, from where the camera looks
CAMERA_DIRECTION = np.array([-0.26, -0.65, 0.72])  # towards the one that looks obliquely
POLE_SIDE = 1.0  # m, side of a mast
TERRAIN_STEP = 8.0  # m between corners of the ground's triangles


def buildings_glb(
    tile: Tile, mesh: TileMesh, colouring: BuildingColouring, theme: Theme
) -> tuple[bytes, Legend | None]:
    """Buildings as glTF with flat shading (light is part of the colours), and the legend of their colours.

    Faces near a camera in the south come first: the ground shines through translucent buildings, but not every wall
    behind a wall, without a depth pass.
    """
    order = np.argsort(-mesh.corner.mean(1) @ CAMERA_DIRECTION, kind="stable")
    mesh = TileMesh(mesh.corner[order], mesh.material[order], mesh.names)
    base, index, legend = _coloured(tile, mesh, colouring, theme)
    shade = np.clip((_light(mesh.corner) * SHADE_COUNT).astype(int), 0, SHADE_COUNT - 1)
    brightness = np.linspace(0.5, 1.0, SHADE_COUNT)
    texture = np.round(base[:, None] * brightness[None, :, None]).astype(np.uint8)
    uv = np.stack([(shade + 0.5) / SHADE_COUNT, (index + 0.5) / len(base)], -1)
    vertex, face, uv = _shared(mesh.corner, uv)
    return glb_bytes(vertex, uv, face, texture), legend


def _coloured(
    tile: Tile, mesh: TileMesh, colouring: BuildingColouring, theme: Theme
) -> tuple[Float[np.ndarray, "colour 3"], Int[np.ndarray, " face"], Legend | None]:
    """Colours, the index of each face's colour, and the legend."""
    if colouring == "material":
        short = [name.removeprefix("mat-").removeprefix("itu_") for name in mesh.names]
        names = {name: MATERIAL_COLOURS.get(name, GREY) for name in short}
        base = np.array([MATERIAL_COLOURS.get(name, GREY) for name in short] or [GREY], dtype=np.float64)
        return base, mesh.material, Legend(title="materials", names=names)
    height = _above_ground(tile, mesh)
    if colouring == "plain":
        dark, bright = theme.wall
        low_high = np.linspace(0.5 * (dark + bright), bright, HEIGHT_STEPS)[:, None] * np.ones(3)
        return low_high, _step(height, 0.0, 40.0), None
    top = _top(tile)
    scale = QUANTITY_SCALES["height"]
    base = apply_colour_map(np.linspace(0, 1, HEIGHT_STEPS), scale, 0.0, 1.0).astype(np.float64)
    return base, _step(height, 0.0, top), Legend(title="height", unit="m", scale=scale, high=top)


def _top(tile: Tile) -> float:
    """The 98th percentile of building heights above ground, in m."""
    above = (tile.rasters["height"] - tile.rasters["ground"])[tile.rasters["footprint"] > 0.5]
    return max(float(above.quantile(0.98)), 1.0) if len(above) else 1.0


def _above_ground(tile: Tile, mesh: TileMesh) -> Float[np.ndarray, " face"]:
    """Height in m of the top of each face above ground."""
    middle = torch.from_numpy(mesh.corner[:, :, :2].mean(1)).float()
    ground = tile.ground(middle).double().numpy() if len(middle) else np.zeros(0)
    return np.maximum(mesh.corner[:, :, 2].max(1) - ground, 0.0) if len(middle) else ground


def _step(values: Float[np.ndarray, " face"], low: float, high: float) -> Int[np.ndarray, " face"]:
    return np.clip((values - low) / (high - low) * HEIGHT_STEPS, 0, HEIGHT_STEPS - 1).astype(int)


def _light(corner: Float[np.ndarray, "face 3 3"]) -> Float[np.ndarray, " face"]:
    """Brightness of faces, 0 to 1; walls are lit from both sides, because the winding of faces may be either."""
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    roof = np.abs(normal[:, 2])
    side = 0.5 + 0.5 * np.abs(normal[:, :2] @ LIGHT_DIRECTION[:2]) / np.linalg.norm(LIGHT_DIRECTION[:2])
    return roof + (1 - roof) * 0.75 * side


def _shared(
    corner: Float[np.ndarray, "face 3 3"], uv: Float[np.ndarray, "face 2"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices that faces of one colour share, the faces' corners, and the vertices' texture coordinates."""
    if not len(corner):  # glTF needs a face: one triangle under the ground
        return np.full((3, 3), -1e3), np.array([0, 1, 2]), np.full((3, 2), 0.5)
    rows = np.concatenate([corner.reshape(-1, 3), np.repeat(uv, 3, axis=0)], 1).astype(np.float32)
    kept, index = np.unique(rows, axis=0, return_inverse=True)
    return kept[:, :3], index.reshape(-1), kept[:, 3:]


def pole_glb() -> bytes:
    """A vertical pole of 1 m as glTF, to be scaled to the height of a mast."""
    side = 0.5 * POLE_SIDE * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    vertex = np.concatenate([np.column_stack([side, np.full(4, z)]) for z in (0.0, 1.0)])
    face = np.array([[a, b, b + 4, a, b + 4, a + 4] for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))]).reshape(-1)
    return glb_bytes(vertex, np.full((8, 2), 0.5), face, np.array([[GREY]], dtype=np.uint8))


def ground_glb(tile: Tile, picture: UInt8[np.ndarray, "row column channel"]) -> bytes:
    """The terrain as glTF with a picture on it, opaque or with alpha; row 0 of the picture is south."""
    ground = tile.rasters["ground"].numpy()
    flat = float(np.ptp(ground)) < 0.5
    count = 1 if flat else max(2, round(tile.size / TERRAIN_STEP))
    share = np.linspace(0, 1, count + 1)
    v, u = np.meshgrid(share, share, indexing="ij")
    place = np.stack([u, v], -1).reshape(-1, 2)
    xy = (place - 0.5) * tile.size
    z = tile.ground(torch.from_numpy(xy).float()).numpy()
    vertex = np.column_stack([xy, z - 0.2])  # below whatever stands on it
    uv = np.column_stack([place[:, 0], 1 - place[:, 1]])
    return glb_bytes(vertex, uv, _quads(count), np.flipud(picture))


def _quads(count: int) -> Int[np.ndarray, " corner"]:
    """Corner indices of the triangles of a lattice of `count` × `count` squares."""
    first = (np.arange(count)[:, None] * (count + 1) + np.arange(count)).reshape(-1, 1)
    return (first + np.array([0, 1, count + 2, 0, count + 2, count + 1])).reshape(-1)
