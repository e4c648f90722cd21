"""Drive tests: reports with positions, read from a log of any format; every row is accounted for."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.positions import reliable_labels
from uel.measurement.logs.rules.rejections import Rejections, write_rejections
from uel.measurement.reports import Reports
from uel.radio.sites import Site


@dataclass(frozen=True, eq=False, repr=False)
class Drive(ShortRepr):
    """Reports with the positions where they were made."""

    position: Float[Tensor, "report 2"]
    """m, east and north of the tile's centre"""
    reports: Reports
    rejected: tuple[tuple[int, str], ...] = ()
    """(row number, "rule: value") of what is not used; the first row is 1"""
    merged: int = 0
    """number of rows that repeat the report and cell of another row"""

    def __len__(self) -> int:
        return len(self.position)

    def select(self, chosen: Tensor) -> "Drive":
        """A subset of the reports, by mask or index."""
        return Drive(self.position[chosen], self.reports[chosen], self.rejected, self.merged)

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Number of rejected rows by rule."""
        return dict(Counter(reason.partition(":")[0] for _, reason in self.rejected))


def read_drive_test(
    tile: Tile,
    file: Path,
    columns: ColumnConfig,
    rejected: Path | None = None,
    sites: tuple[Site, ...] | None = None,
    range_step: float | None = None,
) -> Drive:
    """Read labelled reports from a log of any format on a tile with sites, in the order of their first rows.

    A row that cannot be used is set aside by a rule: no number, a level out of its range, an unknown cell, a position
    off the tile, a contradiction; so is a report whose position is coarse, stale, frozen or far from the ones before.

    Args:
        tile: with the sites that the log heard.
        file: see `uel.measurement.logs.reader.open_log`.
        columns: names of columns and cells where they are not found by themselves, and limits of rules.
        rejected: table of what is set aside (`rejected.csv`); not written without one.
        sites: the network, in the order of every `cell` axis; the tile's own unless given.
        range_step: m, of a timing advance, see `uel.measurement.logs.reader.open_log`.

    Raises:
        UelError: for a file that cannot be read, missing columns, a number of cell names that differs from the tile's
            cells, degrees on a tile without a georeference, and when more than half of the rows, or all, do not fit:
            then the columns, the cells or the tile are wrong.
    """
    network = tile.sites if sites is None else sites
    with Rejections() as rejections, open_log(tile, network, file, columns, rejections, True, range_step) as log:
        parts = list(log.parts())
        count, hears_others = log.store.count, log.rules.matcher.knows_identities
        rejections.require_fit(count, log.used, file, hears_others)
    part = LogPart.cat(parts)
    kept = reliable_labels(part, columns, rejections)
    rejections.require_fit(count, int(kept.sum()), file, hears_others)
    if rejected is not None:
        write_rejections(rejections, rejected)
    rejections.report(count, rejected)
    reasons = tuple(sorted((rejection.row, rejection.reason) for rejection in rejections.kept))
    return Drive(part.position[kept], part.reports[kept], reasons, part.merged)


def block_index(position: Float[Tensor, "n 2"], side: float) -> Int[Tensor, " n"]:
    """Index of the square block of `side` metres in which each position lies."""
    index = (position / side).floor().long()
    return index[:, 0] * 65536 + index[:, 1]


def split_by_block(position: Float[Tensor, "n 2"], side: float, fraction: float, seed: int) -> Bool[Tensor, " n"]:
    """Mask of training positions: those in a `fraction` of the blocks, drawn with `seed`.

    Raises `UelError` when one side of the split would be empty.
    """
    blocks, block_of = torch.unique(block_index(position, side), return_inverse=True)
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed), device="cpu")
    count = round(fraction * len(blocks))
    if not 0 < count < len(blocks):
        got = f"{len(blocks)} blocks of {side:g} m, a fraction of {fraction:g}"
        raise UelError("one side of the split by blocks is empty", got=got, do="choose smaller blocks")
    chosen = torch.zeros(len(blocks), dtype=torch.bool, device="cpu")
    chosen[order[:count]] = True
    return chosen[block_of]
