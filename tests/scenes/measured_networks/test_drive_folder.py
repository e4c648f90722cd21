"""Folders of drive tests of a few cells."""

import json

import pytest
import torch
from pyproj import Transformer

from scenes.measured_networks.drive_folder import SQUARE_SIDE, read_drive_folder
from scenes.measured_networks.folders import network_folders, read_network
from uel.errors import UelError

CELLS = [
    {"pci": "A", "lat": 36.0, "lon": -79.0, "azimuth_deg_from_north": 212, "freq_hz": 3.69e9},
    {"pci": "B", "lat": 36.001, "lon": -79.001, "azimuth_deg_from_north": 30, "freq_hz": 3.64e9},
]
HEADER = "PCI,latitude,longitude,device,rsrp"
WAY = """<?xml version="1.0"?><osm version="0.6">
<node id="1" lat="35.999" lon="-79.0005"/><node id="2" lat="36.002" lon="-79.0005"/>
<way id="5"><nd ref="1"/><nd ref="2"/><tag k="highway" v="footway"/></way></osm>"""


@pytest.fixture
def drive(tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / "cells.json").write_text(json.dumps({"tx_height_m_used_by_authors": 24, "cells": CELLS}))
    rows = [f"{'ABC'[n % 3]},{36.0 + n * 1e-4:.6f},{-79.0005:.6f},{'xy'[n % 2]},{-90 - n}" for n in range(12)]
    (folder / "rsrp.csv").write_text("\n".join([HEADER, *rows, rows[0].replace("-90", "-80")]) + "\n")
    (folder / "streets.osm").write_text(WAY)
    return folder


def test_a_square_holds_the_mean_of_what_one_make_reported(drive):
    network = read_drive_folder(drive)
    assert network.devices == ("x", "y")
    assert network.cells.cell_id == ("A", "B", "C")
    assert network.cells.is_listed.tolist() == [True, True, False]
    east, north = Transformer.from_crs("EPSG:4326", network.crs, always_xy=True).transform(-79.0005, 36.0)
    place = torch.tensor([east - network.origin[0], north - network.origin[1]])
    square = int((network.position - place).abs().amax(1).argmin())
    assert float((network.position[square] - place).abs().max()) <= SQUARE_SIDE / 2 + 0.01
    assert network.level_dbm[square].tolist() == [-85.0, 0.0, 0.0]


def test_footways_are_known_and_phones_may_be_anywhere(drive):
    network = read_drive_folder(drive)
    assert network.rasters.way is not None
    assert network.rasters.way[network.row, network.column].all()
    assert float(network.rasters.way.float().mean()) < 0.5
    assert network.is_judged.all()


def test_a_folder_is_read_by_its_format(drive):
    assert network_folders(drive) == [drive]
    assert network_folders(drive.parent) == [drive]
    assert len(read_network(drive)) == len(read_drive_folder(drive))


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("rsrp.csv", "PCI", "cell", "lacks columns or rows"),
        ("rsrp.csv", ",-91", ",91", "rsrp in row 2 .* cannot be"),
        ("rsrp.csv", "36.000100", "96.0", "latitude in row 2 .* cannot be"),
        ("cells.json", "freq_hz", "frequency", "list of cells cannot be read"),
        ("cells.json", "[", "", "list of cells cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(drive, file, before, after, message):
    text = (drive / file).read_text()
    assert before in text
    (drive / file).write_text(text.replace(before, after, 1))
    with pytest.raises(UelError, match=message):
        read_drive_folder(drive)
