"""A log's measurements in a DuckDB file, sorted by report.

Whatever the format of the log, the table `sorted` has the same columns. DuckDB spills to disk, so memory does not grow
with the log.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.formats.loaders import TEXT_COLUMNS, LogContent, LogLoader
from uel.measurement.logs.formats.times import is_month_first, is_serial_date, seconds_expression

MEMORY_LIMIT = "384MB"  # of DuckDB
ROWS_PER_CHUNK = 20_000


@dataclass(frozen=True)
class LogStore:
    """Measurements of a log on disk, while the context of `store_log` is open."""

    connection: duckdb.DuckDBPyConnection
    content: LogContent

    def chunks(self, rows: int = ROWS_PER_CHUNK) -> Iterator[pd.DataFrame]:
        """Measurements in the order of their reports, some rows at a time; no report is cut.

        Columns: `row` and `report` (number of its first row), `seconds`, `is_duplicate`, and `TEXT_COLUMNS`.
        """
        query = "SELECT * FROM sorted ORDER BY report, row"
        rest = None
        for batch in self.connection.sql(query).to_arrow_reader(rows):
            frame = batch.to_pandas()
            frame = frame if rest is None else pd.concat([rest, frame], ignore_index=True)
            is_last = frame["report"] == frame["report"].iloc[-1]
            rest = frame[is_last]
            if not is_last.all():
                yield frame[~is_last].reset_index(drop=True)
        if rest is not None and len(rest):
            yield rest.reset_index(drop=True)

    @property
    def count(self) -> int:
        """Number of measurements."""
        return int(self.connection.execute("SELECT count(*) FROM sorted").fetchall()[0][0])

    def distinct(self, names: Sequence[str]) -> pd.DataFrame:
        """The distinct values of some columns."""
        quoted = ", ".join(f'"{name}"' for name in names)
        return self.connection.sql(f"SELECT DISTINCT {quoted} FROM sorted").df()

    def has(self, name: str) -> bool:
        """Whether a column has any value."""
        return bool(self.connection.execute(f'SELECT count("{name}") > 0 FROM sorted').fetchall()[0][0])

    def count_distinct(self, name: str) -> int:
        """Number of distinct values of a column: of reports, of devices."""
        return int(self.connection.execute(f'SELECT count(DISTINCT "{name}") FROM sorted').fetchall()[0][0])


@contextmanager
def store_log(file: Path, columns: ColumnConfig, cell_count: int) -> Iterator[LogStore]:
    """Read a log of any format into a DuckDB file in a temporary folder.

    Raises `UelError` for a file that is missing, damaged or no log.
    """
    if not file.is_file():
        raise UelError("no such log", got=str(file), do="give a file of reports: CSV, Parquet, JSON, JSON lines, text")
    with tempfile.TemporaryDirectory(prefix="uel-log-") as folder:
        connection = duckdb.connect(str(Path(folder) / "log.duckdb"))
        try:
            connection.execute(f"SET memory_limit='{MEMORY_LIMIT}'; SET temp_directory='{folder}'; SET threads=1")
            connection.execute("SET preserve_insertion_order=true; SET enable_progress_bar=false; SET TimeZone='UTC'")
            content = LogLoader(connection, columns, cell_count, Path(folder) / "text").load(file)
            _sort(connection, columns, content.is_wide)
            yield LogStore(connection, content)
        finally:
            connection.close()


def _sort(connection: duckdb.DuckDBPyConnection, columns: ColumnConfig, is_wide: bool) -> None:
    """Make the table `sorted`: each measurement with its time in seconds and the first row of its report.

    In a wide log a row is a report. In a long one, rows of equal time, device, position and group are.
    """
    # A date beside a time of the day is one time with it.
    moment = """CASE WHEN "date" IS NULL THEN "time" ELSE concat("date", ' ', "time") END"""
    connection.execute(f"CREATE VIEW moments AS SELECT *, {moment} AS moment FROM measurement")
    month_first = is_month_first(connection, "moments", "moment")
    serial_date = is_serial_date(connection, "moments", "moment")
    seconds = ", ".join(seconds_expression(text, month_first, serial_date) for text in ("moment", '"time"'))
    connection.execute(f"CREATE VIEW timed AS SELECT *, coalesce({seconds}) AS seconds FROM moments")
    instant = 'coalesce(CAST(seconds AS VARCHAR), "time")'
    instant = f"floor(seconds / {columns.interval})" if columns.interval else instant
    key = "row" if is_wide else f'{instant}, device, "group", latitude, longitude, x, y'
    same = ", ".join(f'"{name}"' for name in TEXT_COLUMNS if name not in ("surplus", "fault"))
    # Without a time, equal rows are repeated measurements; with one, they are copies. Of a wide log, whole rows are.
    content = f"sum(hash({same})::HUGEINT) OVER (PARTITION BY row)"
    connection.execute(f"CREATE VIEW signed AS SELECT *, {content} AS content FROM timed")
    in_long = f"row_number() OVER (PARTITION BY {same} ORDER BY row) > 1"
    copies = "min(row) OVER (PARTITION BY content) < row" if is_wide else in_long
    connection.execute(
        f"""CREATE TABLE sorted AS SELECT * EXCLUDE (moment, content), min(row) OVER (PARTITION BY {key}) AS report,
            seconds IS NOT NULL AND {copies} AS is_duplicate FROM signed"""
    )
    connection.execute("DROP VIEW signed; DROP VIEW timed; DROP VIEW moments; DROP TABLE measurement")
