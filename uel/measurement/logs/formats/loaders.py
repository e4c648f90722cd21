"""Logs of every format, loaded into the table `measurement` of a DuckDB database: one row for each level of a cell."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from uel.core.outside.compression import open_unpacked
from uel.core.outside.json_text import parse_json
from uel.core.tables.delimited_tables import FIELD_SEPARATORS, SURPLUS_COLUMN, find_header, load_delimited, split_line
from uel.core.tables.text_files import transcode
from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.formats.cell_info_texts import is_printed_cells, printed_cell_records
from uel.measurement.logs.formats.column_names import CELL_QUANTITIES, REPORT_QUANTITIES
from uel.measurement.logs.formats.layout import Layout, known_names, layout_of
from uel.measurement.logs.formats.modem_scans import is_modem_scan, scan_records
from uel.measurement.logs.formats.records import RecordReader, find_record_list, parse_records

RECORDS_PER_INSERT = 5000
MIN_RANKED_ROWS = 10  # in which levels that always fall are no chance
LINES_AT_TOP = 20  # of a text, from which its format is told
MAX_RECORD_BYTES = 1 << 24  # of one report in JSON
MAX_DOCUMENT_BYTES = 1 << 26  # of one JSON document with all reports in it
PARQUET_MAGIC = b"PAR1"
# Columns of the table `measurement`, beside the number of its row in the log.
TEXT_COLUMNS = (*REPORT_QUANTITIES, "group", *CELL_QUANTITIES, "azimuth_deg", "surplus", "fault")
# Texts that say that nothing was measured; NULL from here on.
ABSENT_TEXTS = ("", "-", "--", "---", "nan", "null", "none", "n/a", "na", "#n/a", "?", "unknown", "unavailable")


@dataclass
class LogContent:
    """What a log turned out to be."""

    kind: str = ""
    """its format, in words"""
    is_wide: bool = False
    """whether a row or a record of the log is a report"""
    is_level_index: bool = False
    """whether the log's own names say that its levels are indices of a reporting table"""
    unknown: list[str] = field(default_factory=list)
    """names of columns that are not used"""
    rows: int = 0
    """number of rows or records"""


