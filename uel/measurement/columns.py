"""The columns of a drive-test table; no framework is imported here."""

import math
from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class ColumnConfig:
    """What the columns of a table of measurements are called; each row is one level of one cell."""

    latitude: str = "latitude"
    """degrees, WGS 84"""
    longitude: str = "longitude"
    x: str = ""
    """m east of the tile's centre; with `y`, in place of degrees"""
    y: str = ""
    """m north of the tile's centre"""
    cell: str = "cell"
    """which cell was heard, as `cells` names them"""
    level: str = "rsrp"
    """RSRP in dBm"""
    toa: str = ""
    """time of flight in s, where there is one"""
    group: tuple[str, ...] = ()
    """what rows of one report have in common beside their place: a device, a time"""
    cells: tuple[str, ...] = ()
    """what the table calls the tile's cells, in their order; 0, 1, 2, … unless given"""
    contradiction_db: float = 30.0
    """rows of one report and cell that differ by more contradict each other, and none is used; nearer ones are averaged
    by their median"""

    def __post_init__(self) -> None:
        if bool(self.x) != bool(self.y):
            raise UelError("x and y come together", got=f"x {self.x!r}, y {self.y!r}", do="name both columns or none")
        if not 0 < self.contradiction_db < math.inf:
            raise UelError("levels differ by decibels", got=self.contradiction_db, do="give contradiction_db above 0")
        if len(set(self.cells)) < len(self.cells):
            raise UelError("two cells of one name", got=", ".join(self.cells), do="name each cell once")

    @property
    def position_columns(self) -> tuple[str, str]:
        """The two columns that say where: east and north, or longitude and latitude."""
        return (self.x, self.y) if self.x else (self.longitude, self.latitude)
