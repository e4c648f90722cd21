"""Android's `CellInfo` as its `toString` prints it into logs: `CellInfoLte:{mRegistered=YES … rsrp=-80 …}`.

The names in these texts changed between versions of Android; what is read here is in all of them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

CELL_INFO_PATTERN = re.compile(r"CellInfo(Lte|Nr|Gsm|Wcdma|Tdscdma|Cdma)\s*:\s*\{")
FIELD_PATTERN = re.compile(r"(\w+)\s*=\s*([^\s,;{}\[\]]+)")
LOCATION_PATTERN = re.compile(
    r"Location\[\w+ (?P<latitude>-?\d+[.,]\d+),\s?(?P<longitude>-?\d+[.,]\d+)(?:.*?\bh?[aA]cc=(?P<accuracy>[\d.]+))?"
)
TIME_PATTERN = re.compile(
    r"(?:\d{4}[-/.])?\d{1,2}[-/.]\d{1,2}(?:[-/.]\d{2,4})?[T _]\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
    r"|\b1\d{9}(?:\d{3})?\b"
)
# Names in the texts, by what `uel.measurement.logs.formats.column_names` calls them; of several the first counts.
NAMES_BY_QUANTITY = {
    "registered": ("mRegistered",),
    "cell_id": ("mCi", "mNci", "mCid"),
    "pci": ("mPci", "mPsc", "mBsic"),
    "arfcn": ("mEarfcn", "mNrArfcn", "mUarfcn", "mArfcn"),
    "mcc": ("mMcc",),
    "mnc": ("mMnc",),
    "rsrp": ("rsrp", "ssRsrp", "rscp"),
    "rsrq": ("rsrq", "ssRsrq", "ecno"),
    "timing_advance": ("ta", "timingAdvance"),
}
LEVEL_OF_GSM = "rssi"
REGISTERED_TEXTS = ("YES", "TRUE")


def is_printed_cells(lines: Iterable[str]) -> bool:
    """Whether the first lines of a text hold printed cells, and are no JSON that quotes them."""
    return any(CELL_INFO_PATTERN.search(line) and not line.lstrip().startswith(('{"', '[{"')) for line in lines)


def cells_of_text(text: str) -> list[dict[str, str]]:
    """The cells that a text prints, by the quantities of `NAMES_BY_QUANTITY`, with `technology`.

    Cells without a level are left out.

    Example:
        >>> from uel.measurement.logs.formats.cell_info_texts import cells_of_text
        >>> cells_of_text("[CellInfoLte:{mRegistered=YES CellIdentityLte:{ mPci=101 mEarfcn=1300 } rsrp=-80 level=4 }]")
        [{'technology': 'lte', 'registered': 'YES', 'pci': '101', 'arfcn': '1300', 'rsrp': '-80'}]
    """
    starts = list(CELL_INFO_PATTERN.finditer(text))
    ends = [*(match.start() for match in starts[1:]), len(text)]
    cells = [_cell(match.group(1).lower(), text[match.end() : end]) for match, end in zip(starts, ends, strict=True)]
    return [cell for cell in cells if "rsrp" in cell]


def _cell(technology: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in FIELD_PATTERN.findall(text):
        found.setdefault(name, value)
    names = {**NAMES_BY_QUANTITY, "rsrp": (LEVEL_OF_GSM,)} if technology == "gsm" else NAMES_BY_QUANTITY
    values = {own: next((found[name] for name in some if name in found), None) for own, some in names.items()}
    return {"technology": technology} | {name: value for name, value in values.items() if value is not None}


def printed_cell_records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One record for each report: a line with all cells, or lines with a cell each.

    A record has the time of its line, and the place that Android's `Location` printed last, on that line or before.
    Lines with one cell belong together while time and place stay, up to the next registered cell where there is no
    time.
    """
    place, head, cells, was_alone = dict[str, str](), dict[str, str](), list[dict[str, str]](), False
    for line in lines:
        if located := LOCATION_PATTERN.search(line):
            place = {name: value for name, value in located.groupdict().items() if value is not None}
        if not (start := CELL_INFO_PATTERN.search(line)):
            continue
        moment, found = TIME_PATTERN.search(line[: start.start()]), cells_of_text(line)
        new_head, is_alone = ({"time": moment.group()} if moment else {}) | place, len(found) == 1
        is_next_report = moment is None and is_alone and found[0].get("registered", "").upper() in REGISTERED_TEXTS
        if cells and not (is_alone and was_alone and new_head == head and not is_next_report):
            yield {**head, "cells": cells}
            cells = []
        head, cells, was_alone = new_head, [*cells, *found], is_alone
    if cells:
        yield {**head, "cells": cells}
