"""What stands between a mast and a pixel: a wall's knife edge in closed form, and a world that is turned."""

from pathlib import Path

import pytest
import torch
from scipy.special import fresnel

from tests.helpers.toy_city import SITES, images, standing, toy_deployment
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.geo.obstruction import knife_edge_db, obstruction
from uel.geo.tile_maps import HEIGHT_UNIT, MATERIAL_CLASSES, TileMaps
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site


def walled(site: Site, height: float, column: int) -> TileMaps:
    """An empty square of 256 m, pixels of 4 m, with a wall across in one column."""
    grid = Grid(size=256.0, pixel=4.0)
    buildings = torch.zeros(2 + len(MATERIAL_CLASSES), *grid.shape)
    buildings[0, :, column], buildings[1, :, column] = height / HEIGHT_UNIT, 1.0
    return TileMaps(FreeSpace((site,), size=256.0).radio_map(grid), buildings, 1.0 - buildings[1])


def test_a_knife_edge_is_fresnels_integral() -> None:
    nu = torch.linspace(-0.7, 8.0, 200)
    sine, cosine = fresnel(nu.numpy())
    field = abs((0.5 - cosine) - 1j * (0.5 - sine)) / 2**0.5
    exact = -20 * torch.tensor(field).log10()
    assert float((knife_edge_db(nu) - exact).abs().max()) < 0.15  # what P.526 itself misses
    assert float(knife_edge_db(torch.tensor([-5.0, -torch.inf])).abs().max()) == 0.0


def test_a_wall_halfway_costs_what_its_edge_does() -> None:
    site, wall = Site(position=(-100.0, 2.0, 30.0)), 40.0
    maps = walled(site, wall, 32)  # its column's centre is at x = 2
    row, column = maps.radio.grid.pixel_of(torch.tensor([102.0, 2.0]))
    loss, inside = obstruction(maps, 0)[:, row, column].tolist()
    ue = float(maps.radio.elevation[row, column])
    near = torch.linspace(0.0, 4.0, 401) + 100.0  # the edge is anywhere on the wall's four metres
    line = 30.0 + near / 202.0 * (ue - 30.0)
    wavelength = SPEED_OF_LIGHT / site.cells[0].carrier.frequency
    above = ue + wall - line
    nu = above * (2 * 202.0 / (wavelength * near * (202.0 - near))).sqrt()
    assert loss == pytest.approx(float(knife_edge_db(nu).max()), abs=0.1)
    assert inside == pytest.approx(4.0, abs=202.0 / 128)
    before = maps.radio.grid.pixel_of(torch.tensor([-20.0, 2.0]))
    assert obstruction(maps, 0)[:, before[0], before[1]].abs().max() == 0.0


def test_a_wall_below_the_line_costs_nothing() -> None:
    off = obstruction(walled(Site(position=(-100.0, 2.0, 60.0)), 3.0, 32), 0)
    assert float(off[:, 32, 40:].max()) == 0.0
    assert float(off[0, 32, 33]) > 0.0  # a phone right behind it


def test_masts_may_stand_off_the_tile() -> None:
    off = obstruction(walled(Site(position=(-300.0, 2.0, 30.0)), 20.0, 32), 0)
    assert bool(off.isfinite().all())
    assert float(off[0, 32, 60]) > 6.0


def test_a_turned_or_mirrored_world_is_obstructed_alike(tmp_path: Path) -> None:
    here = standing(toy_deployment(tmp_path / "tile").maps)
    for there, image in images(here):
        for cell in range(len(SITES)):
            straight, around = obstruction(here, cell), obstruction(there, cell)
            assert float(straight[0].std()) > 1.0
            torch.testing.assert_close(around, image(straight), atol=1e-2, rtol=1e-4)
