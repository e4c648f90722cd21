"""The reports that are to be located, part by part: from a log of any format, or from the project's own JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from uel.core.outside.compression import open_unpacked
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement import report_io
from uel.measurement.drive_test import Drive, read_drive_test
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.radio.sites import Site

MAX_TRACK_REPORTS = 2000  # of one track: their rasters are in memory together


@dataclass(frozen=True, eq=False)
class ReportStream:
    """Open reports."""

    parts: Iterator[LogPart]
    count: int
    """number of reports, those that will be set aside included"""
    devices: int = 1
    cells_max: int | None = None
    """the most cells that a report of the log's first part lists; None for the project's own JSON, which follows the
    locator's rule"""

    def observation_model(self, model: ObservationModel, cells_max: int | None = None) -> ObservationModel:
        """A locator's `model` with as many cells in a full report as the log lists, or as many as are given.

        A cell that a full report leaves out may be as strong as the weakest one in it; in any other report it is below
        the sensitivity. A log of a serving cell and two neighbours, read as if eight cells fitted, makes fixes far too
        certain.
        """
        listed = model.cells_max if self.cells_max is None else max(self.cells_max, 1)
        return replace(model, cells_max=cells_max or min(model.cells_max, listed))


@contextmanager
def open_reports(
    tile: Tile,
    sites: tuple[Site, ...],
    file: Path,
    columns: ColumnConfig,
    rejections: Rejections,
    range_step: float | None = None,
) -> Iterator[ReportStream]:
    """Reports of a tile's network from a file; for `range_step` see `uel.measurement.logs.reader.open_log`.

    A document in the project's own JSON of at most `report_io.MAX_BYTES` is refused as a whole for any fault in it;
    of any other log, faulty measurements are set aside. Raises `UelError` for a file that is none of both, and at the
    end where nothing in it could be used.
    """
    if (content := own_document(file)) is not None:
        part = sequence_part(report_io.from_json(content, sum(len(site.cells) for site in sites), sites))
        yield ReportStream(iter([part]), len(part))
        return
    with open_log(tile, sites, file, columns, rejections, range_step=range_step) as log:
        counts = log.store.count_distinct("report"), log.store.count_distinct("device")
        parts = log.parts()
        first = [*islice(parts, 1)]
        listed = int(first[0].reports.heard.sum(-1).max()) if first else None
        yield ReportStream(chain(first, parts), *counts, listed)
        rejections.require_some(log.store.count, log.used, file)


def require_file(file: Path) -> None:
    """Raise `UelError` for a file of reports that is missing."""
    if not file.is_file():
        do = "give a log: CSV, Parquet, JSON, JSON lines, or the JSON of uel/measurement/report_io.py"
        raise UelError("no such file of reports", got=str(file), do=do)


def own_document(file: Path) -> bytes | None:
    """The content of a file that is one document in the project's own JSON; None for other files.

    Raises `UelError` for a file that is missing or cannot be read.
    """
    require_file(file)
    with open_unpacked(file) as stream:
        content = stream.read(report_io.MAX_BYTES + 1)
    is_own = len(content) <= report_io.MAX_BYTES and report_io.is_report_document(content)
    return content if is_own else None


def read_labelled_reports(
    tile: Tile, sites: tuple[Site, ...], file: Path, columns: ColumnConfig, rejected: Path, range_step: float
) -> Drive:
    """Reports with known positions from a log of any format, or from the project's own JSON.

    Args:
        tile: where they were made.
        sites: the network, in the order of every `cell` axis.
        file: the log.
        columns: names of columns and cells where they are not found by themselves, and limits of rules.
        rejected: table to write of what is set aside.
        range_step: m, of a timing advance.

    Raises:
        UelError: for a file without positions on the tile, and as `read_drive_test` and `from_json` do.
    """
    if not file.is_file():
        raise UelError("no such file of labelled reports", got=str(file), do="give a log with positions")
    content = own_document(file)
    if content is None:
        return read_drive_test(tile, file, columns, rejected, sites, range_step)
    sequence = report_io.from_json(content, sum(len(site.cells) for site in sites), sites)
    if sequence.position is None:
        do = 'give each report its "position": [x, y] in metres on the tile'
        raise UelError("a labelled report has no position", got=str(file), do=do)
    off_tile = (sequence.position.abs() > tile.size / 2).any(-1).nonzero()[:, 0].tolist()
    if off_tile:
        got = f"reports[{off_tile[0]}] at {sequence.position[off_tile[0]].tolist()}"
        raise UelError("a labelled report is off the tile", got=got, do=f"its sides are at ±{tile.size / 2:g} m")
    return Drive(sequence.position, sequence.reports)


def sequence_part(sequence: ReportSequence) -> LogPart:
    """Reports of the project's own JSON as a part of a log."""
    count = len(sequence)
    unknown = np.full(count, np.nan)
    return LogPart(
        reports=sequence.reports,
        position=torch.full((count, 2), torch.nan, device="cpu") if sequence.position is None else sequence.position,
        row=np.arange(1, count + 1),
        seconds=sequence.time.double().numpy(),
        device=np.full(count, "", dtype=object),
        accuracy=unknown,
        age=unknown,
    )


def read_track(source: ReportStream, file: Path) -> LogPart:
    """All reports as one track. Raises `UelError` for reports of several phones, without times, or out of order."""
    if source.devices > 1:
        do = "give the log of one phone, or leave out --speed"
        raise UelError("a track is of one phone", got=f"{source.devices} devices in {file.name}", do=do)
    if source.count > MAX_TRACK_REPORTS:
        do = "split the log, or leave out --speed"
        raise UelError(f"a track has at most {MAX_TRACK_REPORTS} reports", got=source.count, do=do)
    parts = list(source.parts)
    if not parts:
        raise UelError("no report of this log can be used", got=file.name, do="see rejected.csv for the rules")
    track = LogPart.cat(parts)
    if not np.isfinite(track.seconds).all() or (np.diff(track.seconds) < 0).any():
        got = "a report without a time" if not np.isfinite(track.seconds).all() else "times that fall"
        raise UelError("the reports of a track need times that rise", got=got, do="sort the log, or leave out --speed")
    return track
