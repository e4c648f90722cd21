"""Rasters become datasets whose coordinates say where a value lies."""

import numpy as np
import pytest
import torch

from tests.helpers.free_space import rough_map
from tests.helpers.toy_city import SIZE, toy_deployment
from tests.helpers.village_tile import village, write
from uel.errors import UelError


def test_a_radio_map_is_found_by_its_coordinates():
    radio = rough_map()
    data = radio.to_xarray()
    place = torch.tensor([[40.0, -90.0]])
    row, column = radio.grid.pixel_of(place)
    point = data.sel(x=40.0, y=-90.0, method="nearest")
    known = radio.known[:, row, column][:, 0]
    level = radio.rsrp_dbm[:, row, column][:, 0]
    np.testing.assert_allclose(point["rsrp_dbm"], torch.where(known, level, torch.nan), rtol=1e-6)
    assert data["rsrp_dbm"].attrs["units"] == "dBm"
    assert data["x"].attrs["units"] == "m"


def test_a_tile_without_a_projection_is_in_its_own_metres(tmp_path):
    deployment = toy_deployment(tmp_path / "toy")
    data = deployment.tile.to_xarray()
    assert float(data["x"][0]) == -float(data["x"][-1]) == -SIZE / 2 + 1.0
    np.testing.assert_array_equal(data["height"], deployment.tile.rasters["height"])
    assert "spatial_ref" not in data.coords
    with pytest.raises(UelError, match="another tile"):
        rough_map().to_xarray(write(tmp_path / "village", village()))


def test_a_tile_with_a_projection_is_in_its_metres(tmp_path):
    tile = write(tmp_path / "village", village())
    data = tile.to_xarray()
    east, north = tile.meta["origin"]
    assert float(data["x"].mean()) == pytest.approx(east)
    assert float(data["y"].mean()) == pytest.approx(north)
    assert "EPSG" in data["spatial_ref"].attrs["spatial_ref"] or data["spatial_ref"].attrs["crs_wkt"]
