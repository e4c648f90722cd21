"""Numbers of a list of cells: parsed, converted to SI and dB, and held against what each can be."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scenes.sites.cell_lists.column_names import Column
from uel.errors import UelError
from uel.radio.cells.identity import is_absent

OMNIDIRECTIONAL_WORDS = ("omni", "omnidirectional")
METRES_PER_FOOT = 0.3048  # m


@dataclass(frozen=True)
class Field:
    """A value of a row with its column and where it stands."""

    value: Any
    column: Column
    where: str
    """row and file"""

    def error(self, what: str, do: str) -> UelError:
        """An error that names column, row and file."""
        return UelError(f"{self.column.name} in {self.where} {what}", got=repr(self.value), do=do)

    @property
    def is_empty(self) -> bool:
        """Whether the field of a number says that there is none (N/A), or that a cell has no direction (omni)."""
        if self.column.own not in LIMITS_BY_COLUMN or self.column.own in ("x", "y"):
            return False
        is_omnidirectional = (
            self.column.own == "azimuth_deg" and str(self.value).strip().lower() in OMNIDIRECTIONAL_WORDS
        )
        return is_omnidirectional or is_absent(self.value)

    def parts(self) -> list["Field"]:
        """The values of a field that holds one for each sector: a list, or a text such as `0;120;240`."""
        if isinstance(self.value, list):
            values: list[Any] = self.value
        elif isinstance(self.value, str):
            numbers = self.column.own in LIMITS_BY_COLUMN
            values = [part.strip() for part in re.split(r"[;|/]" if numbers else r"[;|]", self.value)]
        else:
            values = [self.value]
        return [Field(value, self.column, self.where) for value in values]


@dataclass(frozen=True)
class Limits:
    """What a quantity can be: the least and the greatest value in `unit`, and advice where it is not."""

    low: float
    high: float
    unit: str
    do: str


LIMITS_BY_COLUMN = {
    "x": Limits(-1e6, 1e6, "m", "give metres east of the tile's centre"),
    "y": Limits(-1e6, 1e6, "m", "give metres north of the tile's centre"),
    "height": Limits(
        0.5, 400.0, "m", "give metres of the antenna above the ground; z is an elevation, height_ft is in feet"
    ),
    "height_above_roof": Limits(0.0, 150.0, "m", "give metres of the antenna above the roof"),
    "z": Limits(-450.0, 9000.0, "m", "give the antenna's elevation in metres in the tile's datum"),
    "azimuth_deg": Limits(
        0.0, 360.0, "°", "give degrees clockwise from north; leave it empty for an omnidirectional cell"
    ),
    "tilt_deg": Limits(-30.0, 30.0, "°", "give the mechanical downtilt in degrees (not in tenths)"),
    "electrical_tilt_deg": Limits(-30.0, 30.0, "°", "give the electrical downtilt in degrees (not in tenths)"),
    "power_dbm": Limits(-10.0, 65.0, "dBm", "give dBm; for watts or milliwatts name the column power_w or power_mw"),
    "eirp_dbm": Limits(-10.0, 90.0, "dBm", "give dBm; for watts name the column eirp_w"),
    "reference_power_dbm": Limits(-60.0, 50.0, "dBm", "give dBm of one resource element"),
    "frequency": Limits(1e8, 1e12, "Hz", "name the unit in the column: frequency_mhz"),
    "bandwidth": Limits(1e5, 2e9, "Hz", "name the unit in the column: bandwidth_mhz"),
    "subcarrier_spacing": Limits(15e3, 960e3, "Hz", "give 15, 30, 60, 120, 480 or 960 kHz"),
}
POWER_LEVELS_IN_WATTS = frozenset({1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0, 160.0, 200.0})
HERTZ_PER_UNIT = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")


def finite_number(field: Field) -> float:
    """The number of a field as it stands. Raises `UelError` for a text, a unit beside it, NaN or infinity."""
    value = field.value
    if isinstance(value, str):
        text = value.strip().replace("\u2212", "-").replace("\u00a0", "")
        match = _NUMBER.match(text)
        if match and match.end() < len(text) and re.fullmatch(r"\s*[a-zA-Z°'\"]{1,8}\s*", text[match.end() :]):
            unit = text[match.end() :].strip()
            raise field.error(
                "has a unit beside the number", f"give the number alone, without {unit!r}; {_advice(field)}"
            )
        value = text.replace(",", ".") if match and match.end() == len(text) else math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(field.value, bool):
        raise field.error("is not a number", "give a finite number, such as 12.5")
    return number


def _advice(field: Field) -> str:
    limits = LIMITS_BY_COLUMN.get(field.column.own)
    return limits.do if limits else "degrees are decimal, such as 48.8738"


def quantity(field: Field) -> float:
    """A field's number in m, degrees, dBm or Hz, held against `LIMITS_BY_COLUMN`."""
    number, own, unit = finite_number(field), field.column.own, field.column.unit
    convert = _CONVERSIONS.get(own, _as_it_is)
    converted, limits = convert(field, number, unit), LIMITS_BY_COLUMN[own]
    if not limits.low <= converted <= limits.high:
        raise field.error(f"is not {limits.low:g} to {limits.high:g} {limits.unit}", limits.do)
    return converted


