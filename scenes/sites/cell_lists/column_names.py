"""What the columns of a list of cells mean, by their names and units."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from uel.errors import UelError

# Names without case, separators and units. A name that stands twice belongs to the first.
COLUMN_WORDS = {
    "name": "name site sitename siteid nodename station mast label standort nom nombre",
    "cell_name": "cellname sector sectorname sectorid cellalias eutrancellname zelle",
    "latitude": "latitude lat sitelat sitelatitude latwgs84 breite breitengrad geographischebreite latitud",
    "longitude": "longitude lon lng long sitelon sitelong sitelongitude lonwgs84 laenge laengengrad länge längengrad "
    "geographischelänge longitud",
    "x": "x east",
    "y": "y north",
    "height": "height antennaheight antheight antennaheightagl heightagl agl hgt towerheight mastheight hauteur höhe "
    "hoehe altura antennenhöhe antennenhoehe radcenter radcentre antennacentreheight groundheight",
    "height_above_roof": "heightaboveroof roofheight aboveroof",
    "z": "z",
    "azimuth_deg": "azimuth az azim azimut azimuth1 bearing antennaazimuth sectorazimuth heading dir direction "
    "orientation hauptstrahlrichtung",
    "tilt_deg": "tilt downtilt mechanicaltilt mtilt mechtilt mechanicaldowntilt mdt tiltmech tiltm",
    "electrical_tilt_deg": "electricaltilt etilt electilt electricaldowntilt edt ret tiltelec tilte elektrischertilt",
    "power_dbm": "power txpower transmitpower maxtxpower totalpower outputpower antennapower maxtransmitpower "
    "leistung puissance",
    "eirp_dbm": "eirp maxeirp eirppower",
    "reference_power_dbm": "referencepower referencesignalpower rspower rsspower crspower sspbchblockpower "
    "referencesignalpwr pilotpower",
    "pattern": "pattern antennapattern antennatype",
    "antenna": "antenna antennamodel antennaname antennafile patternfile",
    "cell_id": "cellid ci cid eci ecgi nci ncgi cgi cellidentity eutrancellid nrcellid globalcellid enodebcellid",
    "node": "enb enbid enodeb enodebid gnb gnbid gnodeb gnodebid",
    "band": "band lteband nrband freqband frequencyband operatingband",
    "mcc": "mcc",
    "mnc": "mnc net",
    "pci": "pci pcid physcellid physicalcellid physicalcellidentity phycellid bsic",
    "channel_number": "channelnumber earfcn earfcndl dlearfcn nrarfcn dlnrarfcn arfcn arfcndl dlarfcn channel",
    "frequency": "frequency freq dlfrequency dlfreq centrefrequency centerfrequency carrierfrequency frequenz",
    "bandwidth": "bandwidth bw channelbandwidth dlbandwidth carrierbandwidth bandbreite",
    "subcarrier_spacing": "subcarrierspacing scs",
    "technology": "technology tech rat radio system act generation",
}
UNIT_WORDS = {
    "m": "m meter meters metre metres",
    "ft": "ft feet foot",
    "deg": "deg degree degrees grad °",
    "dbm": "dbm",
    "dbw": "dbw",
    "w": "w watt watts",
    "mw": "mw milliwatt milliwatts",
    "hz": "hz",
    "khz": "khz",
    "mhz": "mhz",
    "ghz": "ghz",
}
OPEN_CELL_ID_COLUMNS = ("radio", "mcc", "net", "area", "cell", "unit", "lon", "lat", "range", "samples", "changeable",
                        "created", "updated", "averageSignal")  # fmt: skip
# Of OpenCelliD and Mozilla Location Service: `unit` is an LTE cell's PCI, which most rows do not know.
OPEN_CELL_ID_MEANING = {
    "radio": "technology", "mcc": "mcc", "net": "mnc", "cell": "cell_id", "lon": "longitude", "lat": "latitude",
}  # fmt: skip
MIN_SIMILARITY = 0.8  # of a name that is taken for a misspelt one
_WORDS = {word: own for own, words in reversed(COLUMN_WORDS.items()) for word in words.split()}
_UNITS = {word: unit for unit, words in UNIT_WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class Column:
    """A column of a list that means something: its own name in the file, what it is, and its unit."""

    name: str
    own: str
    unit: str
    """empty: the name does not say"""


def meaning_of(name: str) -> tuple[str, str] | None:
    """What a column is and its unit, by its name; None for a name that is not in the dictionary.

    Example:
        >>> from scenes.sites.cell_lists.column_names import meaning_of
        >>> meaning_of("Antenna Height (ft)"), meaning_of("TX power [W]"), meaning_of("colour")
        (('height', 'ft'), ('power_dbm', 'w'), None)
    """
    plain = _words(name)
    for unit_words in (1, 0):  # a last word that is a unit, unless the name means something with it
        if unit_words and (len(plain) < 2 or plain[-1] not in _UNITS):
            continue
        own = _WORDS.get("".join(plain[: len(plain) - unit_words]))
        if own is not None:
            return own, _UNITS[plain[-1]] if unit_words else ""
    return None


def unit_of(name: str) -> str:
    """The unit that ends a column's name; empty without one.

    Example:
        >>> from scenes.sites.cell_lists.column_names import unit_of
        >>> unit_of("Masthöhe [ft]"), unit_of("Masthöhe")
        ('ft', '')
    """
    words = _words(name)
    return _UNITS.get(words[-1], "") if len(words) > 1 else ""


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.split(r"[^0-9a-zA-ZäöüßéèÄÖÜ°]+", name.strip()) if word]


def columns_of(names: Iterable[str], chosen: dict[str, str], where: str) -> tuple[list[Column], list[str]]:
    """The columns that mean something, and the names of those that are ignored.

    Args:
        names: of all columns of the file.
        chosen: own name → the file's name, of `--columns`; they replace what the dictionary says.
        where: the file, for messages.

    Raises:
        UelError: for a chosen column that the file does not have or that means nothing here, two columns of one
            meaning, and a name that looks like a misspelt one.
    """
    listed = list(dict.fromkeys(names))
    _require_chosen(listed, chosen, where)
    is_open = {"radio", "mcc", "net", "area", "cell"} <= {name.lower() for name in listed}
    columns, ignored = [Column(theirs, own, unit_of(theirs)) for own, theirs in chosen.items()], list[str]()
    for name in (name for name in listed if name not in chosen.values()):
        found = (OPEN_CELL_ID_MEANING[name.lower()], "") if is_open and name.lower() in OPEN_CELL_ID_MEANING else None
        found = found or (None if is_open else meaning_of(name))
        if found is None:
            ignored.append(name)
        elif found[0] not in chosen:
            columns.append(Column(name, *found))
    _require_single(columns, where)
    known = {column.own for column in columns}
    for name in ignored:
        close = [] if is_open else difflib.get_close_matches(_plain(name), list(_WORDS), n=1, cutoff=MIN_SIMILARITY)
        if close and _WORDS[close[0]] not in known:
            raise UelError(
                f"unknown column in row 1 of {where}",
                got=name,
                do=f"perhaps you meant {_WORDS[close[0]]}; if not, name another: --columns {_WORDS[close[0]]}=NAME",
            )
    return columns, ignored


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-zäöüß]", "", name.lower())


def _require_chosen(listed: list[str], chosen: dict[str, str], where: str) -> None:
    for own, theirs in chosen.items():
        if own not in COLUMN_WORDS:
            do = f"known are {', '.join(COLUMN_WORDS)}"
            raise UelError("--columns names something that a list of cells does not have", got=own, do=do)
        if theirs not in listed:
            do = f"it has {', '.join(listed)}"
            raise UelError(f"{where} has no column of this name (--columns {own}=…)", got=theirs, do=do)


def _require_single(columns: list[Column], where: str) -> None:
    for column in columns:
        same = [other.name for other in columns if other.own == column.own]
        if len(same) > 1:
            raise UelError(
                f"two columns of {where} mean {column.own}",
                got=" and ".join(same),
                do=f"name the one that counts: --columns {column.own}={same[0]}",
            )
