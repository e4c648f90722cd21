"""Objects that are moved or that move: shifts of the walls that paths meet, and of their frequencies."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import normalize

from sim_bridge.paths.image_method import EDGE
from sim_bridge.paths.resolved_paths import ResolvedPaths
from sim_bridge.scene import scene_parameters
from sim_bridge.scene.radio_scene import RadioScene

PathLine = tuple[Float64[Tensor, "row 3"], Float64[Tensor, "row depth 3"], Float64[Tensor, "row 3"]]
"""Starts, turning points and ends of paths in metres."""


def moved_objects(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters that say where objects stand."""
    return {name: value for name, value in given.items() if scene_parameters.is_object_position(name)}


def shift_by_objects(
    scene: RadioScene, paths: ResolvedPaths, given: Mapping[str, Tensor]
) -> Float64[Tensor, "row depth 3"]:
    """Distance by which the given objects have moved the walls and edges that the paths meet, m."""
    kind, shape, _ = paths.surfaces
    shift = torch.zeros(*kind.shape, 3, dtype=torch.float64, device=kind.device)
    for name, value in moved_objects(given).items():
        number, original = scene_parameters.object_mesh(scene.rt_scene, name)
        on_object, edge = (shape == number) & (kind > 0), kind == EDGE
        wall_moves, edge_moves = (on_object & ~edge).unsqueeze(-1), (on_object & edge).unsqueeze(-1)
        position = value.double().cpu()
        # Walls are known as the scene was opened, edges as they stood when they were found.
        at_search = paths.object_positions.get(name, original)
        shift = shift + wall_moves * (position - original) + edge_moves * (position - at_search)
    return shift


def shift_by_velocities(
    scene: RadioScene,
    paths: ResolvedPaths,
    given: Mapping[str, Tensor],
    line: PathLine,
) -> Float[Tensor, " row"]:
    """Doppler shift in Hz by the velocities of the objects that the paths meet: v · (k_out − k_in) / λ at each.

    `line` are the paths' starts, turning points and ends in metres."""
    moving = {name: value for name, value in given.items() if name.endswith("/velocity")}
    shift = torch.zeros(paths.count, device="cpu")
    if not moving:
        return shift
    kind, shape, _ = paths.surfaces
    points = torch.cat([line[0][:, None], line[1], line[2][:, None]], 1)
    leg = points[:, 1:] - points[:, :-1]
    # A repeated point behind the last interaction is no leg: what goes out there is the leg to the end.
    real = torch.cat([kind[:, 1:] > 0, torch.zeros_like(kind[:, :1], dtype=torch.bool)], 1)
    out = normalize(torch.where(real[..., None], leg[:, 1:], line[2][:, None] - line[1]), dim=-1)
    turn = (out - normalize(leg[:, :-1], dim=-1)) * (kind > 0)[..., None]
    for name, velocity in moving.items():
        number, _ = scene_parameters.object_mesh(scene.rt_scene, name)
        along = (turn * velocity.double().cpu()).sum(-1) * (shape == number)
        shift = shift + (along.sum(1) / scene.wavelength).float()
    return shift
