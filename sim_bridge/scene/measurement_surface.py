"""The surface at UE height on which rays are counted."""

import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.scene.radio_scene import RadioScene
from uel.core.grid import Grid


def measurement_surface(scene: RadioScene, grid: Grid) -> tuple[mi.Scene, Float[Tensor, "row column"]]:
    """A Mitsuba scene of the measurement mesh alone, and the elevation of each pixel's centre in metres.

    Flat ground takes two triangles. Rays of one kernel may be traced in it and in `scene`: OptiX traces one pipeline
    and one shader binding table a kernel and disables all others with a warning, and Mitsuba lets a scene share those
    of another one that it is given when it is made (`OptixAccel::init`). A ray never meets what stands in the other.
    """
    axis = torch.linspace(-grid.size / 2, grid.size / 2, grid.count + 1, device="cpu")
    corner = scene.at_height(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1))
    z = corner[..., 2]
    elevation = (z[:-1, :-1] + z[1:, 1:]) / 2
    if float(z.max() - z.min()) == 0:
        corner = corner[:: grid.count, :: grid.count]
    index = torch.arange(corner[..., 0].numel(), device="cpu").reshape(corner.shape[:2])
    a, b, c, d = (v.reshape(-1) for v in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)], 1)
    mesh = mi.Mesh("measurement-surface", corner[..., 0].numel(), faces.numel() // 3)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = corner.reshape(-1).numpy()
    parameters["faces"] = faces.reshape(-1).numpy().astype(np.uint32)
    parameters.update()
    return mi.load_dict({"type": "scene", "surface": mesh, "host": scene.rt_scene.mi_scene}), elevation
