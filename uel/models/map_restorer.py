"""Map-restoration network: from a wrong radio map it predicts the true levels with error bars.

Too few rays, and walls and sites somewhat wrong, leave alike errors in the maps of all cities. Much of them can be
predicted from the map itself (a lone bright pixel among dark ones, a hole in a lit street), from the buildings beside
it and from those on the straight line to the antenna (`uel.geo.obstruction`). A network that was trained on right and
wrong maps of some tiles therefore corrects the map of another tile, cell by cell, whatever its sites are. It follows
RadioUNet (Levie, Yapar, Kutyniok and Caire, IEEE Trans. Wireless Commun. 2021), which reads coarse simulations, too; it
is equivariant: a map rotated by 90° or mirrored gives the same restored map, rotated or mirrored.
"""

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.display.short_repr import ShortRepr
from uel.core.io import replace_torch_file
from uel.core.outside.weight_files import read_weights, require_finite_weights
from uel.core.units import from_db
from uel.errors import UelError
from uel.geo.obstruction import obstruction
from uel.geo.tile_maps import HEIGHT_UNIT, TileMaps
from uel.measurement.model import DB_PER_NEPER
from uel.models.config import RESTORER_FILE, RestorerConfig
from uel.models.equivariant_layers import IsotropicConv, u_net_pass, zero_initialised
from uel.models.inputs import BUILDING_CHANNELS, denormalise_level, error_channel, level_channel
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

SCHEMA = "uel-restorer-2"
CELL_CHANNELS = 10
LEVEL_UNIT_DB = 15.0  # of levels in the network's input and output
MAX_STD_DB, MIN_STD_DB = 30.0, 0.3  # of an error bar
UNKNOWN_GAIN_DB = -145.0  # path gain that an unknown pixel is corrected from


@dataclass(frozen=True, eq=False, repr=False)
class RestoredLevels(ShortRepr):
    """Prediction of cells' true maps."""

    mean_db: Float[Tensor, "cell row column"]
    """path gain"""
    std_db: Float[Tensor, "cell row column"]
    """standard deviation of the path gain"""
    los_log_odds: Float[Tensor, "cell row column"]
    """log-odds that there is a line of sight to the antenna"""


class MapRestorer(nn.Module):
    """A U-Net of isotropic convolutions over the channels of one cell (Ronneberger et al., MICCAI 2015)."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        widths = [round(config.width * 1.5**level) for level in range(config.levels)]
        ends = [CELL_CHANNELS + BUILDING_CHANNELS, *widths]
        self.down = nn.ModuleList(_Block(a, b) for a, b in pairwise(ends))
        self.up = nn.ModuleList(_Block(a + b, a) for a, b in reversed(list(pairwise(widths))))
        self.head = zero_initialised(nn.Conv2d(widths[0], 3, 1))

    def forward(self, x: Float[Tensor, "cell channel row column"]) -> RestoredLevels:
        """Predict cells from their `restorer_input`; before training the given maps, with error bars of some 10 dB."""
        correction, raw_std, los_log_odds = self.head(u_net_pass(x, self.down, self.up, F.avg_pool2d)).unbind(1)
        return RestoredLevels(
            given_gain_db(x) + LEVEL_UNIT_DB * correction,
            (LEVEL_UNIT_DB * F.softplus(raw_std)).clamp(MIN_STD_DB, MAX_STD_DB),
            los_log_odds,
        )

    @torch.no_grad()
    def restore(self, maps: TileMaps) -> RadioMap:
        """The radio map with the predicted levels, error bars and line of sight; no pixel is unknown."""
        parts = [self(restorer_input(maps, slice(cell, cell + 1))) for cell in range(len(maps.radio.gain))]
        mean_db, std_db, los_log_odds = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("mean_db", "std_db", "los_log_odds")
        )
        return replace(
            maps.radio,
            gain=from_db(mean_db),
            relative_error=std_db / DB_PER_NEPER,
            known=torch.ones_like(maps.radio.known),
            los=los_log_odds > 0,
            channels=None,
        )

    def save(self, folder: str | Path) -> None:
        """Write `restorer.pt` (weights and configuration) into a folder; the file is whole or the one from before."""
        content = {"schema": SCHEMA, "config": asdict(self.config), "state": self.state_dict()}
        replace_torch_file(Path(folder) / RESTORER_FILE, content)

    @staticmethod
    def load(folder: str | Path) -> "MapRestorer | None":
        """Load a run's network, None where it has none. Raises `UelError` when it is damaged or of another schema."""
        file = Path(folder) / RESTORER_FILE
        if not file.is_file():
            return None
        try:
            content = read_weights(file)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r} instead of {SCHEMA!r}")
            restorer = MapRestorer(RestorerConfig(**content["config"]))
            require_finite_weights(content["state"], file)
            restorer.load_state_dict(content["state"])
        except Exception as error:  # torch raises what its unpickler and zip reader raise
            raise UelError(
                "this map-restoration network cannot be read", got=f"{file}: {error}", do="train again"
            ) from error
        return restorer.eval()


class _Block(nn.Module):
    """Two convolutions, the second with a residual connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = IsotropicConv(inputs, outputs), IsotropicConv(outputs, outputs)

    def forward(self, x: Float[Tensor, "batch inputs row column"]) -> Float[Tensor, "batch outputs row column"]:
        x = F.gelu(self.first(x))
        return F.gelu(x + self.second(x))


def given_gain_db(x: Float[Tensor, "cell channel row column"]) -> Float[Tensor, "cell row column"]:
    """Path gain in dB of the given map, from a `restorer_input`."""
    return torch.where(x[:, 1] > 0, denormalise_level(x[:, 0]), UNKNOWN_GAIN_DB)


def restorer_input(maps: TileMaps, cells: slice = slice(None)) -> Float[Tensor, "cell channel row column"]:
    """Each cell's map, its pose, the obstruction on the line to every pixel, and the buildings."""
    radio, poses = maps.radio, cells_of(maps.radio.sites)[cells]

    def per_cell(values: list[float]) -> Tensor:
        return torch.tensor(values, device="cpu")[:, None, None]

    height = per_cell([site.position[2] for site, _ in poses])
    azimuth = per_cell([cell.azimuth_deg for _, cell in poses])
    has_beam = per_cell([0.0 if cell.omnidirectional else 1.0 for _, cell in poses])
    carrier = per_cell([math.log10(cell.carrier.frequency / 3.5e9) for _, cell in poses])
    distance = (radio.delay[cells] * SPEED_OF_LIGHT).clamp(min=1.0)
    loss, length_inside = torch.stack([obstruction(maps, cell) for cell in range(len(radio.gain))[cells]]).unbind(1)
    channels = [
        level_channel(radio)[cells],
        radio.known[cells].float(),
        error_channel(radio)[cells],
        radio.los[cells].float(),
        distance.log10() - 2.0,
        (height - radio.elevation) / HEIGHT_UNIT,
        has_beam * (radio.azimuth_deg[cells] - azimuth).deg2rad().cos(),
        carrier.expand_as(distance),
        loss / 30.0,
        length_inside.log1p() / 5.0,
    ]
    of_cell = torch.stack(channels, 1)
    return torch.cat([of_cell, maps.buildings.expand(len(of_cell), -1, -1, -1)], 1)
