"""A drive test: what phones measured and where, read from a table of any columns, with every row accounted for."""

import csv
import gzip
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
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

MAX_REJECTED_FRACTION = 0.5  # of the rows; with more, the columns or the tile are the wrong ones


@dataclass(frozen=True, eq=False)
class Drive:
    """Reports with the places where they were made."""

    position: Float[Tensor, "report 2"]
    """m, east and north of the tile's centre"""
    reports: Reports
    rejected: tuple[tuple[int, str], ...] = ()
    """rows of the table (the first is 1) that are not used, and why"""
    merged: int = 0
    """rows that repeat another one's report and cell"""

    def __len__(self) -> int:
        return len(self.position)

    def select(self, chosen: Tensor) -> "Drive":
        """Some of the reports, by mask or index."""
        return Drive(self.position[chosen], self.reports[chosen], self.rejected, self.merged)

    @property
    def rejection_counts(self) -> dict[str, int]:
        """How many rows are not used, by what is wrong with them."""
        return dict(Counter(why.partition(":")[0] for _, why in self.rejected))


@dataclass
class _ParsedRows:
    """A table on its way to reports: levels and times of flight by report and cell, with their rows."""

    rows: dict[tuple, dict[int, list[tuple[int, float, float]]]] = field(default_factory=lambda: defaultdict(dict))
    rejected: list[tuple[int, str]] = field(default_factory=list)


def read_drive_test(tile: Tile, file: Path, columns: ColumnConfig) -> Drive:
    """Reports out of a table (.csv or .csv.gz) on a tile with masts, in the order of their first rows.

    Rows of one place and `columns.group` are one report; of several rows for one cell it holds the median. A row that
    cannot be used – no number, off the tile, of an unknown cell, contradicting another one – is put aside with its
    reason. Raises `UelError` for a file that cannot be read, for columns that it does not have, for cells that are
    not as many as the tile's, for degrees on a tile without a georeference, and when more than half of the rows, or
    all, would be put aside: then the columns, the names of the cells or the tile are wrong.
    """
    cells = _names(tile, columns)
    read, count = _ParsedRows(), 0
    places = _metres(tile, columns)
    for count, row in enumerate(_rows(file, columns), 1):
        _take(read, count, row, columns, cells, places, tile.size / 2)
    merged = _settle(read, columns)
    _require_enough(read, count, file)
    order = [key for key, said in read.rows.items() if said]
    return Drive(
        position=torch.tensor([key[:2] for key in order], dtype=torch.float32),
        reports=_reports([read.rows[key] for key in order], len(cells)),
        rejected=tuple(sorted(read.rejected)),
        merged=merged,
    )


def _names(tile: Tile, columns: ColumnConfig) -> dict[str, int]:
    """Number of each cell by its name."""
    count = len(cells_of(tile.sites))
    names = columns.cells or tuple(map(str, range(count)))
    if len(names) != count:
        got = f"{len(names)} names ({', '.join(names)}), {count} cells on the tile"
        raise UelError("every cell of the tile needs a name", got=got, do="give --columns.cells in the tile's order")
    return {name: number for number, name in enumerate(names)}


def _rows(file: Path, columns: ColumnConfig) -> Iterator[Mapping[str, str]]:
    """Rows of a table whose header has the columns."""
    try:
        content = file.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
        header = [name.strip() for name in reader.fieldnames or []]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UelError("these measurements cannot be read", got=f"{file}: {error}", do="give a .csv file") from error
    reader.fieldnames = header
    wanted = [
        *columns.position_columns,
        columns.cell,
        columns.level,
        *columns.group,
        *([columns.toa] if columns.toa else []),
    ]
    if missing := [name for name in wanted if name not in header]:
        do = f"name the columns by --columns.…; the file has {', '.join(header) or 'none'}"
        raise UelError(f"{file.name} has no such column", got=", ".join(missing), do=do)
    yield from reader


def _metres(tile: Tile, columns: ColumnConfig):
    """From the two columns of a place to metres on the tile."""
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


