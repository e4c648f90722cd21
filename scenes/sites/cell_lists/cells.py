"""The cells of a row: azimuths, tilts, powers, antennas, carriers and identities, one value for all or one a sector."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from scenes.sites.cell_lists.quantities import Field, finite_number, quantity
from uel.errors import UelError, brief
from uel.radio.antennas.measured_pattern import MeasuredPattern
from uel.radio.antennas.pattern_files import read_pattern
from uel.radio.carriers.bands import Technology, band_limits
from uel.radio.cells.identity import MAX_LOCAL_CELL, MAX_PCI, is_absent, normal_cell_id, normal_number, with_node
from uel.radio.config import Carrier, Pattern, PowerKind, default_channel
from uel.radio.sites import Array, Cell

TECHNOLOGIES_BY_WORD: dict[str, Technology] = {
    "lte": "lte", "4g": "lte", "eutra": "lte", "eutran": "lte", "ltefdd": "lte", "ltetdd": "lte",
    "nr": "nr", "5g": "nr", "5gnr": "nr", "nrsa": "nr", "nrnsa": "nr",
    "gsm": "gsm", "2g": "gsm", "nbiot": "nb_iot", "nb": "nb_iot", "catnb": "nb_iot",
}  # fmt: skip
OTHER_TECHNOLOGIES = frozenset({"umts", "3g", "wcdma", "cdma", "cdma2000", "evdo", "tdscdma", "wimax", "wifi"})
PATTERN_WORDS: dict[str, Pattern] = {
    "iso": "iso", "isotropic": "iso", "omni": "iso", "omnidirectional": "iso", "dipole": "dipole",
    "tr38901": "tr38901", "38901": "tr38901", "tr36814": "tr36814", "36814": "tr36814",
}  # fmt: skip
POWER_COLUMNS: dict[str, PowerKind] = {
    "power_dbm": "total", "eirp_dbm": "eirp", "reference_power_dbm": "reference",
}  # fmt: skip
ANTENNA_SUFFIXES = (".msi", ".pln", ".txt", ".csv")
LAST_NR_NUMBER = 3_279_165
LAST_EARFCN = 70_645
CELL_COLUMNS = (
    "azimuth_deg", "tilt_deg", "electrical_tilt_deg", *POWER_COLUMNS, "pattern", "antenna", "cell_id", "node", "mcc",
    "mnc", "pci", "band", "channel_number", "frequency", "bandwidth", "subcarrier_spacing", "technology", "cell_name",
)  # fmt: skip
Fields = dict[str, Field]


class OtherTechnologyError(Exception):
    """A row of a technology that has no model or no carrier here (UMTS, CDMA, LTE without a frequency): set aside."""


@dataclass(frozen=True)
class CellMaker:
    """Makes the cells of rows.

    Args:
        template: what a row does not say.
        antennas: folder with the measured patterns that the rows name; None: names of antennas are not looked up.
    """

    template: Cell
    antennas: Path | None = None
    _patterns: dict[Path, MeasuredPattern] = field(default_factory=dict)

    def cells(self, fields: Fields, where: str) -> tuple[Cell, ...]:
        """The cells of a row: one, or as many as its longest list of values.

        Raises `OtherTechnologyError` for a technology without a model, and `UelError`, with row and column, for values
        that cannot be, lists of different lengths, and antennas that are not there.
        """
        listed = {name: f.parts() for name, f in fields.items() if name in CELL_COLUMNS}
        count = max((len(parts) for parts in listed.values()), default=1)
        for name, parts in listed.items():
            if len(parts) not in (1, count):
                raise UelError(
                    f"{fields[name].column.name} in {where} does not have a value for each sector",
                    got=f"{len(parts)} values, where another column has {count}",
                    do=f"give one value for all sectors, or {count} of them: 0;120;240",
                )
        single = [{name: parts[n if len(parts) > 1 else 0] for name, parts in listed.items()} for n in range(count)]
        return tuple(self._cell(sector, where) for sector in single)

    def _cell(self, fields: Fields, where: str) -> Cell:
        with in_row(where):
            carrier = self._carrier(fields)
            given = {}
            for name, kind in POWER_COLUMNS.items():
                if name in fields:
                    given |= {"power_dbm": quantity(fields[name]), "power_kind": kind}
            if sum(name in fields for name in POWER_COLUMNS) > 1:
                raise UelError("two powers are given", got=", ".join(set(fields) & set(POWER_COLUMNS)), do="give one")
            direction = self._direction(fields)
            return replace(
                self.template,
                **given,
                **direction,
                array=self._array(fields, has_azimuth="azimuth_deg" in fields),
                carrier=carrier,
                cell_id=_cell_id(fields, carrier.technology),
                pci=_pci(fields, carrier.technology),
                name=str(fields["cell_name"].value) if "cell_name" in fields else self.template.name,
            )

    # ---- direction and antenna -------------------------------------------------------------------------

    def _direction(self, fields: Fields) -> dict[str, float]:
        """Azimuth and mechanical tilt; a cell without an azimuth has neither."""
        tilt = quantity(fields["tilt_deg"]) if "tilt_deg" in fields else None
        if "azimuth_deg" in fields:
            tilt = self.template.tilt_deg if tilt is None else tilt
            return {"azimuth_deg": quantity(fields["azimuth_deg"]) % 360.0, "tilt_deg": tilt}
        if tilt:
            raise fields["tilt_deg"].error(
                "is a tilt without an azimuth", "give azimuth_deg, too, or leave the tilt out"
            )
        return {"azimuth_deg": 0.0, "tilt_deg": 0.0}

    def _array(self, fields: Fields, has_azimuth: bool) -> Array:
        """The row's antenna; without one the template's, or an isotropic one for a cell without an azimuth."""
        own = self.template.array
        measured = self._measured(fields)
        tilt = quantity(fields["electrical_tilt_deg"]) if "electrical_tilt_deg" in fields else None
        if measured is not None:
            extra = 0.0 if tilt is None else tilt - measured.electrical_tilt_deg
            array = Array(
                pattern="measured", measured=measured, polarization=own.polarization, electrical_tilt_deg=extra
            )
        elif "pattern" in fields:
            array = replace(own, pattern=_pattern(fields["pattern"]), measured=None, electrical_tilt_deg=0.0)
        elif not has_azimuth and own.pattern != "dipole":
            array = Array(polarization=own.polarization)
        else:
            array = own
        if tilt is not None and measured is None:
            if tilt and array.rows == 1 and array.pattern in ("iso", "dipole"):
                raise fields["electrical_tilt_deg"].error(
                    "is a tilt of an omnidirectional antenna",
                    "give azimuth_deg and a sector's pattern, too, or leave it out",
                )
            array = replace(array, electrical_tilt_deg=tilt)
        if has_azimuth and array.pattern == "iso" and array.rows * array.columns == 1:
            azimuth = fields["azimuth_deg"]
            raise UelError(
                f"{azimuth.where} gives {azimuth.column.name}, but the antenna is isotropic",
                got=f"pattern {array.pattern}",
                do="choose a directional pattern, such as --pattern tr38901, or leave azimuth_deg out",
            )
        if not has_azimuth and array.pattern in ("tr38901", "tr36814"):
            raise fields["pattern"].error("is a sector's, but the row has no azimuth", "give azimuth_deg, too")
        return array

    def _measured(self, fields: Fields) -> MeasuredPattern | None:
        """The measured pattern that a row names, from the folder of antennas; of its tilt, where there are several."""
        if "antenna" not in fields or self.antennas is None:
            return None
        model = str(fields["antenna"].value).strip()
        files = sorted(file for file in self.antennas.glob("*") if file.suffix.lower() in ANTENNA_SUFFIXES)
        for file in files:
            if file not in self._patterns:
                self._patterns[file] = read_pattern(file)
        names = {file: {file.name.lower(), file.stem.lower(), self._patterns[file].name.lower()} for file in files}
        fitting = [self._patterns[file] for file in files if model.lower() in names[file]]
        if len(fitting) > 1 and "electrical_tilt_deg" in fields:
            tilt = quantity(fields["electrical_tilt_deg"])
            fitting = [pattern for pattern in fitting if math.isclose(pattern.electrical_tilt_deg, tilt, abs_tol=0.05)]
        if len(fitting) != 1:
            known = ", ".join(file.name for file in files[:8]) or "no pattern"
            raise fields["antenna"].error(
                f"names {len(fitting)} of the antennas in {self.antennas}",
                f"name one file by its name; there are {known}",
            )
        return fitting[0]

    # ---- carrier ---------------------------------------------------------------------------------------

    def _carrier(self, fields: Fields) -> Carrier:
        """The row's carrier; what it does not say is the template's, or usual for another technology."""
        own = self.template.carrier
        technology = _technology(fields["technology"]) if "technology" in fields else None
        number = None
        if "channel_number" in fields:
            number = _number(fields["channel_number"], "the channel number", LAST_NR_NUMBER)
        if technology is None and number is not None:
            technology = own.technology if own.technology == "gsm" else ("nr" if number > LAST_EARFCN else "lte")
        technology = technology or own.technology
        width = quantity(fields["bandwidth"]) if "bandwidth" in fields else None
        spacing = quantity(fields["subcarrier_spacing"]) if "subcarrier_spacing" in fields else None
        if number is not None:
            carrier = Carrier.from_channel_number(number, technology, bandwidth=width, subcarrier_spacing=spacing)
            if "frequency" in fields and abs(quantity(fields["frequency"]) - carrier.frequency) > 1e5:
                raise fields["frequency"].error(
                    f"is not that of channel number {number}",
                    f"which is {carrier.frequency / 1e6:g} MHz: give one of the two",
                )
            return carrier
        frequency = quantity(fields["frequency"]) if "frequency" in fields else None
        if frequency is None and technology == own.technology and "band" in fields:
            _require_band(fields["band"], technology, own.frequency)
        if technology == own.technology and {width, spacing, frequency} == {None}:
            return own
        if frequency is None and technology != own.technology:
            # A crowd's list says the technology, not the frequency, which the template has for one technology alone.
            raise OtherTechnologyError(
                f"{technology} without a frequency, where --carrier.technology is {own.technology}"
            )
        frequency = own.frequency if frequency is None else frequency
        usual = (own.bandwidth, own.subcarrier_spacing) if technology == own.technology else None
        usual_width, usual_spacing = usual or default_channel(technology, frequency)
        if technology == own.technology == "nr" and "frequency" in fields and width is None and spacing is None:
            usual_width, usual_spacing = default_channel(technology, frequency)
        return Carrier(
            frequency=frequency,
            bandwidth=usual_width if width is None else width,
            subcarrier_spacing=usual_spacing if spacing is None else spacing,
            technology=technology,
        )


@contextmanager
def in_row(where: str) -> Iterator[None]:
    """Name the row in errors that do not name it themselves."""
    try:
        yield
    except UelError as error:
        text = str(error)
        if where in text:
            raise
        raise UelError(f"{where}: {text}") from error


def _pattern(f: Field) -> Pattern:
    word = str(f.value).lower().replace(" ", "").replace(".", "").replace("-", "").replace("_", "")
    if word not in PATTERN_WORDS:
        raise f.error(
            "is no antenna pattern", "give iso, dipole, tr38901 or tr36814; name measured ones in column antenna"
        )
    return PATTERN_WORDS[word]


def _technology(f: Field) -> Technology:
    word = "".join(letter for letter in str(f.value).lower() if letter.isalnum())
    if word in OTHER_TECHNOLOGIES:
        raise OtherTechnologyError(str(f.value))
    if word not in TECHNOLOGIES_BY_WORD:
        raise f.error("is no technology", "give LTE, NR, GSM or NB-IoT")
    return TECHNOLOGIES_BY_WORD[word]


def _require_band(f: Field, technology: Technology, frequency: float) -> None:
    """Raise `UelError` where a row's band does not hold the frequency in Hz that its cells would get."""
    digits = re.fullmatch(r"(?:B|n|band\s*)?(\d{1,3})", str(f.value).strip(), re.IGNORECASE)
    band = band_limits(int(digits[1]), technology) if digits else None
    if band is not None and not band[0] <= frequency <= band[1]:
        do = f"give the channel number or the frequency; else its cells would stand at {frequency / 1e6:g} MHz"
        raise f.error("is a band, in which there are many carriers", do)


