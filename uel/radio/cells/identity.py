"""Identities of cells: ECGI or NCI, PCI, carrier. No framework is imported here."""

import re
from dataclasses import dataclass
from typing import Any

from uel.errors import UelError
from uel.radio.carriers.bands import TECHNOLOGIES, Technology
from uel.radio.carriers.channel_numbers import downlink_frequency

MAX_PCI: dict[Technology, int] = {"nr": 1007, "lte": 503, "nb_iot": 503, "gsm": 63}
"""Greatest physical cell identity: TS 38.211, clause 7.4.2.1; TS 36.211, clauses 6.11 and 10.2.7; GSM's BSIC"""

# What phones and tools write where they know no identity: Android's UNAVAILABLE (32 and 64 bits), -1, and the
# greatest value of each field (ECI of 28 bits, NCI of 36 bits). 0 is a channel number and a PCI, but no cell identity.
ABSENT_NUMBERS = frozenset({-1, 2**31 - 1, 2**32 - 1, 2**63 - 1})
ABSENT_CELL_IDS = ABSENT_NUMBERS | {0, 2**28 - 1, 2**36 - 1}
ABSENT_WORDS = frozenset({"", "-", "--", "?", "nan", "none", "null", "na", "n/a", "unknown", "unavailable"})
MAX_LOCAL_CELL = 255  # of an eNodeB: its identity and that of the cell make the ECI (TS 36.300, clause 8.2)
_ROUNDED_NUMBER = re.compile(r"\d[.,]\d+[eE]\+?\d+")
_SEPARATORS = re.compile(r"[\s:/_.|-]+")


def is_absent(value: Any) -> bool:
    """Whether a value says that nothing is known: None, NaN, or one of `ABSENT_WORDS`."""
    if value is None or (isinstance(value, float) and value != value):
        return True
    return isinstance(value, str) and value.strip().lower() in ABSENT_WORDS


def normal_cell_id(value: Any) -> str | None:
    """A cell's global identity in one spelling; None where the value says that none is known.

    Numbers become digits, hexadecimal numbers (0x…) too. Parts of a written ECGI or NCGI are joined by a hyphen,
    without leading zeros in the last one: `262 01 0012345`, `262-01-12345` and `262/01/12345` are one identity.

    Raises:
        UelError: for a value that is no whole number and no text, for a negative number, and for one that a spreadsheet
            has rounded (2.6885E+07).

    Example:
        >>> from uel.radio.cells.identity import normal_cell_id
        >>> normal_cell_id(26885121), normal_cell_id("0x19A3C01"), normal_cell_id(2147483647)
        ('26885121', '26885121', None)
        >>> normal_cell_id("262:01:0012345")
        '262-01-12345'
    """
    if is_absent(value):
        return None
    number = _whole_number(value)
    if number is not None:
        if number in ABSENT_CELL_IDS:
            return None
        if number < 0:
            raise UelError("a cell identity is negative", got=value, do="give the ECI, NCI or ECGI as it is broadcast")
        return str(number)
    if not isinstance(value, str):
        raise UelError("a cell identity is neither a whole number nor a text", got=repr(value), do="give one of them")
    if _ROUNDED_NUMBER.fullmatch(value.strip()):
        do = "export the column of identities as text, with all digits"
        raise UelError("a cell identity has lost digits: a spreadsheet has rounded it", got=repr(value), do=do)
    parts = [part for part in _SEPARATORS.split(value.strip()) if part]
    last = _whole_number(parts[-1]) if parts else None
    if last is not None and last in ABSENT_CELL_IDS - {0}:
        return None
    return "-".join([*parts[:-1], parts[-1] if last is None else str(last)]).upper() or None


def with_node(cell_id: str, node: str) -> str:
    """The ECI of an eNodeB's identity and the number of its cell; any other identity as it is.

    Example:
        >>> from uel.radio.cells.identity import with_node
        >>> with_node("1", "105020"), with_node("26885121", "105020")
        ('26885121', '26885121')
    """
    if node.isdecimal() and cell_id.isdecimal() and int(node) and int(cell_id) <= MAX_LOCAL_CELL:
        return str(int(node) * (MAX_LOCAL_CELL + 1) + int(cell_id))
    return cell_id


