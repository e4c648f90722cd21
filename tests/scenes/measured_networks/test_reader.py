"""Folders of measured networks: what is read, and what is refused."""

import gzip

import numpy as np
import pytest
import rasterio
import torch

from scenes.measured_networks.folders import network_folders
from scenes.measured_networks.reader import read_measured_network
from scenes.measured_networks.synthetic_district import DISTRICT_CORNER, PIXEL_SIDE, write_district
from uel.errors import UelError


@pytest.fixture
def district(tmp_path):
    return write_district(tmp_path / "district", 1, side=160.0, margin=40.0, masts=2)


def edit_reports(folder, edit):
    """Replace the lines of the table of reports, header and rows."""
    file = folder / "reports.csv.gz"
    lines = edit(gzip.decompress(file.read_bytes()).decode().splitlines())
    file.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_a_level_stands_at_its_square_and_cell(district):
    network = read_measured_network(district)
    row = gzip.decompress((district / "reports.csv.gz").read_bytes()).decode().splitlines()[100]
    east, north, cell_id, level = row.split(",")
    place = torch.tensor(
        [float(east) + PIXEL_SIDE / 2 - network.origin[0], float(north) + PIXEL_SIDE / 2 - network.origin[1]]
    )
    square = int((network.position - place).norm(dim=1).argmin())
    cell = network.cells.cell_id.index(cell_id)
    assert torch.equal(network.position[square], place)
    assert network.is_reported[square, cell]
    assert float(network.level_dbm[square, cell]) == pytest.approx(float(level))


def test_rasters_have_row_0_in_the_south(district):
    network = read_measured_network(district)
    with rasterio.open(district / "building_height.tif") as raster:
        for row, column in ((0, 0), (11, 30), (45, 9)):
            x, y = network.grid.centres()[row, column].tolist()
            value = next(raster.sample([(network.origin[0] + x, network.origin[1] + y)]))[0]
            assert bool(network.rasters.building_known[row, column]) == (value >= 0)
            assert float(network.rasters.building_height[row, column]) == max(value, 0)


def test_cells_keep_their_antennas(district):
    cells = read_measured_network(district).cells
    line = (district / "cells.csv").read_text().splitlines()[2].split(",")
    assert cells.cell_id[1] == line[0]
    assert float(cells.position[1, 0]) == float(line[1]) - DISTRICT_CORNER[0] - 120.0
    assert [float(v[1]) for v in (cells.height, cells.azimuth_deg, cells.tilt_deg)] == [25.0, float(line[4]), 9.0]
    assert float(cells.frequency[1]) == pytest.approx(2585e6)
    assert float(cells.power_dbm[1]) == pytest.approx(9.2)
    assert cells.mast.tolist() == sorted(cells.mast.tolist(), key=cells.mast.tolist().index)
    assert len(set(cells.mast.tolist())) == 2


def test_a_height_of_0_is_read_as_it_stands(district):
    text = (district / "cells.csv").read_text()
    (district / "cells.csv").write_text(text.replace(",25.0,", ",0.0,", 1))
    assert float(read_measured_network(district).cells.height[0]) == 0.0


def test_levels_of_one_cell_on_one_square_are_averaged(district):
    first = read_measured_network(district)
    edit_reports(district, lambda lines: [*lines, ",".join([*lines[1].split(",")[:3], "-50.0"])])
    second = read_measured_network(district)
    change = (second.level_dbm - first.level_dbm).flatten()
    changed = int(change.abs().argmax())
    assert int((change != 0).sum()) == 1
    assert float(second.level_dbm.flatten()[changed]) == pytest.approx(
        (float(first.level_dbm.flatten()[changed]) - 50.0) / 2
    )


def test_a_measured_cell_without_an_antenna_comes_last(district):
    edit_reports(district, lambda lines: [*lines, ",".join([*lines[1].split(",")[:2], "77", "-90.0"])])
    network = read_measured_network(district)
    assert network.cells.cell_id[-1] == "77"
    assert network.cells.is_listed.tolist() == [True] * 6 + [False]
    assert int(network.is_reported[:, -1].sum()) == 1


