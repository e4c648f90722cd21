"""A measured network on disk becomes a tile with sites and reports that the other verbs take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scenes.measured_networks.config import NetworkConfig
from scenes.measured_networks.reader import read_measured_network
from scenes.measured_networks.synthetic_district import write_district
from scenes.measured_networks.tile_network import read_tile_network
from scenes.network_tile import NetworkTile, build_network
from scenes.tiles.writer import write_tile
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import read_drive_test
from uel.measurement.logs.config import ColumnConfig
from uel.radio.sites import cells_of


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_district(tmp_path_factory.mktemp("district") / "toy", seed=3, side=160.0)
    rows = (folder / "cells.csv").read_text().splitlines()
    rows[1] = ",".join(["1000", "404000", *rows[1].split(",")[2:]])  # a mast 3.7 km in the east
    rows[2] = rows[2].replace(",25.0,", ",0.0,")  # a height that nobody noted
    (folder / "cells.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def built(district: Path, tmp_path_factory: pytest.TempPathFactory) -> NetworkTile:
    return build_network(NetworkConfig(folder=district, out=tmp_path_factory.mktemp("tiles"), pixel=4.0))


def test_a_network_is_a_tile_with_sites_and_reports(built: NetworkTile, district: Path) -> None:
    tile, network = Tile.open(built.tile.folder), read_measured_network(district)
    assert tile.verify() == []
    assert tile.size == 256.0  # of 320 m, in patches of 4 m
    assert built.report["cells"] | {"farthest": 0} == {
        "listed": 12, "heard": 12, "on_tile": 11, "beyond": 1, "unlisted": 0, "farthest": 0,
    }  # fmt: skip
    assert built.report["cells"]["farthest"] == pytest.approx(3840, abs=100)
    cells = {cell.cell_id: (site, cell) for site, cell in cells_of(tile.sites)}
    assert len(cells) == 11
    assert "1000" not in cells
    listed = network.cells
    for number, identity in enumerate(listed.cell_id):
        if identity in cells:
            site, cell = cells[identity]
            assert site.position[:2] == pytest.approx(listed.position[number].tolist(), abs=0.01)
            assert cell.azimuth_deg == pytest.approx(float(listed.azimuth_deg[number]), abs=1e-3)
            assert cell.power_dbm == pytest.approx(9.2)
            assert cell.power_kind == "reference"
            assert cell.tilt_deg == 3.0
            assert cell.array.electrical_tilt_deg == 6.0
    assert built.report["masts"]["unknown_height"] == 1
    tile.require_sites(tile.sites)


def test_the_reports_are_a_log_of_the_tile(built: NetworkTile, district: Path) -> None:
    network = read_measured_network(district)
    drive = read_drive_test(built.tile, built.tile.folder / "reports.csv.gz", ColumnConfig())
    assert drive.rejected == ()
    assert len(drive) == built.report["reports"]["reports"]
    order = {cell.cell_id: number for number, (_, cell) in enumerate(cells_of(built.tile.sites))}
    level = {
        (x, y, cell): float(network.level_dbm[n, c])
        for n, (x, y) in enumerate(network.position.tolist())
        for c, cell in enumerate(network.cells.cell_id)
        if network.is_reported[n, c]
    }
    for n in range(0, len(drive), 97):
        for cell, number in order.items():
            there = (*(round(axis, 2) for axis in drive.position[n].tolist()), cell)
            assert bool(drive.reports.heard[n, number]) == (there in level)
            if there in level:
                assert float(drive.reports.rsrp_dbm[n, number]) == pytest.approx(level[there], abs=0.006)


def test_labelled_and_judged_reports_come_from_different_blocks(built: NetworkTile) -> None:
    blocks = []
    for name in ("labelled.csv.gz", "judged.csv.gz"):
        drive = read_drive_test(built.tile, built.tile.folder / name, ColumnConfig())
        blocks.append({tuple(index) for index in (drive.position / 64).floor().long().tolist()})
    assert blocks[0]
    assert blocks[1]
    assert not blocks[0] & blocks[1]


def test_a_mast_in_a_house_is_put_on_its_roof(built: NetworkTile) -> None:
    tile = built.tile
    position = torch.tensor([site.position for site in tile.sites])
    row, column = tile.pixel_of(position)
    clearance = position[:, 2] - tile.rasters["height"][row, column]
    assert bool((clearance >= 1.0 - 1e-3).all())
    on_house = tile.rasters["footprint"][row, column] > 0
    stated = position[:, 2] - tile.rasters["ground"][row, column] == 25.0
    assert bool((stated | on_house | (clearance == 10.0)).all())


def test_other_carriers_of_the_same_band_become_one(district: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for file in district.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rows = (folder / "cells.csv").read_text().splitlines()
    rows[3] = rows[3].replace(",2585.0,", ",2624.6,")
    (folder / "cells.csv").write_text("\n".join(rows) + "\n")
    config = NetworkConfig(folder=folder, out=tmp_path / "tiles", pixel=4.0)
    assert build_network(config).report["carriers_mhz"] == {"2585": 11}
    kept = build_network(replace(config, carrier_tolerance=0.0, out=tmp_path / "others"))
    assert kept.report["carriers_mhz"] == {"2585": 10, "2624.6": 1}


def test_a_folder_without_heights_is_refused(district: Path, tmp_path: Path) -> None:
    for name in ("cells.csv", "reports.csv.gz"):
        (tmp_path / name).write_bytes((district / name).read_bytes())
    with pytest.raises(UelError, match="heights of buildings"):
        build_network(NetworkConfig(folder=tmp_path, out=tmp_path / "tiles"))


def test_the_report_says_what_is_left_out(built: NetworkTile) -> None:
    written = json.loads((built.tile.folder / "network_report.json").read_text())
    assert written == built.report
    assert "1 stand beyond" in built.summary()[0]


def test_the_network_is_read_back_from_its_tile(built: NetworkTile, district: Path) -> None:
    network, again = read_measured_network(district), read_tile_network(built.tile)
    number = {identity: cell for cell, identity in enumerate(network.cells.cell_id)}
    order = torch.tensor([number[identity] for identity in again.cells.cell_id])
    kept = network.with_cells(order)
    kept = kept.select(kept.is_reported.any(1) & built.tile.raster_grid.contains(kept.position))
    places = {
        (row, column): n for n, (row, column) in enumerate(zip(kept.row.tolist(), kept.column.tolist(), strict=False))
    }
    same = torch.tensor([places[place] for place in zip(again.row.tolist(), again.column.tolist(), strict=True)])
    assert len(again) == len(kept)
    assert torch.equal(again.is_reported, kept.is_reported[same])
    torch.testing.assert_close(again.level_dbm, kept.level_dbm[same], atol=0.006, rtol=0)
    torch.testing.assert_close(again.cells.azimuth_deg, kept.cells.azimuth_deg, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.cells.tilt_deg, kept.cells.tilt_deg)
    torch.testing.assert_close(again.cells.power_dbm, kept.cells.power_dbm)


def test_a_tile_of_another_kind_is_no_measured_network(tmp_path: Path) -> None:
    tile = write_tile(tmp_path / "plain", [], {}, {}, {"name": "plain", "size": 64.0, "pixel": 2.0, "materials": []})
    with pytest.raises(UelError, match="of no measured network"):
        read_tile_network(tile)
