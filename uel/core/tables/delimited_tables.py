"""Delimited tables (CSV, TSV and relatives) in DuckDB: header line, separator and quotes are detected or named."""

import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from uel.errors import UelError

FIELD_SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
HEADER_LINES = 200  # at the top of a file, among which the header is looked for
MAX_LINE_BYTES = 1 << 22
SURPLUS_COLUMN = "_surplus"  # holds what a row has beyond its header's fields


@dataclass(frozen=True)
class Header:
    """Where the names of a table's columns stand."""

    names: tuple[str, ...]
    separator: str
    line: int
    """number of lines before it"""


HeaderScore = Callable[[Sequence[str]], int]
"""number of a line's fields that are names of columns which the reader knows"""


def find_header(file: Path, score: HeaderScore, separator: str = "") -> Header:
    """The line of a UTF-8 text that names most columns which `score` knows, and the separator under which it does.

    Lines before it (a logger's own remarks, Excel's `sep=;`) are no part of the table. Of equal lines the first counts.
    Raises `UelError` where no line names two columns.
    """
    with file.open(encoding="utf-8") as stream:
        lines = list(itertools.islice(stream, HEADER_LINES))
    best, best_score = None, 1
    for candidate in [separator] if separator else FIELD_SEPARATORS:
        for number, line in enumerate(lines):
            fields = split_line(line, candidate)
            if (found := score(fields)) > best_score:
                best, best_score = Header(fields, candidate, number), found
    if best is None:
        first = next((line.strip() for line in lines if line.strip()), "nothing")
        got = f"{first[:80]!r} at the top of the file"
        do = f"give a table whose first line names its columns; separators are {', '.join(SEPARATOR_NAMES.values())}"
        raise UelError("no line of this file names the columns of a table", got=got, do=do)
    return best


def split_line(line: str, separator: str) -> tuple[str, ...]:
    """The fields of one line of a table; none for a line that is no row."""
    try:
        fields = next(csv.reader([line.rstrip("\n")], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return ()
    return tuple(field.strip() for field in fields)


def load_delimited(connection: duckdb.DuckDBPyConnection, file: Path, header: Header, table: str) -> None:
    """Load the rows below a header into a table of text columns, with `row` (the first is 1) and `SURPLUS_COLUMN`.

    Fields that a row lacks are NULL. Columns are named `c0`, `c1`, … in the order of `header.names`.
    Raises `UelError` for rows that no table has, for example a quote that never closes.
    """
    names = [f"c{number}" for number in range(len(header.names))]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in [*names, SURPLUS_COLUMN])
    # A quote inside a field that does not begin with one is a letter; rows of other lengths are kept to be counted.
    query = f"""
        CREATE TABLE {table} AS SELECT row_number() OVER () AS row, * FROM read_csv(
            $file, delim=$separator, quote='"', escape='"', header=false, skip=$skip, auto_detect=false,
            columns={{{columns}}}, null_padding=true, strict_mode=false, parallel=false, max_line_size={MAX_LINE_BYTES})
    """
    try:
        connection.execute(query, {"file": str(file), "separator": header.separator, "skip": header.line + 1})
    except duckdb.Error as error:
        if file.stat().st_size == 0:
            raise
        separator = SEPARATOR_NAMES.get(header.separator, repr(header.separator))
        do = f"correct the quotes, or name another separator than the {separator}"
        raise UelError("the rows of this table cannot be read", got=str(error).splitlines()[0], do=do) from error