def _number(f: Field, name: str, limit: int) -> int | None:
    try:
        return normal_number(f.value, name, limit)
    except UelError as error:
        raise f.error(f"is no whole number from 0 to {limit}", f"correct {name}") from error


def _pci(fields: Fields, technology: Technology) -> int | None:
    return _number(fields["pci"], f"the PCI of {technology}", MAX_PCI[technology]) if "pci" in fields else None


def _cell_id(fields: Fields, technology: Technology) -> str | None:
    """The cell's identity: with the identity of its eNodeB, where that stands in a column of its own, and so with the
    network's code in front."""
    if "cell_id" not in fields:
        return None
    try:
        own = normal_cell_id(fields["cell_id"].value)
    except UelError as error:
        do = "give ECI, NCI or ECGI with all digits"
        raise fields["cell_id"].error(f"is no cell identity ({brief(error)})", do) from error
    if "node" in fields and own is not None and not is_absent(fields["node"].value):
        if technology == "nr" and own.isdecimal() and int(own) <= MAX_LOCAL_CELL:
            do = "give the NCI: how many of its bits are the gNodeB's differs between networks"
            raise fields["cell_id"].error("is the number of a cell of its gNodeB", do)
        own = with_node(own, str(fields["node"].value).strip())
    if own is None or "-" in own or not {"mcc", "mnc"} <= set(fields):
        return own
    codes = [fields[name].value for name in ("mcc", "mnc")]
    if any(is_absent(code) for code in codes):
        return own
    country, network = (int(finite_number(fields[name])) for name in ("mcc", "mnc"))
    digits = max(2, len(str(fields["mnc"].value).strip()))
    return f"{country:03d}-{network:0{digits}d}-{own}"


def distinct(cell: Cell) -> tuple[object, ...]:
    """What makes two cells of one mast two: identity, carrier, direction and antenna."""
    identity = cast(object, cell.cell_id if cell.cell_id is not None else (cell.pci, cell.name))
    return (identity, cell.carrier, cell.azimuth_deg, cell.tilt_deg, cell.array)
