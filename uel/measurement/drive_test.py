"""Drive tests: reports with positions, read from a table with any column names; every row is accounted for."""

import csv
import gzip
import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.columns import ColumnConfig
from uel.measurement.reports import Reports
from uel.radio.sites import cells_of

MAX_REJECTED_FRACTION = 0.5  # fraction of rows; with more, the column names or the tile are wrong


@dataclass(frozen=True, eq=False)
class Drive:
    """Reports with the positions where they were made."""

    position: Float[Tensor, "report 2"]
    """m, east and north of the tile's centre"""
    reports: Reports
    rejected: tuple[tuple[int, str], ...] = ()
    """(row number, reason) of table rows that are not used; the first row is 1"""
    merged: int = 0
    """number of rows that repeat the report and cell of another row"""

    def __len__(self) -> int:
        return len(self.position)

    def select(self, chosen: Tensor) -> "Drive":
        """A subset of the reports, by mask or index."""
        return Drive(self.position[chosen], self.reports[chosen], self.rejected, self.merged)

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Number of rejected rows by reason."""
        return dict(Counter(reason.partition(":")[0] for _, reason in self.rejected))


@dataclass
class _ParsedRows:
    """Rows of a table: (row number, level, time of flight) by report and cell, and the rejected rows."""

    rows: dict[tuple, dict[int, list[tuple[int, float, float]]]] = field(default_factory=lambda: defaultdict(dict))
    rejected: list[tuple[int, str]] = field(default_factory=list)


def read_drive_test(tile: Tile, file: Path, columns: ColumnConfig) -> Drive:
    """Read reports from a table (.csv or .csv.gz) on a tile with sites, in the order of their first rows.

    Rows with equal position and `columns.group` are one report; of several rows for one cell it holds the median. A
    row that cannot be used (no number, off the tile, an unknown cell, a contradiction) is rejected with a reason.
    Raises `UelError` for a file that cannot be read, for missing columns, for a number of cell names that differs from
    the tile's cells, for degrees on a tile without a georeference, and when more than half of the rows, or all, would
    be rejected: then the columns, the cell names or the tile are wrong.
    """
    cells = _cell_numbers(tile, columns)
    parsed, count = _ParsedRows(), 0
    to_metres = _metres(tile, columns)
    for count, row in enumerate(_rows(file, columns), 1):
        _parse_row(parsed, count, row, columns, cells, to_metres, tile.size / 2)
    merged = _reject_contradictions(parsed, columns)
    _require_enough(parsed, count, file)
    keys = [key for key, cell_rows in parsed.rows.items() if cell_rows]
    return Drive(
        position=torch.tensor([key[:2] for key in keys], dtype=torch.float32),
        reports=_reports([parsed.rows[key] for key in keys], len(cells)),
        rejected=tuple(sorted(parsed.rejected)),
        merged=merged,
    )


def _cell_numbers(tile: Tile, columns: ColumnConfig) -> dict[str, int]:
    """Index of each cell by its name."""
    count = len(cells_of(tile.sites))
    names = columns.cells or tuple(map(str, range(count)))
    if len(names) != count:
        got = f"{len(names)} names ({', '.join(names)}), {count} cells on the tile"
        raise UelError("every cell of the tile needs a name", got=got, do="give --columns.cells in the tile's order")
    return {name: number for number, name in enumerate(names)}


def _rows(file: Path, columns: ColumnConfig) -> Iterator[Mapping[str, str]]:
    """Rows of a table, after a check that its header has the columns."""
    try:
        content = file.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
        header = [name.strip() for name in reader.fieldnames or []]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UelError(
            "the table of measurements cannot be read", got=f"{file}: {error}", do="give a .csv file"
        ) from error
    reader.fieldnames = header
    required = [
        *columns.position_columns,
        columns.cell,
        columns.level,
        *columns.group,
        *([columns.toa] if columns.toa else []),
    ]
    if missing := [name for name in required if name not in header]:
        do = f"name the columns by --columns.…; the file has {', '.join(header) or 'none'}"
        raise UelError(f"{file.name} has no such column", got=", ".join(missing), do=do)
    yield from reader


def _metres(tile: Tile, columns: ColumnConfig) -> Callable[[float, float], tuple[float, float]]:
    """Function from the two position columns to metres on the tile."""
    if columns.x:
        return lambda x, y: (x, y)
    if not tile.meta.get("crs"):
        do = "name columns in metres instead: --columns.x, --columns.y"
        raise UelError(f"tile {tile.name} has no georeference", got="latitude and longitude", do=do)
    from pyproj import Transformer

    to_metres = Transformer.from_crs("EPSG:4326", tile.meta["crs"], always_xy=True)
    east, north = tile.meta["origin"]

    def on_tile(longitude: float, latitude: float) -> tuple[float, float]:
        x, y = to_metres.transform(longitude, latitude)
        return x - east, y - north

    return on_tile


def _parse_row(
    parsed: _ParsedRows,
    number: int,
    row: Mapping[str, str],
    columns: ColumnConfig,
    cells: Mapping[str, int],
    to_metres: Callable[[float, float], tuple[float, float]],
    half: float,
) -> None:
    """Add a row to its report, or reject it."""
    try:
        a, b, level = (float(row[name]) for name in (*columns.position_columns, columns.level))
        toa = float(row[columns.toa]) if columns.toa and row[columns.toa].strip() else math.nan
    except (TypeError, ValueError) as error:
        parsed.rejected.append((number, f"no number: {error}"))
        return
    cell = cells.get((row[columns.cell] or "").strip())
    if not all(map(math.isfinite, (a, b, level))):
        parsed.rejected.append((number, f"no number: {a}, {b}, {level}"))
    elif cell is None:
        parsed.rejected.append((number, f"unknown cell: {row[columns.cell]!r}"))
    elif max(map(abs, (position := to_metres(a, b)))) > half or not all(map(math.isfinite, position)):
        parsed.rejected.append(
            (number, f"off the tile: {position[0]:.0f} m east, {position[1]:.0f} m north of its centre")
        )
    else:
        key = (*position, *(row[name] for name in columns.group))
        parsed.rows[key].setdefault(cell, []).append((number, level, toa))


def _reject_contradictions(parsed: _ParsedRows, columns: ColumnConfig) -> int:
    """Reject contradicting rows; returns the number of rows that repeat another one."""
    merged = 0
    for cell_rows in parsed.rows.values():
        for cell, rows in list(cell_rows.items()):
            levels = [level for _, level, _ in rows]
            if max(levels) - min(levels) > columns.contradiction_db:
                reason = f"contradiction: {min(levels):g} and {max(levels):g} dBm of one cell in one report"
                parsed.rejected += [(number, reason) for number, *_ in cell_rows.pop(cell)]
            else:
                merged += len(rows) - 1
    return merged


def _require_enough(parsed: _ParsedRows, count: int, file: Path) -> None:
    rejected = len(parsed.rejected)
    if count == 0 or rejected == count or rejected > MAX_REJECTED_FRACTION * count:
        reasons = Counter(reason.partition(":")[0] for _, reason in parsed.rejected).most_common()
        examples = "; ".join(f"row {number}: {reason}" for number, reason in sorted(parsed.rejected)[:2])
        counts = ", ".join(f"{n} × {reason}" for reason, n in reasons)
        raise UelError(
            f"{file.name} does not fit this tile",
            got=f"{rejected} of {count} rows cannot be used ({counts or 'it is empty'}) {examples}",
            do="check --columns and the tile: its location, its sites, the names of its cells",
        )


def _reports(report_rows: Sequence[Mapping[int, list[tuple[int, float, float]]]], cells: int) -> Reports:
    level, toa = (torch.full((len(report_rows), cells), torch.nan) for _ in range(2))
    for number, cell_rows in enumerate(report_rows):
        for cell, rows in cell_rows.items():
            level[number, cell] = _median([value for _, value, _ in rows])
            toa[number, cell] = _median([value for *_, value in rows if not math.isnan(value)])
    return reports_from_levels(level, toa)


def reports_from_levels(
    level: Float[Tensor, "report cell"], toa: Float[Tensor, "report cell"] | None = None
) -> Reports:
    """Reports from levels (dBm) and times of flight (s); NaN marks a value that was not reported."""
    heard = ~level.isnan()
    zero = torch.zeros(len(level))
    toa = torch.full_like(level, torch.nan) if toa is None else toa
    return Reports(
        rsrp_dbm=level.nan_to_num(),
        heard=heard,
        serving=torch.where(heard, level, -torch.inf).argmax(-1),
        timing_advance=zero,
        has_timing_advance=zero.bool(),
        azimuth_deg=zero,
        has_azimuth=zero.bool(),
        toa=toa.nan_to_num(),
        has_toa=heard & ~toa.isnan(),
    )


def _median(values: Sequence[float]) -> float:
    """Middle value, or the mean of the middle two; NaN for no values."""
    ordered, middle = sorted(values), len(values) // 2
    if not ordered:
        return math.nan
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def block_index(position: Float[Tensor, "n 2"], side: float) -> Int[Tensor, " n"]:
    """Index of the square block of `side` metres in which each position lies."""
    index = (position / side).floor().long()
    return index[:, 0] * 65536 + index[:, 1]


def split_by_block(position: Float[Tensor, "n 2"], side: float, fraction: float, seed: int) -> Bool[Tensor, " n"]:
    """Mask of training positions: those in a `fraction` of the blocks, drawn with `seed`.

    Raises `UelError` when one side of the split would be empty.
    """
    blocks, block_of = torch.unique(block_index(position, side), return_inverse=True)
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))
    count = round(fraction * len(blocks))
    if not 0 < count < len(blocks):
        got = f"{len(blocks)} blocks of {side:g} m, a fraction of {fraction:g}"
        raise UelError("one side of the split by blocks is empty", got=got, do="choose smaller blocks")
    chosen = torch.zeros(len(blocks), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen[block_of]
