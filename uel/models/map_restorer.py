"""A network that has seen how ray tracers' maps are wrong: from one it says what levels truly are, with error bars.

Rays too few, walls and masts somewhat wrong: what that does to a map is alike in all cities, and much of it can be told
from the map itself (a lone bright pixel among dark ones, a hole in a lit street), from the buildings beside it and from
what they leave of the straight line to the mast (`uel.geo.obstruction`). So a network that was shown right and wrong
maps of some places mends the map of another, cell by cell, whatever its sites are. It takes after RadioUNet (Levie,
Yapar, Kutyniok and Caire, IEEE Trans. Wireless Commun. 2021), which reads coarse simulations, too; as all here it knows
no direction: a world turned by 90° or mirrored gives the same map, turned.
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
LEVEL_UNIT_DB = 15.0  # dB, of levels as a network is shown them and answers
MAX_STD_DB, MIN_STD_DB = 30.0, 0.3  # dB, of an error bar
UNKNOWN_GAIN_DB = -145.0  # dB, path gain that a hole in a map is corrected from


@dataclass(frozen=True, eq=False)
class RestoredLevels:
    """What a network says of cells' maps."""

    mean_db: Float[Tensor, "cell row column"]
    """path gain"""
    spread_db: Float[Tensor, "cell row column"]
    """its standard deviation"""
    sight: Float[Tensor, "cell row column"]
    """log-odds that the antenna is in sight"""


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
        """What is believed of cells that are `restorer_input`. Before it is trained it believes their maps, by some
        10 dB."""
        off, wide, sight = self.head(u_net_pass(x, self.down, self.up, F.avg_pool2d)).unbind(1)
        return RestoredLevels(
            given_gain_db(x) + LEVEL_UNIT_DB * off,
            (LEVEL_UNIT_DB * F.softplus(wide)).clamp(MIN_STD_DB, MAX_STD_DB),
            sight,
        )

    @torch.no_grad()
    def restored(self, maps: TileMaps) -> RadioMap:
        """The radio map with levels, error bars and sight as the network believes them; no pixel is unknown."""
        parts = [self(restorer_input(maps, slice(cell, cell + 1))) for cell in range(len(maps.radio.gain))]
        mean, spread, sight = (torch.cat([getattr(p, n) for p in parts]) for n in ("mean_db", "spread_db", "sight"))
        return replace(
            maps.radio,
            gain=from_db(mean),
            relative_error=spread / DB_PER_NEPER,
            known=torch.ones_like(maps.radio.known),
            los=sight > 0,
            channels=None,
        )

    def save(self, folder: str | Path) -> None:
        """Write `restorer.pt` (weights and configuration) into a folder."""
        content = {"schema": SCHEMA, "config": asdict(self.config), "state": self.state_dict()}
        torch.save(content, Path(folder) / RESTORER_FILE)

    @staticmethod
    def load(folder: str | Path) -> "MapRestorer | None":
        """A run's restorer, None where it has none. Raises `UelError` when it is damaged or of another schema."""
        file = Path(folder) / RESTORER_FILE
        if not file.is_file():
            return None
        try:
            content = torch.load(file, weights_only=True)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r} instead of {SCHEMA!r}")
            restorer = MapRestorer(RestorerConfig(**content["config"]))
            restorer.load_state_dict(content["state"])
        except Exception as error:  # torch raises what its unpickler and zip reader raise
            raise UelError("this restorer cannot be read", got=f"{file}: {error}", do="train again") from error
        return restorer.eval()


class _Block(nn.Module):
    """Two convolutions, the second beside what it is given."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = IsotropicConv(inputs, outputs), IsotropicConv(outputs, outputs)

    def forward(self, x: Float[Tensor, "batch inputs row column"]) -> Float[Tensor, "batch outputs row column"]:
        x = F.gelu(self.first(x))
        return F.gelu(x + self.second(x))


def given_gain_db(x: Float[Tensor, "cell channel row column"]) -> Float[Tensor, "cell row column"]:
    """dB, path gain of cells as their maps are `restorer_input`."""
    return torch.where(x[:, 1] > 0, denormalise_level(x[:, 0]), UNKNOWN_GAIN_DB)


def restorer_input(maps: TileMaps, cells: slice = slice(None)) -> Float[Tensor, "cell channel row column"]:
    """Each cell's map, its pose and what stands before it seen from every pixel, and the buildings."""
    radio, poses = maps.radio, cells_of(maps.radio.sites)[cells]
    of_cell = lambda values: torch.tensor(values)[:, None, None]  # noqa: E731
    height = of_cell([site.position[2] for site, _ in poses])
    azimuth = of_cell([cell.azimuth_deg for _, cell in poses])
    beams = of_cell([0.0 if cell.omnidirectional else 1.0 for _, cell in poses])
    carrier = of_cell([math.log10(cell.carrier.frequency / 3.5e9) for _, cell in poses])
    far = (radio.delay[cells] * SPEED_OF_LIGHT).clamp(min=1.0)
    loss, inside = torch.stack([obstruction(maps, cell) for cell in range(len(radio.gain))[cells]]).unbind(1)
    channels = [
        level_channel(radio)[cells],
        radio.known[cells].float(),
        error_channel(radio)[cells],
        radio.los[cells].float(),
        far.log10() - 2.0,
        (height - radio.elevation) / HEIGHT_UNIT,
        beams * (radio.azimuth_deg[cells] - azimuth).deg2rad().cos(),
        carrier.expand_as(far),
        loss / 30.0,
        inside.log1p() / 5.0,
    ]
    own = torch.stack(channels, 1)
    return torch.cat([own, maps.buildings.expand(len(own), -1, -1, -1)], 1)