@dataclass(eq=False)
class LogLoader:
    """Loads one log.

    Args:
        connection: of a database in which there is no table yet.
        columns: names that the user gives.
        cell_count: of the network.
        text: path of a file that may be written: the log as UTF-8.
    """

    connection: duckdb.DuckDBPyConnection
    columns: ColumnConfig
    cell_count: int
    text: Path
    content: LogContent = field(default_factory=LogContent)
    name: str = ""

    def load(self, file: Path) -> LogContent:
        """Make the table `measurement` of a log. Raises `UelError` for what is no log."""
        self.name = file.name
        texts = ", ".join(f'"{name}" VARCHAR' for name in TEXT_COLUMNS)
        self.connection.execute(f"CREATE TABLE measurement (row BIGINT, {texts})")
        with open_unpacked(file) as stream:
            start = stream.read(len(PARQUET_MAGIC))
        if start == PARQUET_MAGIC:
            self._load_parquet(file)
            return self.content
        encoding = transcode(file, self.text, self.columns.encoding)
        with self.text.open(encoding="utf-8") as lines:
            top = list(itertools.islice(lines, LINES_AT_TOP))
        first = next((line.strip() for line in top if line.strip()), "")
        if not first:
            raise UelError(f"{self.name} is empty", got="no text", do="give a log with reports")
        has_cell_texts = is_printed_cells(top)
        if has_cell_texts and not self._names_columns(first):
            self._load_text("Android's CellInfo as text", printed_cell_records)
        elif first[0] in "[{":
            self._load_json(first)
        elif is_modem_scan(top):
            self._load_text("a modem's text log of scans", scan_records)
        else:
            self._load_table(encoding, has_cell_texts)
        return self.content

    def _names_columns(self, line: str) -> bool:
        """Whether a line is the header of a table."""
        return any(known_names(split_line(line, separator), self.columns) > 1 for separator in FIELD_SEPARATORS)

    def _load_text(self, kind: str, records: Callable[[Iterable[str]], Iterable[Any]]) -> None:
        self.content.kind, self.content.is_wide = kind, True
        with self.text.open(encoding="utf-8") as lines:
            self._insert_records(records(lines))

    # ---- tables ----------------------------------------------------------------------------------------

    def _load_table(self, encoding: str, has_cell_texts: bool) -> None:
        separator = self.columns.separator.replace("\\t", "\t")
        header = find_header(self.text, lambda names: known_names(names, self.columns), separator)
        self.content.kind = f"a table separated by {header.separator!r}, {encoding}"
        load_delimited(self.connection, self.text, header, "raw")
        if has_cell_texts:
            self.content.is_wide = True
            fields = ", ".join(f"{_quoted(name)}, c{number}" for number, name in enumerate(header.names))
            self._insert_records(parse_records(self._texts(f"SELECT to_json(json_object({fields})) FROM raw", [])))
            return
        layout = layout_of(header.names, self.columns, self.name, self.cell_count)
        self._from_table(layout, surplus=SURPLUS_COLUMN)

    def _load_parquet(self, file: Path) -> None:
        self.content.kind = "Parquet"
        try:
            described = self.connection.execute("DESCRIBE SELECT * FROM read_parquet($1)", [str(file)]).fetchall()
        except duckdb.Error as error:
            got = f"{self.name}: {str(error).splitlines()[0]}"
            raise UelError("this Parquet file is damaged", got=got, do="make it again") from error
        names, kinds = [row[0] for row in described], [row[1] for row in described]
        if any("STRUCT" in kind or kind.endswith("]") for kind in kinds):
            self.content.is_wide = True
            query = "SELECT CAST(to_json(t) AS VARCHAR) FROM read_parquet($1) AS t"
            self._insert_records(parse_records(self._texts(query, [str(file)])))
            return
        layout = layout_of(names, self.columns, self.name, self.cell_count)
        quoted = (name.replace('"', '""') for name in names)
        casts = ", ".join(f'CAST("{name}" AS VARCHAR) AS c{number}' for number, name in enumerate(quoted))
        query = f"CREATE TABLE raw AS SELECT row_number() OVER () AS row, {casts} FROM read_parquet($1)"
        self.connection.execute(query, [str(file)])
        self._from_table(layout, surplus="NULL")

    def _from_table(self, layout: Layout, surplus: str) -> None:
        """Fill `measurement` from the table `raw`: a row for each cell of the layout, where it has a level."""
        content = self.content
        content.unknown, content.is_wide = list(layout.unknown), layout.is_wide
        content.is_level_index = any(cell.is_level_index for cell in layout.cells)
        content.rows = self.connection.execute("SELECT count(*) FROM raw").fetchall()[0][0]
        if layout.is_numbered:
            self._require_cells([_present(f"c{cell.columns['rsrp']}") for cell in layout.cells])
        parts = ", ".join(f"coalesce(c{number}, '')" for number in layout.group)
        group = f"concat_ws(chr(31), {parts})" if parts else "NULL"
        for cell in layout.cells:
            numbers = layout.report | cell.columns
            values = {quantity: _present(f"c{number}") for quantity, number in numbers.items()}
            values |= {quantity: _quoted(value) for quantity, value in cell.fixed.items()}
            values |= {"technology": _quoted(cell.technology)} if cell.technology else {}
            values |= {"serving": "'true'"} if cell.is_serving else {}
            values |= {"group": group, "surplus": surplus}
            names = ", ".join(f'"{name}"' for name in values)
            # An empty level in a wide table says that the cell was not heard; a long one has no reason for such a row.
            heard = f"WHERE {values['rsrp']} IS NOT NULL" if layout.is_wide else ""
            query = f"INSERT INTO measurement (row, {names}) SELECT row, {', '.join(values.values())} FROM raw {heard}"
            self.connection.execute(query)
        self.connection.execute("DROP TABLE raw")

    def _require_cells(self, levels: list[str]) -> None:
        """Raise `UelError` where the numbers of columns are ranks: every row's levels fall, the strongest first."""
        numbers = ", ".join(f"TRY_CAST(replace({level}, ',', '.') AS DOUBLE)" for level in levels)
        heard = f"list_filter([{numbers}], lambda level: level IS NOT NULL)"
        query = f"""SELECT count(*), count(*) FILTER (heard = list_reverse_sort(heard))
            FROM (SELECT {heard} AS heard FROM raw) WHERE len(heard) > 1"""
        several, falling = self.connection.execute(query).fetchall()[0]
        if several >= MIN_RANKED_ROWS and falling == several:
            do = "add the cells' identities (PCI_1, EARFCN_1, …), or name the cells of the columns: --columns.cells"
            got = f"levels fall from the first column to the last in all of {several} rows"
            raise UelError(f"the columns of {self.name} seem to be ranks, not cells", got=got, do=do)

    # ---- records ---------------------------------------------------------------------------------------

    def _load_json(self, first: str) -> None:
        if first[0] == "[":
            kind, form = "a JSON array", "array"
        elif _is_whole_object(first) and self._has_second_line():
            kind, form = "JSON lines", "newline_delimited"
        else:
            kind, form = "JSON", "unstructured"
        self.content.kind, self.content.is_wide = kind, True
        limit = max(self.text.stat().st_size, MAX_RECORD_BYTES) if form == "unstructured" else MAX_RECORD_BYTES
        if limit > MAX_DOCUMENT_BYTES:
            do = f"give JSON lines (one report a line), or at most {MAX_DOCUMENT_BYTES // 1_000_000} MB"
            raise UelError(f"{self.name} is too large for one JSON document", got=f"{limit // 1_000_000} MB", do=do)
        options = f"format='{form}', maximum_object_size={limit}, ignore_errors={form == 'newline_delimited'}"
        objects, arguments = f"read_json_objects($1, {options})", [str(self.text)]
        query = f"SELECT CAST(json AS VARCHAR) FROM {objects}"
        if form == "unstructured" and (path := self._record_path(query, arguments)):
            self.content.kind = "a JSON document"
            query = f"SELECT CAST(unnest(json_extract(json, $2)::JSON[]) AS VARCHAR) FROM {objects}"
            arguments.append("$" + "".join(f'."{name}"' for name in path))
        self._insert_records(parse_records(self._texts(query, arguments)))

    def _record_path(self, query: str, arguments: list[str]) -> tuple[str, ...]:
        """Path of the list of records in a document; empty for objects that are records themselves."""
        documents = list(self._texts(f"{query} LIMIT 2", arguments))
        if len(documents) != 1:
            return ()
        (document,) = parse_records(documents)
        if isinstance(document, ValueError):
            raise self._no_json(document)
        return tuple(find_record_list(document, self.name)) if isinstance(document, dict) else ()

    def _texts(self, query: str, arguments: list[str]) -> Iterator[str | None]:
        """Texts of a query's only column, some at a time."""
        cursor = self.connection.cursor()
        try:
            cursor.execute(query, arguments)
            while rows := cursor.fetchmany(RECORDS_PER_INSERT):
                yield from (row[0] for row in rows)
        except duckdb.Error as error:
            raise self._no_json(error) from error

    def _no_json(self, error: Exception) -> UelError:
        got = str(error).splitlines()[0][:200]
        return UelError(f"{self.name} is no JSON", got=got, do="correct it, or give JSON lines: one report a line")

    def _has_second_line(self) -> bool:
        with self.text.open(encoding="utf-8") as lines:
            return len(list(itertools.islice((line for line in lines if line.strip()), 2))) == 2

    def _insert_records(self, records: Iterable[Any]) -> None:
        reader = RecordReader(self.columns, self.name, self.cell_count)
        numbered = enumerate(records, 1)
        values = ", ".join(_present(f'CAST("{name}" AS VARCHAR)') for name in TEXT_COLUMNS)
        while part := list(itertools.islice(numbered, RECORDS_PER_INSERT)):
            rows = [row for number, record in part for row in _rows_of_record(reader, number, record)]
            frame = pd.DataFrame.from_records(rows, columns=["row", *TEXT_COLUMNS])
            self.connection.register("part", frame)
            self.connection.execute(f"INSERT INTO measurement SELECT row, {values} FROM part")
            self.connection.unregister("part")
            self.content.rows = part[-1][0]
        self.content.unknown = sorted(reader.unknown)


def _rows_of_record(reader: RecordReader, number: int, record: Any) -> list[dict[str, Any]]:
    """The measurements of a record with its number, or the fault that it has."""
    if isinstance(record, ValueError):
        return [{"row": number, "fault": str(record)}]
    try:
        measured = reader.measurements(record)
    except UelError as error:
        return [{"row": number, "fault": " ".join(str(error).split())}]
    except ValueError as error:
        return [{"row": number, "fault": str(error)}]
    return [{"row": number, **m} for m in measured] or [{"row": number, "fault": "no level of a cell in it"}]


def _is_whole_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, "a line", is_finite=False), dict)
    except UelError:
        return False


def _quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def _present(column: str) -> str:
    """SQL of a text, NULL where it says that nothing was measured; a typographic minus becomes a hyphen."""
    trimmed = f"trim(replace({column}, chr(8722), '-'))"
    return f"CASE WHEN lower({trimmed}) IN ({', '.join(map(_quoted, ABSENT_TEXTS))}) THEN NULL ELSE {trimmed} END"
