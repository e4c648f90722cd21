"""Measurements that are set aside: by which rule, from which row, with which value."""

import csv
import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uel.core.io import staged_file
from uel.errors import UelError

log = logging.getLogger(__name__)

MAX_MISFIT_FRACTION = 0.5  # of a log's rows; with more, the columns, the cells or the tile are wrong
# Rules that say that the log was read wrongly or is of another place, where they hold for most rows.
MISFIT_RULES = {
    "no record", "too many fields", "no number", "no position", "off the tile", "level out of range", "contradiction",
    "unknown cell",
}  # fmt: skip
INDEX_HINT = "levels from 0 to 127 are indices of a reporting table (--columns.level-unit) or lack their sign"


@dataclass(frozen=True)
class Rejection:
    """One measurement that is set aside."""

    row: int
    """of the log; the first below the header is 1"""
    rule: str
    value: str
    """the value that broke the rule, and what it should have been"""

    @property
    def reason(self) -> str:
        return f"{self.rule}: {self.value}"


class Rejections:
    """Counts what is set aside by rule, and writes it to a table or keeps it.

    Args:
        file: table to write (`rejected.csv`); None: keep the rejections in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, Rejection] = {}
        self.kept: list[Rejection] = []
        self.looks_like_index = 0
        """number of levels out of range that could be indices"""
        self._file = file
        self._writer: Any = None
        self._open_file = ExitStack()

    def __enter__(self) -> "Rejections":
        return self

    def _open(self, file: Path) -> Any:
        staged = self._open_file.enter_context(staged_file(file))
        writer = csv.writer(self._open_file.enter_context(staged.open("w", encoding="utf-8", newline="")))
        writer.writerow(("row", "rule", "value"))
        return writer

    def __exit__(self, *error: Any) -> None:
        if self._file is not None and self._file.is_file() and self._writer is None:
            self._writer = self._open(self._file)  # an older table would be taken for this one
        is_mistake = isinstance(error[1], UelError)  # of the log: then the table says where
        self._open_file.__exit__(*((None, None, None) if is_mistake else error))
        self._writer = None

    def add(self, rejection: Rejection) -> None:
        """Set a measurement aside."""
        self.counts[rejection.rule] += 1
        self.examples.setdefault(rejection.rule, rejection)
        if self._file is None:
            self.kept.append(rejection)
            return
        self._writer = self._writer or self._open(self._file)
        self._writer.writerow((rejection.row, rejection.rule, rejection.value))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def summary(self) -> str:
        """The rules with their counts and one example each."""
        rules = self.counts.most_common()
        return ", ".join(f"{count} × {rule} (row {(e := self.examples[rule]).row}: {e.value})" for rule, count in rules)

    def require_fit(self, measurements: int, used: int, file: Path, hears_others: bool) -> None:
        """Raise `UelError` where no measurement of a log is used, or most do not fit this tile.

        With `hears_others` unknown cells are no misfits: a phone hears cells beyond the tile.
        """
        rules = MISFIT_RULES - ({"unknown cell"} if hears_others else set())
        misfits = sum(count for rule, count in self.counts.items() if rule in rules)
        if used and misfits <= MAX_MISFIT_FRACTION * measurements:
            return
        hint = f"; {INDEX_HINT}" if self.looks_like_index > measurements / 2 else ""
        got = f"{self.total} of {measurements} measurements cannot be used: {self.summary or 'it is empty'}"
        do = f"check --columns and the tile: its location, its sites, the identities of its cells{hint}"
        raise UelError(f"{file.name} does not fit this tile", got=got, do=do)

    def require_some(self, measurements: int, used: int, file: Path) -> None:
        """Raise `UelError` where no measurement of a log is used."""
        if not used:
            self.require_fit(measurements, used, file, hears_others=True)

    def report(self, measurements: int, where: Path | None) -> None:
        """Say how much was set aside."""
        if self.total:
            log.warning(
                "%d of %d measurements set aside: %s%s",
                self.total,
                measurements,
                self.summary,
                f"; see {where}" if where else "",
            )


def write_rejections(rejections: Rejections, file: Path) -> None:
    """Write rejections that are kept in memory as a table, in the order of their rows."""
    with Rejections(file) as written:
        for rejection in sorted(rejections.kept, key=lambda rejection: rejection.row):
            written.add(rejection)
