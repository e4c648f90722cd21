"""Which columns of a table make one measurement: long tables (a row a cell) and wide ones (a row a report)."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.formats.column_names import REPORT_QUANTITIES, ColumnMeaning, meaning_of

IDENTITY_QUANTITIES = ("cell", "global_id", "cell_id", "pci")
OTHER_LEVELS = {"rssi": "RSSI", "rsrq": "RSRQ", "sinr": "SINR"}


@dataclass(frozen=True)
class CellColumns:
    """The columns of one cell of each row: number of the column by quantity."""

    columns: dict[str, int]
    technology: str = ""
    is_level_index: bool = False
    fixed: dict[str, str] = field(default_factory=dict)
    """identity by quantity, where the column's own name says it"""
    is_serving: bool = False


@dataclass(frozen=True)
class Layout:
    """Numbers of a table's columns by what they hold."""

    report: dict[str, int]
    """of the report: time, position, …"""
    cells: tuple[CellColumns, ...]
    """one in a long table; in a wide one each makes a measurement of every row"""
    group: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()
    """names of columns that are not used"""
    is_wide: bool = False
    is_numbered: bool = False
    """whether cells are told by nothing but the numbers of their columns"""


@dataclass
class _Columns:
    """Columns found so far."""

    report: dict[str, int] = field(default_factory=dict)
    groups: dict[tuple, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    meanings: dict[int, ColumnMeaning] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def known_names(names: Sequence[str], columns: ColumnConfig) -> int:
    """Number of names that are in the dictionary or that the config gives; 0 where the config's are not all there."""
    given = {*columns.named.values(), *columns.group}
    meant = sum(name in given or name in columns.cells or meaning_of(name) is not None for name in names)
    return meant if given & set(names) or meant > 1 else 0


def layout_of(names: Sequence[str], columns: ColumnConfig, file: str, cell_count: int) -> Layout:
    """The layout of a table with these column names, for a network of `cell_count` cells.

    Raises `UelError` for named columns that are missing, two columns that mean the same, and a table without levels,
    or without a word on whose levels they are.
    """
    named = columns.named
    missing = [name for name in (*named.values(), *columns.group) if name not in names]
    if missing:
        do = f"name the columns by --columns.…; the file has {', '.join(names) or 'none'}"
        raise UelError(f"{file} has no such column", got=", ".join(missing), do=do)
    chosen = [name for name in names if name in {*columns.cells, *columns.group}]
    if len(set(chosen)) < len(chosen):
        twice = next(name for number, name in enumerate(chosen) if name in chosen[:number])
        raise UelError(f"{file} has two columns of one name", got=repr(twice), do="remove or rename one of them")
    found = _sorted_columns(names, columns)
    group = tuple(names.index(name) for name in columns.group)
    cells = _cell_columns(names, columns, found, file, cell_count)
    is_numbered = len(cells) > 1 and not columns.cells and all("cell" in cell.fixed for cell in cells)
    return Layout(found.report, cells, group, tuple(found.unknown), len(cells) > 1, is_numbered)


def _sorted_columns(names: Sequence[str], columns: ColumnConfig) -> _Columns:
    """Columns by meaning; those that the config names come before those that the dictionary knows."""
    found, named = _Columns(), columns.named
    by_name = {name: quantity for quantity, name in named.items()}
    metres = {"x", "y"} <= named.keys()
    for number, name in enumerate(names):
        meaning = ColumnMeaning(by_name[name]) if name in by_name else meaning_of(name)
        if name in columns.cells and name not in by_name:
            found.groups["", name, ""] = {"rsrp": number}
        elif meaning is None or (name not in by_name and _is_replaced(meaning, named, metres)):
            found.unknown += [name] if name not in columns.group else []
        elif meaning.quantity in REPORT_QUANTITIES:
            _put(found.report, meaning.quantity, number, names)
        else:
            _put(found.groups[meaning.group], meaning.quantity, number, names)
            found.meanings[number] = meaning
    return found


def _is_replaced(meaning: ColumnMeaning, named: dict[str, str], metres: bool) -> bool:
    """Whether a column is not looked at, because the config names another one for the same."""
    if metres and meaning.quantity in ("latitude", "longitude"):
        return True
    identities = [quantity for quantity in IDENTITY_QUANTITIES if quantity in named]
    if identities and meaning.quantity in IDENTITY_QUANTITIES:
        return True
    return meaning.quantity in named


def _put(columns: dict[str, int], quantity: str, number: int, names: Sequence[str]) -> None:
    if quantity in columns:
        got = f"{names[columns[quantity]]!r} and {names[number]!r}"
        option = {"rsrp": "level"}.get(quantity, quantity)
        raise UelError(f"two columns mean the {quantity} of a report", got=got, do=f"name one: --columns.{option}")
    columns[quantity] = number


def _cell_columns(
    names: Sequence[str], columns: ColumnConfig, found: _Columns, file: str, cell_count: int
) -> tuple[CellColumns, ...]:
    groups = _with_shared_identities(found.groups)
    levels = {key: group for key, group in groups.items() if "rsrp" in group}
    if not levels:
        others = [names[group[q]] for group in groups.values() for q in OTHER_LEVELS if q in group]
        got = f"{', '.join(others)}: another quantity" if others else ", ".join(names)
        do = "name the column of RSRP in dBm: --columns.level NAME"
        raise UelError(f"{file} has no column of RSRP", got=got, do=do)
    identified = {key: group for key, group in levels.items() if any(q in group for q in IDENTITY_QUANTITIES)}
    if not identified:
        return _named_by_header(names, columns, levels, file, cell_count)
    # An unidentified level beside identified ones is a total of the row, not a cell's.
    found.unknown += [names[group["rsrp"]] for key, group in levels.items() if key not in identified]
    return tuple(
        CellColumns(
            group,
            technology=str(key[2]),
            is_level_index=found.meanings[group["rsrp"]].is_level_index,
            is_serving=key[0] == "serving",
        )
        for key, group in identified.items()
    )


def _with_shared_identities(groups: dict[tuple, dict[str, int]]) -> dict[tuple, dict[str, int]]:
    """Groups that differ only in that one says its technology, are one where that leaves no doubt."""
    merged = {key: dict(group) for key, group in groups.items()}
    for role, index, technology in [key for key in groups if not key[2]]:
        plain = merged[role, index, technology]
        others = [key for key in merged if key[:2] == (role, index) and key[2] and "rsrp" in merged[key]]
        if "rsrp" not in plain and len(others) == 1:
            merged[others[0]] = {**plain, **merged[others[0]]}
        elif "rsrp" in plain:
            for other in [key for key in merged if key[:2] == (role, index) and key[2] and "rsrp" not in merged[key]]:
                if not set(merged[other]) & set(plain):
                    plain |= merged[other]
    return merged


def _named_by_header(
    names: Sequence[str], columns: ColumnConfig, levels: dict[tuple, dict[str, int]], file: str, cell_count: int
) -> tuple[CellColumns, ...]:
    """Columns of levels that say by their own names whose they are: the cell's name, or its number from 0 or 1."""
    if columns.level or (len(levels) == 1 and not columns.cells and cell_count > 1):
        do = "name its column (--columns.cell, .pci or .cell-id): a row of a long table is one level of one cell"
        raise UelError(f"{file} does not say whose level a row is", got=", ".join(names), do=do)
    by_cell = {str(key[1]): group for key, group in levels.items()}
    if columns.cells and set(by_cell) <= set(columns.cells):
        return tuple(CellColumns(group, fixed={"cell": name}) for name, group in by_cell.items())
    numbers = sorted(int(name) for name in by_cell if re.fullmatch(r"\d+", name))
    if len(numbers) == len(by_cell) and numbers[0] > 1:
        return tuple(CellColumns(group, fixed={"pci": name}) for name, group in by_cell.items())
    if numbers in (list(range(cell_count)), list(range(1, cell_count + 1))) and len(by_cell) == cell_count:
        first = numbers[0]
        return tuple(CellColumns(group, fixed={"cell": str(int(name) - first)}) for name, group in by_cell.items())
    got = f"{', '.join(names[group['rsrp']] for group in levels.values())}; the tile has {cell_count} cells"
    do = "name the columns by the tile's cells in its order (--columns.cells), or give a row for each level of a cell"
    raise UelError(f"{file} does not say whose levels its columns hold", got=got, do=do)
