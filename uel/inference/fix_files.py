"""Files of located reports: JSON lines, CSV, GeoJSON, GeoParquet, KML, GeoPackage; one row or point a report."""

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from uel.core.io import staged_file
from uel.errors import UelError
from uel.extras import explained_imports

LINE_FORMATS = (".jsonl", ".ndjson")
POINT_FORMATS = {".geojson": "GeoJSON", ".parquet": "GeoParquet", ".kml": "KML", ".gpkg": "GPKG"}
LAYER_NAME = "fixes"
FILE_FORMATS = (*LINE_FORMATS, ".csv", *POINT_FORMATS)
FIX_COLUMNS = (
    "report", "row", "time", "device", "tile", "network", "latitude", "longitude", "x", "y", "std_m", "std_east_m",
    "std_north_m", "correlation", "entropy", "probability", "distance_m",
)  # fmt: skip


class FixFiles:
    """Writes located reports to files as they come; each appears when all are written, or not at all.

    JSON lines and CSV are written line by line. The formats of points are made at the end, from a table on disk.
    """

    def __init__(self, lines: list[Any], tables: list[Any]) -> None:
        self._lines, self._tables = lines, tables

    def write(self, answer: dict[str, Any], line: str) -> None:
        """Write one report: its row by `FIX_COLUMNS`, and its line of JSON."""
        for stream in self._lines:
            stream.write(f"{line}\n")
        for table in self._tables:
            table.writerow([answer.get(name) for name in FIX_COLUMNS])


def require_formats(files: Sequence[Path], has_degrees: bool) -> None:
    """Raise `UelError` for a file of no known format, and for points of a tile that is not georeferenced."""
    for file in files:
        if file.suffix not in FILE_FORMATS:
            raise UelError(
                "no such format of located reports", got=file.name, do=f"end --out in {', '.join(FILE_FORMATS)}"
            )
        if file.suffix in POINT_FORMATS and not has_degrees:
            do = "write .jsonl or .csv, whose positions are in metres on the tile"
            raise UelError(f"{file.suffix} needs degrees, and this tile has no georeference", got=file.name, do=do)


@contextmanager
def open_fix_files(files: Sequence[Path]) -> Iterator[FixFiles]:
    """Files of located reports while the context is open; complete at its end, deleted if it fails."""
    with ExitStack() as stack:
        staged = {file: stack.enter_context(staged_file(file)) for file in files}
        lines = [
            stack.enter_context(path.open("w", encoding="utf-8"))
            for file, path in staged.items()
            if file.suffix in LINE_FORMATS
        ]
        points = [file for file in files if file.suffix in POINT_FORMATS]
        with ExitStack() as tables:
            targets = [path for file, path in staged.items() if file.suffix == ".csv"]
            if points:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="uel-fixes-"))
                targets.append(Path(folder) / "fixes.csv")
            streams = [tables.enter_context(path.open("w", encoding="utf-8", newline="")) for path in targets]
            writers = [csv.writer(stream) for stream in streams]
            for writer in writers:
                writer.writerow(FIX_COLUMNS)
            yield FixFiles(lines, writers)
        for stream in lines:
            stream.flush()
        for file in points:
            _write_points(targets[-1], staged[file], POINT_FORMATS[file.suffix])


def _write_points(table: Path, target: Path, form: str) -> None:
    """Points with all columns, from a table of located reports."""
    import pandas as pd

    with explained_imports():
        import geopandas

    rows = pd.read_csv(table, dtype={"device": "str", "tile": "str", "network": "str"})
    rows = rows.dropna(axis="columns", how="all")
    at = geopandas.points_from_xy(rows["longitude"], rows["latitude"], crs="EPSG:4326")
    points = geopandas.GeoDataFrame(rows, geometry=at)
    if form == "GeoParquet":
        points.to_parquet(target)
        return
    if form == "KML":  # a placemark has a name and a description
        described = rows.apply(lambda row: json.dumps(row.dropna().to_dict()), axis=1)
        points = points[["geometry"]].assign(Name=rows["report"].astype("str"), Description=described)
    named = target.with_name(f"{target.name}.{form.lower()}")  # GDAL looks at the ending
    points.to_file(named, driver=form, engine="pyogrio", layer=LAYER_NAME)
    named.replace(target)
