"""The matrices of DeepMIMO 4 of one transmitter: paths of every receiver, the strongest first, NaN where there is none.

Conventions are those of DeepMIMO's own converter for Sionna RT (deepmimo 4.0.5, `converters/sionna_rt`): power is the
path gain in dB of a transmitter of 0 dBW, angles are in degrees, azimuths counter-clockwise from x (east), elevations
from the zenith, `inter` holds the interactions from the transmitter on as decimal digits.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.channel.ofdm import path_coefficients
from sim_bridge.paths.path_set import PathSet
from sim_bridge.paths.polylines import PathPolylines
from uel.radio.config import Carrier

INTERACTION_DIGITS = {1: 1, 2: 3, 4: 4, 8: 2}
"""DeepMIMO's codes by Sionna's: reflection, scattering, transmission, diffraction; the direct path is 0"""
MATRIX_NAMES = (
    "power", "phase", "delay", "aoa_az", "aoa_el", "aod_az", "aod_el", "inter", "inter_pos", "rx_pos", "tx_pos",
)  # fmt: skip


def cell_matrices(
    lines: PathPolylines,
    cell: int,
    antenna: Float[Tensor, " 3"],
    points: Float[Tensor, "n 3"],
    carrier: Carrier,
    count: int,
) -> dict[str, np.ndarray]:
    """Matrices of the paths from one cell to receivers.

    Args:
        lines: paths of all cells to all receivers.
        cell: index of the transmitter.
        antenna: its position in metres.
        points: of the receivers in metres.
        carrier: at whose centre the phase is.
        count: paths that are kept of each receiver.

    Returns:
        By the names of `MATRIX_NAMES`: float32 of (receiver, path), `inter_pos` of (receiver, path, interaction, 3).
    """
    paths = lines.paths
    coefficient = _coefficients(paths, carrier)
    power = coefficient.abs().square()
    own = ((paths.source == cell) & (power > 0)).nonzero()[:, 0]
    row = _strongest(paths.target[own], power[own], len(points), count)
    row = torch.where(row >= 0, own[row.clamp(min=0)] if len(own) else row, -1)
    columns = {
        "power": 10 * power.clamp(min=1e-300).log10(),
        "phase": torch.rad2deg(coefficient.angle()),
        "delay": paths.delay.double(),
        **_angles("aoa", paths.arrival),
        **_angles("aod", paths.departure),
        "inter": _digits(lines.kind),
    }
    matrices = {name: _at_rows(values, row) for name, values in columns.items()}
    corners = torch.where(lines.kind[..., None] > 0, lines.corner[:, 1:-1].double(), torch.nan)
    matrices["inter_pos"] = _at_rows(corners, row)
    places = {"rx_pos": points.numpy().astype(np.float32), "tx_pos": antenna[None].numpy().astype(np.float32)}
    return matrices | places


def _coefficients(paths: PathSet, carrier: Carrier) -> Tensor:
    """Complex gain of each path from a single antenna to a vertical one, the phase of its length put in."""
    centre = torch.zeros(paths.cells, 1, 3, device=paths.power.device)
    return path_coefficients(paths, centre, carrier)[:, 0, 0].to(torch.complex128)


def _strongest(target: Tensor, power: Tensor, receivers: int, count: int) -> Tensor:
    """Rows of each receiver's `count` strongest paths, the strongest first; -1 where there are no more."""
    order = power.argsort(descending=True, stable=True)
    order = order[target[order].argsort(stable=True)]
    each = torch.bincount(target, minlength=receivers)
    rank = torch.arange(len(order), device=target.device) - (each.cumsum(0) - each)[target[order]]
    row = torch.full((receivers, count), -1, device=target.device)
    kept = rank < count
    row[target[order[kept]], rank[kept]] = order[kept]
    widest = max(int(each.clamp(max=count).max()) if receivers else 0, 1)
    return row[:, :widest]


def _angles(name: str, direction: Tensor) -> dict[str, Tensor]:
    east, north, up = direction.double().unbind(-1)
    return {
        f"{name}_az": torch.rad2deg(torch.atan2(north, east)),
        f"{name}_el": torch.rad2deg(torch.acos(up.clamp(-1, 1))),
    }


def _digits(kind: Tensor) -> Tensor:
    """DeepMIMO's code of each path: 0 for the direct one, 11 for two reflections, 13 for reflection and scattering."""
    table = torch.zeros(max(INTERACTION_DIGITS) + 1, dtype=torch.long, device=kind.device)
    for code, digit in INTERACTION_DIGITS.items():
        table[code] = digit
    value = torch.zeros(len(kind), dtype=torch.long, device=kind.device)
    for digit in table[kind].unbind(-1):
        value = torch.where(digit > 0, 10 * value + digit, value)
    return value.double()


def _at_rows(values: Tensor, row: Tensor) -> np.ndarray:
    """Values at rows as float32, NaN where the row is -1."""
    padded = torch.cat(
        [values.double(), torch.full((1, *values.shape[1:]), math.nan, dtype=torch.float64, device=values.device)]
    )
    return padded[row].float().numpy()
