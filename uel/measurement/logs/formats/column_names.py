"""What the columns of a log mean, by their names: a dictionary of the words that apps, phones and test tools use.

A name is a quantity, perhaps with a role ("serving", "neighbour"), an index and a technology: `Neighbor Cell RSRP[2]`
is the RSRP of neighbour 2, `NRxLev2` too.
"""

import re
from dataclasses import dataclass

REPORT_QUANTITIES = (
    "time", "date", "latitude", "longitude", "x", "y", "accuracy", "age", "device",
)  # fmt: skip
CELL_QUANTITIES = (
    "cell", "global_id", "cell_id", "node", "pci", "arfcn", "frequency", "mcc", "mnc", "technology", "serving", "beam",
    "rsrp", "rsrq", "sinr", "rssi", "toa", "timing_advance", "aoa_deg",
)  # fmt: skip

# Whole names, without separators, units and indices.
REPORT_NAMES = {
    "time": "time timestamp datetime dateandtime dateandtimeutc utc utctime timeutc uetime gpstime "
    "epoch epochtime unixtime logtime recordtime devicetime measuredat ts timems timestampms systemtime "
    "pctime timemillis elapsedtime recordedat",
    "date": "date day utcdate",
    "x": "x east easting xm eastm",
    "y": "y north northing ym northm",
    "accuracy": "accuracy horizontalaccuracy accuracym gpsaccuracy positionaccuracy locationaccuracy hacc gpsacc "
    "accuracymeters posaccuracy horizontalaccuracymeters epe",
    "age": "positionage locationage agems gpsage fixage",
    "device": "device deviceid imei imsi phone ueid equipment ms deviceuuid sessionid devicename devicemodel",
}  # fmt: skip
CELL_NAMES = {
    "cell": "cell cellname cellindex ncellname",
    "global_id": "ecgi ncgi cgi globalcellid cellglobalid",
    "cell_id": "cellid ncellid ci cid eci nci cellidentity eutrancellid nrcellid nrci lteci "
    "ecellid cellidfull longcid fullcellid utrancellid nrcellidentity ltecellidentity eutrancellidentity",
    "node": "node enb enbid enodeb enodebid gnb gnbid gnodeb gnodebid enbidentity",
    "pci": "pci pcid psc physicalcellid physicalcellidentity physcellid phycellid phycell ncell nrpci ltepci "
    "primaryscramblingcode scramblingcode physicallayercellid bsic",
    "arfcn": "earfcn arfcn nrarfcn uarfcn narfcn earfcndl dlearfcn dlarfcn arfcndl earfcnnumber "
    "channelnumber dlchannel nrarfcndl dlnrarfcn lteearfcn ssbarfcn ssbnrarfcn channel",
    "frequency": "frequency freq frequencymhz freqmhz mhz carrierfrequency centerfrequency centrefrequency dlfrequency "
    "dlfreq channelfrequency ssbfrequency nrfrequency ltefrequency",
    "mcc": "mcc mobilecountrycode",
    "mnc": "mnc mobilenetworkcode",
    "technology": "technology networktech tech ntech rat radiotype radio act networktype system accesstechnology "
    "celltype radiotechnology networktechnology nettype type",
    "serving": "serving registered isregistered isserving connected isprimary servingflag primaryserving",
    "beam": "beam beamid beamindex ssbindex ssbid ssbbeamindex",
    "rsrp": "rsrp rsrpdbm ssrsrp csirsrp nrsrp rscp rxlev nrxlev level dbm signalstrength signal signaldbm signallevel "
    "ltersrp nrrsrp nrssrsrp leveldbm ssrsrpdbm srsrp powerdbm nlevel",
    "rsrq": "rsrq ssrsrq nrsrq srq qual nqual ltersrq nrrsrq csirsrq ecno ecio nrssrsrq rxqual",
    "sinr": "sinr sssinr snr rssnr rssinr csisinr nrsinr ltesnr ltesinr nrsssinr",
    "rssi": "rssi lterssi nrrssi nrssi",
    "toa": "toa timeofflight",
    "timing_advance": "ta timingadvance nta",
    "aoa_deg": "aoadeg aoa",
}  # fmt: skip
TECHNOLOGY_WORDS = {"lte": "lte", "eutra": "lte", "nr": "nr", "ss": "nr", "csi": "nr", "gsm": "gsm", "wcdma": "umts"}
TECHNOLOGY_WORDS |= {"umts": "umts", "nbiot": "nb_iot", "nb": "nb_iot"}
ROLE_WORDS = {"serving": "serving", "pcell": "serving", "primary": "serving", "scell": "secondary"}
ROLE_WORDS |= dict.fromkeys(("neighbor", "neighbour", "neighbors", "neighbours", "nbr", "neigh", "ncell"), "neighbour")
ROLE_WORDS |= dict.fromkeys(("detected", "listed", "monitored"), "neighbour")
# Words beside the quantity that change nothing about it.
NOISE_WORDS = {
    "cell", "cells", "all", "rf", "kpi", "measured", "meas", "measurement", "inst", "instantaneous", "filtered",
    "avg", "average", "mean", "value", "result", "info", "top", "dl", "downlink", "signal", "strength", "my",
    "current", "report", "ue", "mode", "active", "set", "e", "utra", "scan", "scanner", "radio", "mhz",
    "ghz", "khz", "hz",
}  # fmt: skip
POSITION_WORDS = {
    "gps", "gnss", "phone", "ue", "device", "user", "position", "pos", "location", "loc", "decimal", "degree",
    "degrees", "deg", "wgs", "all", "my", "current", "geo", "coordinates", "coordinate", "fix", "start",
}  # fmt: skip
ANTENNA_WORDS = {
    "rx", "ant", "antenna", "port", "branch", "diff", "delta", "offset", "min", "max", "std", "count", "ul",
}  # fmt: skip
NEIGHBOUR_PREFIX = "n"  # of G-NetTrack's columns: NRxLev1, NARFCN1, NQual1
INDEX_WORDS = {"index", "idx", "asu"}
NR_NAMES = {name for names in CELL_NAMES.values() for name in names.split() if name.startswith("nr")} - {"nrxlev"}