def test_makes_of_phones_are_kept_apart(district):
    edit_reports(
        district, lambda lines: [lines[0] + ",device", *(f"{line},{'ab'[n % 2]}" for n, line in enumerate(lines[1:]))]
    )
    network = read_measured_network(district)
    assert network.devices == ("a", "b")
    assert network.device.unique().tolist() == [0, 1]


def test_a_district_without_heights_is_outdoors_everywhere(district):
    (district / "building_height.tif").unlink()
    network = read_measured_network(district)
    assert not network.rasters.building_known.any()
    assert network.rasters.outdoors.all()


def test_a_district_without_rasters_has_a_grid_around_its_reports(district):
    whole = read_measured_network(district)
    for file in district.glob("*.tif"):
        file.unlink()
    network = read_measured_network(district)
    assert network.crs == ""
    assert torch.equal(network.position + torch.tensor(network.origin), whole.position + torch.tensor(whole.origin))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: lines[:1], "is empty"),
        (lambda lines: [lines[0].replace("rsrp_dbm", "level"), *lines[1:]], "lacks rsrp_dbm"),
        (lambda lines: [*lines[:3], "400100,3300100,1000,x"], "rsrp_dbm in row 3 .* is no number"),
        (lambda lines: [*lines[:3], "400100,3300100,1000,80"], "rsrp_dbm in row 3 .* is no RSRP"),
        (lambda lines: [*lines[:3], "400100,3300100,,-80"], "cell_id in row 3 .* is missing"),
        (lambda lines: [*lines, "500000,3300100,1000,-80"], "lie off its rasters"),
    ],
)
def test_a_table_that_cannot_be_is_refused(district, edit, message):
    edit_reports(district, edit)
    with pytest.raises(UelError, match=message):
        read_measured_network(district)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("azimuth_deg", "colour", "lacks azimuth_deg"),
        ("easting", "remark", "lacks easting"),
        ("\n1001,", "\n1000,", "two rows of the list have one cell_id"),
        ("rs_power_dbm", "remark", "no power of the reference signal"),
        ("\n1001,400", "\n1001,900", "far off the district"),
    ],
)
def test_a_list_that_cannot_be_is_refused(district, before, after, message):
    file = district / "cells.csv"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(UelError, match=message):
        read_measured_network(district)


def test_rasters_of_different_grids_are_refused(district):
    with rasterio.open(district / "terrain.tif") as raster:
        profile, values = raster.profile, raster.read(1)
    profile["transform"] = rasterio.Affine(
        PIXEL_SIDE, 0, DISTRICT_CORNER[0] + 5, 0, -PIXEL_SIDE, DISTRICT_CORNER[1] + PIXEL_SIDE * len(values)
    )
    with rasterio.open(district / "terrain.tif", "w", **profile) as raster:
        raster.write(values, 1)
    with pytest.raises(UelError, match="different grids"):
        read_measured_network(district)


def test_a_raster_that_is_no_square_is_extended_by_unknown_pixels(district):
    whole = read_measured_network(district)
    for file in district.glob("*.tif"):
        with rasterio.open(file) as raster:
            profile, values = raster.profile, raster.read(1)[:, :-2]
        with rasterio.open(file, "w", **{**profile, "width": values.shape[1]}) as raster:
            raster.write(values, 1)
    network = read_measured_network(district)
    assert torch.equal(network.rasters.building_height[:, :-2], whole.rasters.building_height[:, :-2])
    assert not network.rasters.building_known[:, -2:].any()


def test_missing_files_are_named(district, tmp_path):
    assert network_folders(tmp_path) == [district]
    (district / "reports.csv.gz").unlink()
    with pytest.raises(UelError, match="no table of reports"):
        read_measured_network(district)
    (district / "cells.csv").unlink()
    with pytest.raises(UelError, match="no measured networks"):
        network_folders(tmp_path)


def test_values_without_data_are_masked_zeros(district):
    rasters = read_measured_network(district).rasters
    for values, known in (
        (rasters.building_height, rasters.building_known),
        (rasters.terrain, rasters.terrain_known),
        (rasters.clutter.float(), rasters.clutter > 0),
    ):
        assert np.isfinite(values.numpy()).all()
        assert not values[~known].any()
        assert 0 < float(known.float().mean()) < 1
