"""Positions of labelled reports that are not to be believed are set aside, each by its rule; others stay."""

import pytest

from tests.helpers.log_tile import log_tile, read_drive
from uel.errors import UelError
from uel.geo.tile import Tile

HEADER = "time,x,y,accuracy,cell,rsrp"


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("positions") / "tile")


def walk(count: int, start: int = 0, level: float = -80.0) -> list[str]:
    """A phone that walks east at 2 m/s."""
    return [f"{n},{2 * n - 200},3,5,0,{level}" for n in range(start, start + count)]


def test_a_frozen_position_is_one_label(tile: Tile) -> None:
    frozen = [f"{n},60,3,12,0,{-70 + n % 13}" for n in range(130, 160)]
    drive = read_drive(tile, "\n".join([HEADER, *walk(20), *frozen]))
    assert len(drive) == 21
    assert drive.rejection_counts == {"frozen position": 29}
    assert dict(drive.rejected)[22] == "frozen position: 30 reports at the same place in 29 s, levels 12 dB apart"


def test_a_phone_that_stands_still_is_believed(tile: Tile) -> None:
    still = [f"{n},60,3,12,0,{-70 + n % 3}" for n in range(130, 160)]
    assert len(read_drive(tile, "\n".join([HEADER, *still]))) == 30


def test_coarse_positions_are_no_labels(tile: Tile) -> None:
    coarse = [f"{n},{2 * n - 200},3,1500,0,-80" for n in range(20, 30)]
    drive = read_drive(tile, "\n".join([HEADER, *walk(20), *coarse]))
    assert (len(drive), drive.rejection_counts) == (20, {"coarse position": 10})
    assert len(read_drive(tile, "\n".join([HEADER, *walk(20), *coarse]), max_accuracy=2000.0)) == 30
    unknown = [row.replace(",5,0,", ",-1,0,") for row in walk(20)]  # Android's "no accuracy"
    assert len(read_drive(tile, "\n".join([HEADER, *unknown]))) == 20


def test_old_positions_are_no_labels(tile: Tile) -> None:
    rows = [f"{n},{2 * n - 200},3,{age},0,-80" for n, age in enumerate((0.5, 1.0, 45.0, 2.0))]
    drive = read_drive(tile, "\n".join(["time,x,y,position_age,cell,rsrp", *rows]))
    assert (len(drive), drive.rejection_counts) == (3, {"stale position": 1})


def test_a_jump_there_and_back_is_set_aside_and_a_new_place_is_not(tile: Tile) -> None:
    away = "5,-190,250,5,0,-80"
    rows = [*walk(5), away, *walk(5, start=6)]
    drive = read_drive(tile, "\n".join([HEADER, *rows]))
    assert (len(drive), drive.rejection_counts) == (10, {"jump": 1})
    assert "m/s" in dict(drive.rejected)[6]
    elsewhere = [f"{n},{2 * n - 200},250,5,0,-80" for n in range(5, 15)]
    assert len(read_drive(tile, "\n".join([HEADER, *walk(5), *elsewhere]))) == 15


def test_phones_are_judged_one_by_one(tile: Tile) -> None:
    """Two phones that report in turn from two places do not jump."""
    rows = [f"{n},{(-200, 200)[n % 2]},{n},{n % 2},0,-80" for n in range(20)]
    assert len(read_drive(tile, "\n".join(["time,x,y,device,cell,rsrp", *rows]))) == 20


def test_a_drive_test_of_another_place_is_refused(tile: Tile) -> None:
    rows = [f"{n},52.5{n},13.4,0,-80" for n in range(5)]
    with pytest.raises(UelError, match="5 of 5 measurements cannot be used: 5 × off the tile"):
        read_drive(tile, "\n".join(["time,latitude,longitude,cell,rsrp", *rows]))
    with pytest.raises(UelError, match="indices of a reporting table"):
        read_drive(tile, "\n".join([HEADER, *(row.replace("-80.0", "60") for row in walk(9))]))


def test_metres_of_another_reference_system_are_projected(tile: Tile) -> None:
    east, north = tile.meta["origin"]
    log = f"easting,northing,cell,rsrp\n{east + 12},{north - 7},0,-80\n"
    drive = read_drive(tile, log, crs="EPSG:32632")
    assert drive.position[0].tolist() == pytest.approx([12.0, -7.0], abs=0.01)


def test_what_is_set_aside_is_written_as_a_table(tile: Tile) -> None:
    from uel.measurement.drive_test import read_drive_test
    from uel.measurement.logs.config import ColumnConfig

    folder = tile.folder.parent
    (folder / "log.csv").write_text("\n".join([HEADER, *walk(5), "9,1,2,5,0,43"]))
    read_drive_test(tile, folder / "log.csv", ColumnConfig(), folder / "rejected.csv")
    lines = (folder / "rejected.csv").read_text().splitlines()
    assert lines == ["row,rule,value", "6,level out of range,43 in dbm; RSRP is from -156 to -31 dBm"]
