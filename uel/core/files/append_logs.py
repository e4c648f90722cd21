"""The one reader of logs to which lines are appended while a job runs: the last line of a killed job may be cut."""

import csv
from pathlib import Path


def read_csv_log(file: Path) -> list[dict[str, str]]:
    """Whole rows of a log in CSV with a header, as text by column; none for a log that is empty or not there.

    A last line without an end was cut while it was written, and is left out, as is a row that has another number of
    columns than the header, or a null character (what a file system leaves of a write that was lost).

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "metrics.csv"
        >>> _ = file.write_text("step,loss\\n0,1.5\\n1,1.2\\n2,0.")
        >>> read_csv_log(file)
        [{'step': '0', 'loss': '1.5'}, {'step': '1', 'loss': '1.2'}]
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = [line for line in text.splitlines(keepends=True) if line.endswith(("\n", "\r")) and "\0" not in line]
    rows = list(csv.reader(lines))
    if not rows:
        return []
    header, *values = rows
    return [dict(zip(header, row, strict=True)) for row in values if len(row) == len(header)]
