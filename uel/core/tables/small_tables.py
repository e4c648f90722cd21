"""Tables that fit into memory, as pandas' frames: plain or packed CSV, whose columns are named once."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from uel.core.outside.compression import open_unpacked
from uel.errors import UelError

MAX_HEADER_BYTES = 1 << 16


def read_table(file: Path, types: Mapping[str, type]) -> pd.DataFrame:
    """The table in a CSV file in UTF-8, plain or packed; `types` are those of some columns.

    Raises `UelError` for a file that cannot be read, has rows of other lengths, or names a column twice.
    """
    try:
        with open_unpacked(file) as stream:
            header = stream.readline(MAX_HEADER_BYTES).decode("utf-8-sig")
        names = [name.strip() for name in next(csv.reader([header]), [])]
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise UelError("a column is named twice", got=f"{file}: {twice!r}", do="remove or rename one of the two")
        with open_unpacked(file) as stream:
            return pd.read_csv(stream, dtype=dict(types), skipinitialspace=True)  # type: ignore[call-overload]
    except (ValueError, OverflowError, csv.Error, pd.errors.ParserError) as error:
        if isinstance(error, UelError):
            raise
        raise UelError("this table cannot be read", got=f"{file}: {error}", do="give a CSV file in UTF-8") from error
