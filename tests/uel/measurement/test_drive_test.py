"""Tables of measurements: every row is a report's or is put aside with its reason."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scenes.tiles.writer import update_files, write_sites
from tests.helpers.four_houses import tile  # noqa: F401  (a fixture)
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import block_index, read_drive_test, split_by_block
from uel.measurement.logs.config import ColumnConfig
from uel.radio.sites import Cell, Site

METRES = ColumnConfig(latitude="", longitude="", x="east", y="north", cell="PCI", level="level", cells=("A", "B"))


@pytest.fixture
def masts(tile: Tile) -> Tile:  # noqa: F811
    """Two cells on one mast."""
    return write_sites(tile, (Site(position=(4.0, 4.0, 18.0), cells=(Cell(), Cell(azimuth_deg=90.0))),))


def table(folder: Path, *rows: str, header: str = "PCI,east,north,level") -> Path:
    file = folder / "drive.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_rows_of_one_place_are_one_report(masts: Tile, tmp_path: Path) -> None:
    file = table(tmp_path, "A,1,2,-80", "B,1,2,-90", "A,3,4,-70", "A,1,2,-82", "A,1,2,-84")
    drive = read_drive_test(masts, file, METRES)
    assert drive.position.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert drive.reports.rsrp_dbm.tolist() == [[-82.0, -90.0], [-70.0, 0.0]]
    assert drive.reports.heard.tolist() == [[True, True], [True, False]]
    assert drive.reports.serving.tolist() == [0, 0]
    assert (drive.merged, drive.rejected) == (2, ())


def test_what_rows_have_in_common_beside_their_place_makes_the_report(masts: Tile, tmp_path: Path) -> None:
    file = table(tmp_path, "A,1,2,-80,one", "A,1,2,-60,two", header="PCI,east,north,level,owner")
    assert len(read_drive_test(masts, file, replace(METRES, group=("owner",)))) == 2
    assert len(read_drive_test(masts, file, METRES)) == 1


def test_every_row_that_is_not_used_is_named_with_its_reason(masts: Tile, tmp_path: Path) -> None:
    good = [f"B,{n},0,-90" for n in range(10)]
    bad = ["A,1,2,loud", "C,1,2,-80", "A,1000,2,-80", "A,nan,2,-80", "B,30,1,-60", "B,30,1,-120", "A,1,2"]
    drive = read_drive_test(masts, table(tmp_path, *good, *bad), METRES)
    assert len(drive) == 10
    told = dict(drive.rejected)
    assert set(told) == {11, 12, 13, 14, 15, 16, 17}
    assert "loud" in told[11]
    assert told[12] == "unknown cell: 'C'"
    assert told[13].startswith("off the tile: 1000 m east, 2 m north")
    assert told[14] == "no position: 2"
    assert told[15] == told[16] == "contradiction: -120 and -60 dBm of one cell in one report"
    assert told[17].startswith("no level: nothing")
    counts = {"no number": 1, "no position": 1, "no level": 1, "unknown cell": 1, "off the tile": 1, "contradiction": 2}
    assert drive.rejection_counts == counts


def test_times_of_flight_are_read_where_there_are_any(masts: Tile, tmp_path: Path) -> None:
    file = table(tmp_path, "A,1,2,-80,1e-7", "B,1,2,-80,", header="PCI,east,north,level,toa")
    drive = read_drive_test(masts, file, replace(METRES, toa="toa"))
    assert drive.reports.has_toa.tolist() == [[True, False]]
    assert float(drive.reports.toa[0, 0]) == pytest.approx(1e-7)


def test_degrees_become_metres_on_the_tile(masts: Tile, tmp_path: Path) -> None:
    from pyproj import Transformer

    there = update_files(masts, {}, {"crs": "EPSG:32632", "origin": [691_000.0, 5_334_000.0]})
    to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(691_000.0 + 12.0, 5_334_000.0 - 7.0)
    file = table(tmp_path, f"A,{longitude},{latitude},-80", header="PCI,lon,lat,level")
    columns = replace(METRES, x="", y="", longitude="lon", latitude="lat")
    assert read_drive_test(there, file, columns).position[0].tolist() == pytest.approx([12.0, -7.0], abs=1e-3)
    with pytest.raises(UelError, match="no georeference"):
        read_drive_test(masts, file, columns)


def test_a_zipped_table_is_read(masts: Tile, tmp_path: Path) -> None:
    file = table(tmp_path, "A,1,2,-80")
    zipped = tmp_path / "drive.csv.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes()))
    assert len(read_drive_test(masts, zipped, METRES)) == 1


@pytest.mark.parametrize(
    ("rows", "header", "columns", "said"),
    [
        (["A,1,2,-80"], "PCI,x,north,level", METRES, "no such column[\\s\\S]*got: east[\\s\\S]*the file has PCI, x"),
        (["A,1,2,-80"], "PCI,east,north,level", replace(METRES, cells=("A",)), "every cell of the tile needs a name"),
        (
            ["Z,1,2,-80", "A,1,2,-80", "Q,1,2,-80"],
            "PCI,east,north,level",
            METRES,
            "2 of 3 measurements[\\s\\S]*2 × unknown cell",
        ),
        ([], "PCI,east,north,level", METRES, "it is empty"),
        (["A,9e9,2,-80"], "PCI,east,north,level", METRES, "1 × off the tile"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(masts: Tile, tmp_path: Path, rows, header, columns, said) -> None:
    with pytest.raises(UelError, match=said):
        read_drive_test(masts, table(tmp_path, *rows, header=header), columns)


def test_what_is_no_table_is_refused(masts: Tile, tmp_path: Path) -> None:
    file = tmp_path / "drive.csv"
    file.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(UelError, match="cannot be read"):
        read_drive_test(masts, file, METRES)
    with pytest.raises(UelError, match="columns x and y must be given together"):
        ColumnConfig(x="east")
    with pytest.raises(UelError, match="cells names two cells alike"):
        ColumnConfig(cells=("A", "A"))


def test_blocks_are_learned_from_or_judged_never_both() -> None:
    position = (torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 500
    mine = split_by_block(position, 60.0, 0.5, seed=1)
    block = block_index(position, 60.0)
    assert not set(block[mine].tolist()) & set(block[~mine].tolist())
    assert 0.35 < float(mine.float().mean()) < 0.65
    assert torch.equal(mine, split_by_block(position, 60.0, 0.5, seed=1))
    assert not torch.equal(mine, split_by_block(position, 60.0, 0.5, seed=2))
    with pytest.raises(UelError, match="split by blocks is empty"):
        split_by_block(position[:1], 60.0, 0.5, seed=1)
