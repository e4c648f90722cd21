"""How a log is read: its columns, its cells, and the rules by which measurements are set aside; no framework is
imported here."""

import math
from dataclasses import dataclass
from typing import Literal

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

REJECTED_FILE = "rejected.csv"
LevelUnit = Literal["dbm", "nr_index", "lte_index"]


@dataclass(frozen=True, kw_only=True)
class ColumnConfig:
    """Columns of a log, its cells, and rules. A column that is not named is found by the common names for it."""

    latitude: str = ""
    """degrees, WGS 84"""
    longitude: str = ""
    x: str = ""
    """m east of the tile's centre; with `y`, in place of degrees"""
    y: str = ""
    """m north of the tile's centre"""
    crs: str = ""
    """coordinate reference system of `x` and `y`, EPSG:32632 for example; metres from the tile's centre unless given"""
    time: str = ""
    """ISO 8601, or seconds, milliseconds, … since 1970 or since the log's start"""
    accuracy: str = ""
    """m, accuracy of the position"""
    cell: str = ""
    """name of the cell heard, one of `cells`"""
    cell_id: str = ""
    """ECGI, NCI or ECI"""
    pci: str = ""
    arfcn: str = ""
    """carrier as EARFCN or NR-ARFCN"""
    frequency: str = ""
    """carrier as downlink frequency in MHz, GHz, kHz or Hz, which the number's size tells; for rows without arfcn"""
    level: str = ""
    """RSRP in dBm"""
    toa: str = ""
    """time of flight in s, if the log has it"""
    group: tuple[str, ...] = ()
    """columns that are equal in all rows of one report, beside its time, device and position"""
    cells: tuple[str, ...] = ()
    """names of the tile's cells in the log, in the tile's order; unless given, cells are found by their identities
    (cell_id, carrier and PCI), their names, or 0, 1, 2, …"""
    carriers: tuple[str, ...] = ()
    """EARFCN or NR-ARFCN of the measurements that are used; all unless given"""
    level_unit: LevelUnit = "dbm"
    """nr_index and lte_index: levels are indices of TS 38.133 (0 to 127) or TS 36.133 (0 to 97)"""
    separator: str = ""
    """of a delimited table; detected unless given"""
    encoding: str = ""
    """of a text; detected unless given"""
    interval: float = 0.0
    """s: rows of one device and position whose times fall into one interval are one report; 0: equal times"""
    contradiction_db: float = 30.0
    """rows of one report and cell whose levels differ by more contradict each other and are not used; of others the
    median is taken"""
    instant_contradiction_db: float = 10.0
    """the same for rows of one time: measurements of one moment differ by a few dB"""
    max_accuracy: float = 50.0
    """m: labelled reports whose positions are known less accurately are set aside"""
    max_age: float = 10.0
    """s: labelled reports whose positions are older are set aside"""
    max_speed: float = 100.0
    """m/s: labelled reports to which the phone would have moved faster are set aside"""
    still_reports: int = 5
    """so many reports at one position, to the last digit, whose levels change by more than `still_db` are a frozen
    position: all but the first are set aside"""
    still_db: float = 6.0
    min_known_fraction: float = 0.5
    """reports of whose identified cells a smaller fraction belongs to the tile's network are of another one"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for first, second in (("x", "y"), ("latitude", "longitude")):
            if bool(getattr(self, first)) != bool(getattr(self, second)):
                raise UelError(
                    f"columns {first} and {second} must be given together",
                    got=f"{first} {getattr(self, first)!r}, {second} {getattr(self, second)!r}",
                    do="name both columns or none",
                )
        for name in ("contradiction_db", "instant_contradiction_db", "max_accuracy", "max_age", "max_speed"):
            if not 0 < getattr(self, name) < math.inf:
                raise UelError(
                    f"{name} must be positive",
                    got=getattr(self, name),
                    do=f"give --columns.{name.replace('_', '-')} 30",
                )
        if not 0 <= self.min_known_fraction <= 1:
            do = "give --columns.min-known-fraction 0.5"
            raise UelError("min_known_fraction must lie between 0 and 1", got=self.min_known_fraction, do=do)
        if self.interval < 0 or self.still_reports < 2 or self.still_db < 0:
            got = f"interval {self.interval}, still_reports {self.still_reports}, still_db {self.still_db}"
            do = "give interval 0 or more, still_reports 2 or more, still_db 0 or more"
            raise UelError("a rule's limit makes no sense", got=got, do=do)
        if len(self.separator) > 1 and self.separator != "\\t":
            raise UelError("a separator is one letter", got=self.separator, do='give --columns.separator ";", say')
        if len(set(self.cells)) < len(self.cells):
            raise UelError("cells names two cells alike", got=", ".join(self.cells), do="name each cell once")

    @property
    def named(self) -> dict[str, str]:
        """Columns that are named, by quantity."""
        quantities = {name: name for name in ("latitude", "longitude", "x", "y", "time", "accuracy", "cell", "cell_id")}
        quantities |= {"pci": "pci", "arfcn": "arfcn", "frequency": "frequency", "level": "rsrp", "toa": "toa"}
        return {quantity: getattr(self, name) for name, quantity in quantities.items() if getattr(self, name)}
