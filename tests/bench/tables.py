"""Rows in which two tables of evaluations differ: `python -m tests.bench.tables OLD/table.csv NEW/table.csv`.

Tables of version 0.1 are read by today's names. A row counts as different where a figure of it differs by more than a
thousandth; times are not compared. The exit status is 1 where rows differ or stand in one of the tables alone.
"""

import csv
import math
import sys
from pathlib import Path

from uel.deprecated_names import CONDITION_NAMES, METHOD_NAMES, TIER_NAMES
from uel.results.evaluation import EVALUATION_COLUMNS

IDENTITY = EVALUATION_COLUMNS[: EVALUATION_COLUMNS.index("method") + 1]
FIGURES = tuple(name for name in EVALUATION_COLUMNS if name not in (*IDENTITY, "cpu_ms"))
TOLERANCE = 1e-3  # relative
CODES = CONDITION_NAMES | TIER_NAMES

Row = dict[str, str]


def main(old_file: Path, new_file: Path) -> int:
    old, new = read_rows(old_file), read_rows(new_file)
    alone = [(key, "old") for key in old if key not in new] + [(key, "new") for key in new if key not in old]
    for key, where in alone:
        print(f"{' '.join(key)}: in the {where} table alone")
    different = 0
    for key in (key for key in old if key in new):
        changes = [
            f"{name} {old[key][name]} → {new[key][name]}"
            for name in FIGURES
            if not same(old[key][name], new[key][name])
        ]
        different += bool(changes)
        if changes:
            print(f"{' '.join(key)}: {', '.join(changes)}")
    print(f"{len(old.keys() & new.keys())} rows in both, {different} differ, {len(alone)} in one alone")
    return 1 if different or alone else 0


def read_rows(file: Path) -> dict[tuple[str, ...], Row]:
    """The rows of a table by condition and method, in today's names."""
    with file.open(newline="") as stream:
        rows = [{name: current(name, value) for name, value in row.items()} for row in csv.DictReader(stream)]
    return {tuple(row[name] for name in IDENTITY): row for row in rows}


def current(name: str, value: str) -> str:
    """The value of a column, by the names of today."""
    if name == "method":
        method, last = value.removesuffix("_last"), "_last" * value.endswith("_last")
        return METHOD_NAMES.get(method, method) + last
    return CODES.get(value, value) if name in ("tier", "map") else value


def same(old: str, new: str) -> bool:
    if not old or not new:
        return old == new
    return math.isclose(float(old), float(new), rel_tol=TOLERANCE, abs_tol=1e-9)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("give two tables: python -m tests.bench.tables OLD/table.csv NEW/table.csv")
    sys.exit(main(*map(Path, sys.argv[1:])))
