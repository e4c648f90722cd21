"""Layers of a radio map that can be shown, of one cell or of the strongest cell of each pixel."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db
from uel.errors import UelError
from uel.measurement.model import DB_PER_NEPER
from uel.measurement.parameters import ObservationParameters
from uel.radio.radio_map import RadioMap
from uel.radio.sinr import MIN_REPORTED_SINR_DB, sinr, weakest_level_dbm

ServiceRasters = dict[str, Tensor]


@dataclass(frozen=True)
class RadioLayer:
    """One quantity; `of` returns it for all cells and pixels, or None where the map lacks it."""

    title: str
    unit: str
    scale: str
    """colour map; no two quantities share one"""
    of: Callable[[RadioMap, ServiceRasters], Tensor | None]
    least: Callable[[RadioMap], float] = lambda _: -math.inf
    """lower end of the colours: smaller values say no more to a phone"""


def reported_level_dbm(radio: RadioMap) -> float:
    """RSRP in dBm of the weakest cell that a phone detects in thermal noise and that its sensitivity lets it report."""
    return max(weakest_level_dbm(radio.sites), ObservationParameters().sensitivity_dbm)


def is_covered(radio: RadioMap) -> Bool[Tensor, "row column"]:
    """Where a phone reports a cell."""
    return (radio.known & (radio.rsrp_dbm >= reported_level_dbm(radio))).any(0)


def monte_carlo_error_db(radio: RadioMap) -> Float[Tensor, "cell row column"]:
    """Standard error of the gain in dB: half of the interval from one standard error below the gain to one above it.

    Infinite where a single batch of rays met the pixel: its gain has no known error.
    """
    relative = torch.where(radio.known, radio.relative_error, 0.0).clamp(max=1.0)
    return DB_PER_NEPER * torch.atanh(relative)


def _throughput(_: RadioMap, service: ServiceRasters) -> Tensor | None:
    return service["throughput"] / 1e6 if "throughput" in service else None


def _spread(radio: RadioMap, _: ServiceRasters) -> Tensor | None:
    return radio.channels.delay_spread * 1e9 if radio.channels else None


RADIO_LAYERS: dict[str, RadioLayer] = {
    "rsrp": RadioLayer(
        "RSRP", "dBm", "viridis", lambda radio, _: radio.rsrp_dbm, lambda radio: weakest_level_dbm(radio.sites)
    ),
    "gain": RadioLayer("path gain", "dB", "GnBu", lambda radio, _: radio.level_db),
    "error": RadioLayer("Monte-Carlo error", "dB", "magma", lambda radio, _: monte_carlo_error_db(radio)),
    "sinr": RadioLayer(
        "SINR at full load",
        "dB",
        "YlGnBu",
        lambda radio, _: to_db(sinr(radio).clamp(min=1e-12)),
        lambda _: MIN_REPORTED_SINR_DB,
    ),
    "throughput": RadioLayer("throughput", "Mbit/s", "YlGn", _throughput),
    "spread": RadioLayer("delay spread", "ns", "BuPu", _spread),
    "excess": RadioLayer("excess of the first arrival", "m", "copper", lambda radio, _: _excess(radio)),
    "sight": RadioLayer("line of sight", "fraction", "Greys", lambda radio, _: radio.los.float()),
}


def _excess(radio: RadioMap) -> Tensor | None:
    if radio.channels is None:
        return None
    return ((radio.channels.first_arrival - radio.delay) * SPEED_OF_LIGHT).clamp(min=0)


def available_layers(radio: RadioMap, service: ServiceRasters) -> list[str]:
    """Names of the layers that a map has."""
    return [name for name, layer in RADIO_LAYERS.items() if layer.of(radio, service) is not None]


def require_layer(radio: RadioMap, service: ServiceRasters, name: str, cell: int | None) -> RadioLayer:
    """The layer of a name. Raises `UelError` for a layer or a cell that the map does not have."""
    if name not in (names := available_layers(radio, service)):
        raise UelError("this radio map has no such channel", got=name, do=f"choose from {', '.join(names)}")
    if cell is not None and not 0 <= cell < len(radio.gain):
        do = f"choose from 0 to {len(radio.gain) - 1}, or None for the strongest cell of each pixel"
        raise UelError("this radio map has no such cell", got=cell, do=do)
    return RADIO_LAYERS[name]


def strongest_cell(radio: RadioMap) -> Int[Tensor, "row column"]:
    """The number of the cell with the highest RSRP in each pixel."""
    return radio.rsrp_dbm.masked_fill(~radio.known, -torch.inf).argmax(0)


def layer_values(
    name: str, radio: RadioMap, service: ServiceRasters, cell: int | None
) -> tuple[Float[np.ndarray, "row column"], Bool[np.ndarray, "row column"]]:
    """Values of a layer and where they are known, for one cell or for the strongest cell of each pixel."""
    every = RADIO_LAYERS[name].of(radio, service)
    assert every is not None, name
    if cell is not None:
        return every[cell].cpu().numpy(), radio.known[cell].cpu().numpy()
    best = strongest_cell(radio)[None]
    return every.gather(0, best)[0].cpu().numpy(), radio.known.any(0).cpu().numpy()
