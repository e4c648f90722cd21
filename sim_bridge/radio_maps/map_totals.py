"""What the batches of a radio map add up to: its gain, the scatter of that between batches, and its other channels."""

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.scene.radio_scene import RadioScene
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.radio.radio_map import PropagationChannels
from uel.radio.sites import cell_positions

RayBatch = dict[str, Tensor]
"""Sums over the rays of a batch (`MapAccumulator.to_torch`), `cell row column`"""


class MapTotals:
    """Sums over batches; of each batch its gain alone is kept."""

    def __init__(self) -> None:
        self.gains: list[Tensor] = []
        self.sums: RayBatch = {}

    def add(self, batch: RayBatch) -> None:
        """Add a batch."""
        self.gains.append(batch["gain"])
        for name, values in batch.items():
            if name not in self.sums:
                self.sums[name] = values.clone()
            elif name == "first":
                torch.minimum(self.sums[name], values, out=self.sums[name])
            else:
                self.sums[name] += values

    def gain(self) -> tuple[Tensor, Tensor]:
        """Mean gain of the batches and its standard error."""
        gain = torch.stack(self.gains)
        return gain.mean(0), gain.std(0) / len(self.gains) ** 0.5

    def channels(self, scene: RadioScene, grid: Grid, points: Float[Tensor, "pixel 3"]) -> PropagationChannels:
        """First arrival, delay spread and mean directions, weighted by power; 0 where nothing is known.

        `points` are the pixels' centres in metres.
        """
        total, power = self.sums, self.sums["gain"]

        def mean(name):
            return torch.where(power > 0, total[name] / power.clamp(min=1e-300), 0.0)

        def along(end):
            return torch.stack([mean(f"{end}_{axis}") for axis in "xyz"], 1).float()

        direct = (points - cell_positions(scene.sites)[:, None]).norm(dim=-1).view(-1, *grid.shape)
        std = (mean("square") - mean("excess").square()).clamp(min=0).sqrt()
        return PropagationChannels(
            first_arrival=torch.where(power > 0, (direct + total["first"]) / SPEED_OF_LIGHT, 0.0).float(),
            delay_spread=(std / SPEED_OF_LIGHT).float(),
            arrival=along("arrival"),
            departure=along("departure"),
            sight=(total["area"] / len(self.gains) / grid.pixel**2).clamp(max=1).float(),
        )
