"""Files of located reports: every format holds all of them, at their places, or the file does not appear."""

import csv
import json
from pathlib import Path

import geopandas
import pytest

from uel.errors import UelError
from uel.inference.fix_files import FIX_COLUMNS, open_fix_files, require_formats

PLACE = {"tile": "plain", "network": "0f", "longitude": 9.0, "x": 1.0, "y": 2.0, "std_m": 12.5, "probability": 0.25}
ANSWERS = [{"report": n, "row": 3 * n + 1, "time": 0.5 * n, "latitude": 48.0 + n, **PLACE} for n in range(3)]


def write(files: list[Path]) -> None:
    with open_fix_files(files) as out:
        for answer in ANSWERS:
            out.write(answer, json.dumps(answer))


def test_every_format_holds_all_reports(tmp_path: Path) -> None:
    suffixes = (".jsonl", ".csv", ".geojson", ".parquet", ".kml", ".gpkg")
    files = [tmp_path / "out" / f"fixes{suffix}" for suffix in suffixes]
    write(files)
    lines, table, features, parquet, places, package = files
    assert [json.loads(line) for line in lines.read_text().splitlines()] == ANSWERS
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert (list(rows[0]), [row["row"] for row in rows]) == (list(FIX_COLUMNS), ["1", "4", "7"])
    for file in (features, package):
        points = geopandas.read_file(file)
        assert points.geometry.y.tolist() == pytest.approx([48.0, 49.0, 50.0])
        assert points["std_m"].tolist() == [12.5] * 3
        assert points.crs.to_epsg() == 4326
    assert geopandas.read_parquet(parquet)["network"].tolist() == ["0f"] * 3
    assert geopandas.read_file(places)["Name"].tolist() == ["0", "1", "2"]
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(file.name for file in files)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def write_and_stop() -> None:
        with open_fix_files([tmp_path / "a.csv", tmp_path / "a.geojson"]) as out:
            out.write(ANSWERS[0], "{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert not list(tmp_path.iterdir())


def test_impossible_files_are_refused_before_any_work() -> None:
    with pytest.raises(UelError, match="no such format"):
        require_formats([Path("fixes.shp")], has_degrees=True)
    with pytest.raises(UelError, match="no georeference"):
        require_formats([Path("fixes.csv"), Path("fixes.kml")], has_degrees=False)
