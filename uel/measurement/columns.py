"""The columns of a drive-test table; no framework is imported here."""

import math
from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class ColumnConfig:
    """Column names of a table of measurements; each row is one level of one cell."""

    latitude: str = "latitude"
    """degrees, WGS 84"""
    longitude: str = "longitude"
    x: str = ""
    """m east of the tile's centre; with `y`, in place of degrees"""
    y: str = ""
    """m north of the tile's centre"""
    cell: str = "cell"
    """name of the cell heard, one of `cells`"""
    level: str = "rsrp"
    """RSRP in dBm"""
    toa: str = ""
    """time of flight in s, if the table has it"""
    group: tuple[str, ...] = ()
    """columns that are equal in all rows of one report, beside its position: a device, a time"""
    cells: tuple[str, ...] = ()
    """names of the tile's cells in the table, in the tile's order; 0, 1, 2, … unless given"""
    contradiction_db: float = 30.0
    """rows of one report and cell whose levels differ by more contradict each other and are not used; of others the
    median is taken"""

    def __post_init__(self) -> None:
        if bool(self.x) != bool(self.y):
            raise UelError(
                "columns x and y must be given together",
                got=f"x {self.x!r}, y {self.y!r}",
                do="name both columns or none",
            )
        if not 0 < self.contradiction_db < math.inf:
            raise UelError(
                "contradiction_db must be positive", got=self.contradiction_db, do="give decibels, for example 30"
            )
        if len(set(self.cells)) < len(self.cells):
            raise UelError("cells names two cells alike", got=", ".join(self.cells), do="name each cell once")

    @property
    def position_columns(self) -> tuple[str, str]:
        """The two position columns: east and north, or longitude and latitude."""
        return (self.x, self.y) if self.x else (self.longitude, self.latitude)