_REPORT = {name: quantity for quantity, names in REPORT_NAMES.items() for name in names.split()}
_CELL = {name: quantity for quantity, names in CELL_NAMES.items() for name in names.split()}
_ROLES = "|".join(ROLE_WORDS)
_UNIT = re.compile(rf"[\[({{](?!\s*(?:{_ROLES}))\s*[^\d\[\](){{}}][^\[\](){{}}]*[\])}}]", re.IGNORECASE)
_OTHER_ADVANCE = re.compile(r"[\[({]\s*(k?m|[munµμ]?s|ts)\s*[\])}]", re.IGNORECASE)  # no steps: metres, times
_WORDS = re.compile(r"[A-Za-zÀ-ÿ]+|\d+")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})")


@dataclass(frozen=True)
class ColumnMeaning:
    """What one column holds."""

    quantity: str
    """one of `REPORT_QUANTITIES` or `CELL_QUANTITIES`"""
    role: str = ""
    """of the cell: serving, secondary, neighbour, or none said"""
    index: int | None = None
    """number of the cell among those of its role"""
    technology: str = ""
    """as the name says: lte, nr, …"""
    is_level_index: bool = False
    """whether the name says that the values are indices of a reporting table instead of dBm"""

    @property
    def group(self) -> tuple[str, int | None, str]:
        """Columns with the same role, index and technology describe one cell."""
        return self.role, self.index, self.technology


def meaning_of(name: str) -> ColumnMeaning | None:
    """What a column of this name holds; None for a name that is not in the dictionary.

    Example:
        >>> from uel.measurement.logs.formats.column_names import meaning_of
        >>> meaning = meaning_of("Neighbor Cell RSRP (dBm)[2]")
        >>> meaning.quantity, meaning.role, meaning.index
        ('rsrp', 'neighbour', 2)
        >>> meaning_of("battery") is None
        True
    """
    words = _words(name)
    letters = [word for word in words if not word.isdigit()]
    numbers = [int(word) for word in words if word.isdigit()]
    if not letters or len(numbers) > 1:
        return None
    index = numbers[0] if numbers else None
    if index is None and (quantity := _report_quantity(letters)):
        return ColumnMeaning(quantity)
    meaning = _cell_meaning(letters, index)
    is_other = meaning is not None and meaning.quantity == "timing_advance" and _OTHER_ADVANCE.search(name)
    return None if is_other else meaning


def _words(name: str) -> list[str]:
    """Lower-case words and numbers of a name, without units in brackets."""
    text = re.sub(r"(?i)\bnr5g\b|\b5g([ _-]?nr)?\b", " nr ", _UNIT.sub(" ", name))
    text = re.sub(r"(?i)\b4g\b", " lte ", text)
    text = re.sub(r"(?i)\bnb[-_ ]iot\b", " nbiot ", text)
    words = [word.lower() for word in _WORDS.findall(_CAMEL_CASE.sub(" ", text))]
    return words[1:] if words[:1] == ["m"] else words  # Android's own fields: mPci, mRsrp


def _report_quantity(letters: list[str]) -> str | None:
    for quantity, words in (("latitude", {"lat", "latitude"}), ("longitude", {"lon", "lng", "long", "longitude"})):
        if sum(word in words for word in letters) == 1 and set(letters) - words <= POSITION_WORDS:
            return quantity
    return _REPORT.get("".join(letters))


def _cell_meaning(letters: list[str], index: int | None) -> ColumnMeaning | None:
    if set(letters) & ANTENNA_WORDS and "".join(letters) not in _CELL:
        return None
    technology = next((TECHNOLOGY_WORDS[word] for word in letters if word in TECHNOLOGY_WORDS), "")
    is_index = bool(set(letters) & INDEX_WORDS)
    role = next((ROLE_WORDS[word] for word in letters if word in ROLE_WORDS), "")
    for words, found_role in ((letters, ""), ([word for word in letters if word not in ROLE_WORDS], role)):
        for joined in _spellings(words):
            if quantity := _CELL.get(joined):
                is_neighbour = index is not None and joined[0] == NEIGHBOUR_PREFIX and joined not in NR_NAMES
                found_role = found_role or ("neighbour" if is_neighbour else "")
                return ColumnMeaning(quantity, found_role, index, technology, is_index and quantity == "rsrp")
    return None


def _spellings(words: list[str]) -> list[str]:
    """The words joined, with fewer and fewer of those that change nothing."""
    spellings = []
    for kept in (words, [word for word in words if word not in TECHNOLOGY_WORDS]):
        for dropped in (set(), NOISE_WORDS - {"cell"}, NOISE_WORDS, NOISE_WORDS | INDEX_WORDS):
            spellings.append("".join(word for word in kept if word not in dropped))
    return [spelling for spelling in spellings if spelling]