def _as_it_is(field: Field, number: float, unit: str) -> float:
    if unit not in ("", "deg"):
        raise field.error(f"is in a unit that it cannot have: {unit}", _advice(field))
    return number


def _metres(field: Field, number: float, unit: str) -> float:
    return number * METRES_PER_FOOT if unit == "ft" else _as_it_is(field, number, "" if unit == "m" else unit)


def _dbm(field: Field, number: float, unit: str) -> float:
    watts = {"w": 1.0, "mw": 1e-3}
    if unit in watts:
        if number <= 0:
            raise field.error("is no power", "give watts above 0")
        return round(10 * math.log10(number * watts[unit] * 1e3), 4)
    if unit == "dbw":
        return number + 30.0
    return _as_it_is(field, number, "" if unit == "dbm" else unit)


def _hertz(field: Field, number: float, unit: str) -> float:
    if unit:
        return number * HERTZ_PER_UNIT[unit] if unit in HERTZ_PER_UNIT else _as_it_is(field, number, unit)
    # 3GPP's carriers lie between 0.4 and 100 GHz: as GHz, MHz and Hz these are three ranges apart.
    ranges = ((0.3, 110.0, 1e9), (300.0, 110e3, 1e6), (3e8, 1e12, 1.0))
    return next((number * factor for low, high, factor in ranges if low <= number <= high), number)


def _hertz_of_width(field: Field, number: float, unit: str) -> float:
    if unit:
        return number * HERTZ_PER_UNIT[unit] if unit in HERTZ_PER_UNIT else _as_it_is(field, number, unit)
    return number * 1e6 if 0.1 <= number <= 2000 else number  # MHz, as everybody writes it


def _hertz_of_spacing(field: Field, number: float, unit: str) -> float:
    if unit:
        return number * HERTZ_PER_UNIT[unit] if unit in HERTZ_PER_UNIT else _as_it_is(field, number, unit)
    return number * 1e3 if number < 1000 else number


_CONVERSIONS: Mapping[str, Callable[[Field, float, str], float]] = {
    **dict.fromkeys(("x", "y", "height", "height_above_roof", "z"), _metres),
    **dict.fromkeys(("power_dbm", "eirp_dbm", "reference_power_dbm"), _dbm),
    "frequency": _hertz,
    "bandwidth": _hertz_of_width,
    "subcarrier_spacing": _hertz_of_spacing,
}


def require_power_unit(fields: list[Field]) -> None:
    """Raise `UelError` for powers without a unit in the column's name whose values all may be watts.

    43, 46 and 49 are dBm to everybody; 20 and 40 are as often watts.
    """
    unclear = [part for field in fields if not field.column.unit for part in field.parts()]
    if unclear and all(finite_number(part) in POWER_LEVELS_IN_WATTS for part in unclear):
        raise unclear[0].error(
            "may be watts or dBm", "name the unit in the column (power_w, power_dbm), or --columns power_dbm=NAME"
        )