def normal_number(value: Any, name: str, limit: int) -> int | None:
    """A PCI or a channel number as a whole number; None where the value says that none is known.

    Raises:
        UelError: for a value that is no whole number from 0 to `limit`; `name` says what it is.
    """
    if is_absent(value):
        return None
    number = _whole_number(value)
    if number in ABSENT_NUMBERS:
        return None
    if number is None or not 0 <= number <= limit:
        raise UelError(f"{name} is no whole number from 0 to {limit}", got=repr(value), do=f"correct {name}")
    return number


def _whole_number(value: Any) -> int | None:
    """A whole number from an int, a float or a text; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[+-]?\d+(\.0*)?", text):
            return int(text.partition(".")[0])
        return int(text, 16) if re.fullmatch(r"0[xX][0-9a-fA-F]+", text) else None
    if isinstance(value, bool):
        return None
    try:
        return int(value) if value == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class ObservedCell:
    """What a report or a drive test says about the identity of a cell. None: it does not say.

    Example:
        >>> from uel.radio.cells.identity import ObservedCell
        >>> ObservedCell.parse(pci="101", channel_number=1300, technology="lte")
        ObservedCell(cell_id=None, pci=101, frequency=1815000000.0, technology='lte')
    """

    cell_id: str | None = None
    """ECI, NCI, ECGI or NCGI as `normal_cell_id` spells it"""
    pci: int | None = None
    frequency: float | None = None
    """Hz, downlink"""
    technology: Technology | None = None

    @staticmethod
    def parse(
        cell_id: Any = None,
        pci: Any = None,
        channel_number: Any = None,
        frequency: float | None = None,
        technology: Technology | None = None,
    ) -> "ObservedCell":
        """An observed identity from raw values of a log; what phones write for "unknown" becomes None.

        A channel number without a `technology` is taken for an NR-ARFCN where no EARFCN is as large (above 70645), and
        else for an EARFCN, the number that logs hold most often; `frequency` in Hz counts only without one.

        Raises:
            UelError: for a value that is no identity: a PCI of 1200, a channel number that no band has.
        """
        number = normal_number(channel_number, "the channel number", 3_279_165)
        limit = MAX_PCI[technology] if technology else max(MAX_PCI.values())
        if number is not None:
            frequency = downlink_frequency(number, technology or ("nr" if number > 70_645 else "lte"))
        return ObservedCell(normal_cell_id(cell_id), normal_number(pci, "the PCI", limit), frequency, technology)

    @property
    def says_nothing(self) -> bool:
        """Whether neither a cell identity nor a PCI is known."""
        return self.cell_id is None and self.pci is None

    @property
    def label(self) -> str:
        """The identity in words."""
        parts = [
            *([f"cell_id {self.cell_id}"] if self.cell_id is not None else []),
            *([f"PCI {self.pci}"] if self.pci is not None else []),
            *([f"{self.frequency / 1e6:g} MHz"] if self.frequency is not None else []),
            *([self.technology] if self.technology else []),
        ]
        return ", ".join(parts) or "no identity"


def require_identity(cell_id: str | None, pci: int | None, technology: Technology) -> None:
    """Raise `UelError` for a cell's own identity that is none: see `normal_cell_id` and `MAX_PCI`."""
    if technology not in TECHNOLOGIES:
        raise UelError("unknown technology", got=repr(technology), do=f"choose {', '.join(TECHNOLOGIES)}")
    if cell_id is not None and cell_id != normal_cell_id(cell_id):
        raise UelError(
            "a cell_id is not in its normal spelling", got=repr(cell_id), do=f"write {normal_cell_id(cell_id)!r}"
        )
    if pci is not None and not 0 <= pci <= MAX_PCI[technology]:
        raise UelError(
            f"the PCI of a cell of technology {technology} is not 0 to {MAX_PCI[technology]}",
            got=pci,
            do="correct the PCI, or name the technology",
        )