def _take(
    read: _ParsedRows, number: int, row: Mapping[str, str], columns: ColumnConfig, cells: Mapping, places, half: float
):
    """Put a row where it belongs, or aside."""
    try:
        a, b, level = (float(row[name]) for name in (*columns.position_columns, columns.level))
        toa = float(row[columns.toa]) if columns.toa and row[columns.toa].strip() else math.nan
    except (TypeError, ValueError) as error:
        read.rejected.append((number, f"no number: {error}"))
        return
    cell = cells.get((row[columns.cell] or "").strip())
    if not all(map(math.isfinite, (a, b, level))):
        read.rejected.append((number, f"no number: {a}, {b}, {level}"))
    elif cell is None:
        read.rejected.append((number, f"unknown cell: {row[columns.cell]!r}"))
    elif max(map(abs, (place := places(a, b)))) > half or not all(map(math.isfinite, place)):
        read.rejected.append((number, f"off the tile: {place[0]:.0f} m east, {place[1]:.0f} m north of its centre"))
    else:
        key = (*place, *(row[name] for name in columns.group))
        read.rows[key].setdefault(cell, []).append((number, level, toa))


def _settle(read: _ParsedRows, columns: ColumnConfig) -> int:
    """Put contradicting rows aside; returns how many rows repeat another one."""
    merged = 0
    for said in read.rows.values():
        for cell, several in list(said.items()):
            levels = [level for _, level, _ in several]
            if max(levels) - min(levels) > columns.contradiction_db:
                why = f"contradiction: {min(levels):g} and {max(levels):g} dBm of one cell in one report"
                read.rejected += [(number, why) for number, *_ in said.pop(cell)]
            else:
                merged += len(several) - 1
    return merged


def _require_enough(read: _ParsedRows, count: int, file: Path) -> None:
    rejected = len(read.rejected)
    if count == 0 or rejected == count or rejected > MAX_REJECTED_FRACTION * count:
        reasons = Counter(why.partition(":")[0] for _, why in read.rejected).most_common()
        first = "; ".join(f"row {number}: {why}" for number, why in sorted(read.rejected)[:2])
        said = ", ".join(f"{n} × {why}" for why, n in reasons)
        raise UelError(
            f"{file.name} does not fit this tile",
            got=f"{rejected} of {count} rows cannot be used ({said or 'it is empty'}) {first}",
            do="check --columns and the tile: its place, its masts, the names of its cells",
        )


def _reports(said: Sequence[Mapping[int, list[tuple[int, float, float]]]], cells: int) -> Reports:
    level, toa = torch.full((len(said), cells), torch.nan), torch.full((len(said), cells), torch.nan)
    for number, report in enumerate(said):
        for cell, several in report.items():
            level[number, cell] = _median([value for _, value, _ in several])
            toa[number, cell] = _median([value for *_, value in several if not math.isnan(value)])
    return reports_from_levels(level, toa)


def reports_from_levels(
    level: Float[Tensor, "report cell"], toa: Float[Tensor, "report cell"] | None = None
) -> Reports:
    """Reports of levels (dBm) and times of flight (s); NaN where a phone said none."""
    heard = ~level.isnan()
    none = torch.zeros(len(level))
    toa = torch.full_like(level, torch.nan) if toa is None else toa
    return Reports(
        rsrp_dbm=level.nan_to_num(),
        heard=heard,
        serving=torch.where(heard, level, -torch.inf).argmax(-1),
        timing_advance=none,
        has_timing_advance=none.bool(),
        azimuth_deg=none,
        has_azimuth=none.bool(),
        toa=toa.nan_to_num(),
        has_toa=heard & ~toa.isnan(),
    )


def _median(values: Sequence[float]) -> float:
    """Middle value, or the mean of the middle two; NaN of none."""
    ordered, middle = sorted(values), len(values) // 2
    if not ordered:
        return math.nan
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def block_index(position: Float[Tensor, "n 2"], side: float) -> Int[Tensor, " n"]:
    """Number of the square block of `side` metres in which each position lies."""
    index = (position / side).floor().long()
    return index[:, 0] * 65536 + index[:, 1]


def split_by_block(position: Float[Tensor, "n 2"], side: float, share: float, seed: int) -> Bool[Tensor, " n"]:
    """Which positions are to be learned from: those of a `share` of the blocks, drawn by `seed`.

    Raises `UelError` when one side of the split is empty.
    """
    own, where = torch.unique(block_index(position, side), return_inverse=True)
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
    count = round(share * len(own))
    if not 0 < count < len(own):
        got = f"{len(own)} blocks of {side:g} m, a share of {share:g}"
        raise UelError("blocks to learn from and blocks to judge by are needed", got=got, do="choose smaller blocks")
    chosen = torch.zeros(len(own), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen[where]
