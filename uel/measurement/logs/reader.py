"""The one reader of logs: reports of phones and drive tests in any usual format become `Reports` of a tile's network.

`uel locate`, `uel calibrate` and the explorer read logs here. A measurement is used, or it is set aside by
a named rule, with its row and its value (`uel.measurement.logs.rules.rejections`).
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from uel.core.constants import timing_advance_step
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.report_groups import LogPart, has_cell_numbers, part_of_rows
from uel.measurement.logs.rules.cells import IDENTITY_COLUMNS, CellMatcher
from uel.measurement.logs.rules.rejections import Rejection, Rejections
from uel.measurement.logs.rules.rows import Projection, RowRules, metres_as_given
from uel.measurement.logs.store import ROWS_PER_CHUNK, LogStore, store_log
from uel.radio.sites import Site, cells_of

log = logging.getLogger(__name__)

UNKNOWN_NAMES_SHOWN = 12
LTE_STEP = timing_advance_step(15e3)  # m


@dataclass(eq=False)
class LogReader:
    """One open log: reads its reports part by part.

    Example:
        >>> import pathlib, tempfile, uel
        >>> from scenes.tiles.writer import write_tile
        >>> from uel.measurement.logs.config import ColumnConfig
        >>> from uel.measurement.logs.reader import open_log
        >>> from uel.measurement.logs.rules.rejections import Rejections
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> sites = (uel.Site(position=(0.0, 0.0, 60.0)), uel.Site(position=(40.0, 0.0, 60.0)))
        >>> _ = (folder / "log.csv").write_text("time;cell;rsrp\\n0;0;-80,5\\n0;1;255\\n")
        >>> tile = write_tile(folder / "tile", [], {}, {}, {"name": "plain", "size": 256.0, "pixel": 2.0})
        >>> with Rejections() as rejections:
        ...     with open_log(tile, sites, folder / "log.csv", ColumnConfig(), rejections) as reader:
        ...         part = next(reader.parts())
        >>> part.reports.rsrp_dbm.tolist(), dict(rejections.counts)
        ([[-80.5, 0.0]], {'no level': 1})
    """

    store: LogStore
    rules: RowRules
    advance_cells: np.ndarray
    """mask of the cells whose timing advances are read"""
    used: int = 0
    """number of rows that are used, so far"""

    def parts(self, rows: int = ROWS_PER_CHUNK) -> Iterator[LogPart]:
        """The reports in the order of their first rows, those of some rows at a time.

        Reports without a usable level are left out; their rows are set aside.
        """
        for frame in self.store.chunks(rows):
            frame = self._agreeing(self.rules.usable(frame))
            self.used += len(frame)
            if len(frame):
                yield part_of_rows(frame, self.rules.matcher.cell_count, self.advance_cells)

    def _agreeing(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of one report and cell whose levels agree; beams of one cell may differ."""
        groups = frame.groupby(["report", "cell_number", frame["beam"].fillna("")])["level"]
        low, high = groups.transform("min"), groups.transform("max")
        columns = self.rules.columns
        limit = np.where(frame["seconds"].notna(), columns.instant_contradiction_db, columns.contradiction_db)
        contradicts = (high - low).to_numpy() > limit
        for n in np.flatnonzero(contradicts):
            told = f"{low.iloc[n]:g} and {high.iloc[n]:g} dBm of one cell in one report"
            self.rules.rejections.add(Rejection(int(frame["row"].iloc[n]), "contradiction", told))
        return frame[~contradicts].reset_index(drop=True)


@contextmanager
def open_log(
    tile: Tile,
    sites: tuple[Site, ...],
    file: Path,
    columns: ColumnConfig,
    rejections: Rejections,
    needs_position: bool = False,
    range_step: float | None = None,
) -> Iterator[LogReader]:
    """Open a log of any format on a tile.

    Args:
        tile: where the phones are.
        sites: the network, in the order of every `cell` axis.
        file: CSV or relatives, Parquet, JSON, JSON lines, a modem's scans; these compressed by gzip, too.
        columns: names of columns and cells where they are not found by themselves, and limits of rules.
        rejections: gets what is set aside.
        needs_position: whether reports without a position on the tile are set aside (labelled reports).
        range_step: m, one-way distance of a step of timing advance in the reports (`ObservationParameters.range_step`).
            Timing advances of LTE cells, which count steps of 78 m, are read where it is the same.

    Raises:
        UelError: for a file that cannot be read, that has no levels of cells, or whose levels are indices.
    """
    matcher = CellMatcher(sites, columns)
    with store_log(file, columns, matcher.cell_count) as store:
        content = store.content
        if content.is_level_index and columns.level_unit == "dbm":
            do = "give --columns.level-unit nr_index (TS 38.133) or lte_index (TS 36.133)"
            raise UelError(f"the levels of {file.name} are indices of a reporting table", got="no dBm", do=do)
        matcher.learn(store.distinct(IDENTITY_COLUMNS), f"{file.name} ({content.kind})")
        names = ", ".join(content.unknown[:UNKNOWN_NAMES_SHOWN])
        log.info("%s: %s, %d rows%s", file.name, content.kind, content.rows, f"; not used: {names}" if names else "")
        rules = RowRules(
            columns=columns,
            matcher=matcher,
            rejections=rejections,
            from_degrees=_projection(tile, "EPSG:4326") if tile.meta.get("crs") else None,
            from_east_north=_projection(tile, columns.crs) if columns.crs else metres_as_given,
            half_size=tile.size / 2,
            needs_position=needs_position,
        )
        yield LogReader(store, rules, _advance_cells(sites, store, range_step))


def _advance_cells(sites: tuple[Site, ...], store: LogStore, range_step: float | None) -> np.ndarray:
    """Mask of the cells whose timing advances count in the steps of the reports: LTE's, where they are as long."""
    is_lte = np.array([cell.carrier.technology == "lte" for _, cell in cells_of(sites)])
    is_same_step = range_step is not None and math.isclose(range_step, LTE_STEP, rel_tol=1e-3)
    if (
        store.has("timing_advance")
        and not has_cell_numbers(store.distinct(("cell",))["cell"])
        and not (is_same_step and is_lte.any())
    ):
        theirs = f"of {LTE_STEP:.0f} m (LTE)" if is_lte.any() else "of a length that the log does not say"
        ours = "" if range_step is None else f", the locator's are of {range_step:.0f} m"
        log.info("timing advance is not used: the log counts steps %s%s", theirs, ours)
    return is_lte & is_same_step


def _projection(tile: Tile, crs: str) -> Projection:
    """From coordinates of a CRS to metres east and north of the tile's centre."""
    from pyproj import Transformer
    from pyproj.exceptions import CRSError

    if not tile.meta.get("crs"):
        do = "give x and y in metres from the tile's centre, and no --columns.crs"
        raise UelError(f"tile {tile.name} has no georeference", got=crs, do=do)
    try:
        transformer = Transformer.from_crs(crs, tile.meta["crs"], always_xy=True)
    except CRSError as error:
        raise UelError("--columns.crs is no coordinate reference system", got=crs, do="give EPSG:32632, say") from error
    east, north = tile.meta["origin"]

    def project(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        projected = transformer.transform(x, y)
        return np.stack([projected[0] - east, projected[1] - north], 1)

    return project
