"""Measured antenna patterns: two cuts, as MSI and Planet files hold them, or a table over the sphere."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError

MAX_GAIN_DBI = 40.0
MIN_GAIN_DBI = -20.0
MAX_ATTENUATION_DB = 120.0


@dataclass(frozen=True, eq=False)
class MeasuredPattern:
    """Gain of an antenna in a direction: from its horizontal and vertical cut, or from a table over the sphere.

    With cuts, other directions are weighted sums of them ("horizontal projection interpolation", Gil et al., IEEE
    Antennas and Propagation Magazine 43, 2001): in both cuts, and where they meet, the gain is what was measured.
    The table is bilinear in dB between its angles.

    Args:
        name: of the antenna.
        horizontal: gain in dBi at 0, 1, … 359° clockwise from boresight, seen from above; empty for a table.
        vertical: gain in dBi at 0, 1, … 359° from boresight downwards: 90° is the ground, 180° behind, 270° the sky.
        table: gain in dBi, rows from theta 0 (up) to 180° (down), columns from phi 0 (boresight) counter-clockwise to
            before 360°, in even steps; empty for cuts.
        electrical_tilt_deg: that the measured pattern contains already.

    Raises:
        UelError: for neither or both, for another number of values, for gains beyond -20 to 40 dBi at their maximum.

    Example:
        >>> import torch
        >>> from uel.radio.antennas.measured_pattern import MeasuredPattern
        >>> cut = tuple(15.0 - 12 * (min(a, 360 - a) / 65) ** 2 for a in range(360))
        >>> pattern = MeasuredPattern("K1", horizontal=cut, vertical=cut)
        >>> round(float(pattern.gain_dbi(torch.tensor(0.0), torch.tensor(0.0))), 2)  # boresight
        15.0
    """

    name: str
    horizontal: tuple[float, ...] = ()
    vertical: tuple[float, ...] = ()
    table: tuple[tuple[float, ...], ...] = ()
    electrical_tilt_deg: float = 0.0

    def __post_init__(self) -> None:
        cuts = len(self.horizontal) == len(self.vertical) == 360 and not self.table
        columns = {len(row) for row in self.table}
        is_table = len(self.table) >= 3 and len(columns) == 1 and max(columns) >= 4
        if not cuts and not (is_table and not self.horizontal and not self.vertical):
            raise UelError(
                "an antenna pattern is neither two cuts of 360 values nor a whole table",
                got=f"{len(self.horizontal)} and {len(self.vertical)} values, {len(self.table)} rows of a table",
                do="read it from a file: uel.radio.antennas.pattern_files.read_pattern",
            )
        gains = np.array(self.table or (self.horizontal, self.vertical), dtype=float)
        if not np.isfinite(gains).all() or not MIN_GAIN_DBI <= gains.max() <= MAX_GAIN_DBI:
            raise UelError(
                f"the gain of antenna {self.name} is not {MIN_GAIN_DBI:g} to {MAX_GAIN_DBI:g} dBi at its maximum",
                got=f"{gains.max():g} dBi",
                do="check the unit of the pattern's gain (dBi or dBd, no power)",
            )

    @property
    def max_gain_dbi(self) -> float:
        """Greatest measured gain in dBi."""
        return max(max(row) for row in (self.table or (self.horizontal, self.vertical)))

    @cached_property
    def digest(self) -> str:
        """What tells the pattern from others, in files and comparisons."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeasuredPattern) and self.digest == other.digest

    def to_json(self) -> dict[str, Any]:
        """Plain lists, without what is empty."""
        values = {"name": self.name, "horizontal": list(self.horizontal), "vertical": list(self.vertical)}
        values |= {"table": [list(row) for row in self.table], "electrical_tilt_deg": self.electrical_tilt_deg}
        return {name: value for name, value in values.items() if value}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "MeasuredPattern":
        """Inverse of `to_json`."""
        lists: dict[str, Any] = {name: tuple(data[name]) for name in ("horizontal", "vertical") if name in data}
        if "table" in data:
            lists["table"] = tuple(tuple(row) for row in data["table"])
        return MeasuredPattern(**{**data, **lists})

    def gain_dbi(
        self, azimuth: Float[Tensor, "*n"], elevation: Float[Tensor, "*n"], tilt_deg: float = 0.0
    ) -> Float[Tensor, "*n"]:
        """Gain in dBi.

        Args:
            azimuth: radians from boresight to the left.
            elevation: radians above the antenna's horizontal plane.
            tilt_deg: electrical downtilt to add to the measured pattern, degrees; it shifts the vertical cut.
        """
        azimuth_deg, elevation_deg = torch.rad2deg(azimuth), torch.rad2deg(elevation) + tilt_deg
        if self.table:
            return self._from_table(azimuth_deg, elevation_deg)
        right = -azimuth_deg
        vertical = self._cut("vertical", azimuth.device)
        across = _periodic(self._cut("horizontal", azimuth.device), right)
        front = _periodic(vertical, -elevation_deg)
        behind = _periodic(vertical, 180.0 + elevation_deg)
        weight = azimuth_deg.abs() / 180.0
        ahead, back = self.horizontal[0], self.horizontal[180]
        # Ahead and behind the vertical cut remains, and at its maximum the horizontal one.
        return across - (1 - weight) * (ahead - front) - weight * (back - behind)

    def _cut(self, name: str, device: torch.device) -> Float[Tensor, " degree"]:
        return torch.tensor(getattr(self, name), dtype=torch.float64, device=device)

    @cached_property
    def _grid(self) -> Float[Tensor, "theta phi"]:
        return torch.tensor(self.table, dtype=torch.float64, device="cpu")

    def _from_table(self, azimuth_deg: Tensor, elevation_deg: Tensor) -> Tensor:
        """Bilinear in theta and phi."""
        grid = self._grid.to(azimuth_deg.device)
        rows, columns = grid.shape
        theta = (90.0 - elevation_deg).clamp(0.0, 180.0) * ((rows - 1) / 180.0)
        above = theta.detach().floor().clamp(max=rows - 2)
        part = theta - above
        upper, lower = (_periodic_rows(grid, above.long() + step, azimuth_deg, 360.0 / columns) for step in (0, 1))
        return (1 - part) * upper + part * lower


def _periodic(values: Float[Tensor, " degree"], angle_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Values at whole degrees, linear between them, around the circle."""
    position = angle_deg % 360.0
    below = position.detach().floor()
    index, part = below.long() % 360, position - below
    return (1 - part) * values[index] + part * values[(index + 1) % 360]


def _periodic_rows(grid: Tensor, row: Tensor, angle_deg: Tensor, step: float) -> Tensor:
    """Values of a row of a table at an angle, linear between its columns, around the circle."""
    position = angle_deg % 360.0 / step
    below = position.detach().floor()
    index, part = below.long() % grid.shape[1], position - below
    return (1 - part) * grid[row, index] + part * grid[row, (index + 1) % grid.shape[1]]


def mean_gain_db(pattern: MeasuredPattern) -> float:
    """Gain averaged over the sphere in dB: 0 for an antenna without losses, whose gain is its directivity."""
    elevation = torch.deg2rad(torch.arange(-89.5, 90.0, 1.0, dtype=torch.float64, device="cpu"))
    azimuth = torch.deg2rad(torch.arange(-180.0, 180.0, 1.0, dtype=torch.float64, device="cpu"))
    around, up = torch.meshgrid(azimuth, elevation, indexing="ij")
    gain = 10 ** (pattern.gain_dbi(around, up) / 10)
    return 10 * math.log10(float((gain * elevation.cos()).sum() / elevation.cos().sum() / len(azimuth)))
