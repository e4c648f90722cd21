"""Radio maps of networks on several carriers: one map a carrier, the cells in the order of the network."""

from dataclasses import fields, replace

import torch
from torch import Tensor

from sim_bridge.backend.torch_drjit import LOCK
from sim_bridge.radio_maps.solver import radio_map
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.grid import Grid
from uel.radio.radio_map import PropagationChannels, RadioMap


def radio_map_of_carriers(scene: RadioScene, grid: Grid) -> RadioMap:
    """See `sim_bridge.radio_maps.solver.radio_map`. Rays of each carrier meet the materials at its frequency."""
    if len(scene.carriers) == 1:
        return radio_map(scene, grid)
    maps = []
    for _, part in scene.carriers:
        with LOCK, part.on_its_carrier():
            maps.append(radio_map(part, grid))
    order = torch.cat([cells for cells, _ in scene.carriers]).argsort()

    def joined(values: list[Tensor]) -> Tensor:
        return torch.cat(values)[order]

    channels = [radio.channels for radio in maps if radio.channels is not None]
    names = ("gain", "relative_error", "known", "los")
    return replace(
        maps[0],
        sites=scene.sites,
        **{name: joined([getattr(radio, name) for radio in maps]) for name in names},
        channels=PropagationChannels(
            **{f.name: joined([getattr(part, f.name) for part in channels]) for f in fields(PropagationChannels)}
        ),
    )
