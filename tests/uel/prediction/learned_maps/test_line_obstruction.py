"""Obstruction of the straight line: one wall in closed form, random districts by a loop over the line."""

import math

import pytest
import torch

from tests.helpers.districts import random_rasters
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.geo.obstruction import knife_edge_db
from uel.measurement.measured_network import DistrictRasters
from uel.prediction.learned_maps.line_obstruction import LINE_STEPS, MIN_NU, NEAR_PHONE, line_obstruction

GRID = Grid(size=300.0, pixel=5.0)
FREQUENCY = 2.6e9


def walled(height: float) -> DistrictRasters:
    raster, known = torch.zeros(GRID.shape), torch.ones(GRID.shape, dtype=torch.bool)
    raster[:, 40] = height  # x from 50 to 55 m
    return DistrictRasters(
        building_height=raster, building_known=known, terrain=0 * raster, terrain_known=known, clutter=known.long()
    )


@pytest.mark.parametrize("height", [12.0, 25.0])
def test_a_wall_is_one_knife_edge(height):
    phone, antenna = torch.tensor([[2.5, 0.0, 1.5]]), torch.tensor([[102.5, 0.0, 11.5]])
    wall = line_obstruction(walled(height), GRID, phone, antenna, torch.tensor([FREQUENCY]))
    above = height - 6.5  # the line is at 6.5 m in the middle
    nu = above * math.sqrt(2 * 100 * FREQUENCY / SPEED_OF_LIGHT / (50 * 50))
    assert float(wall.nu) == pytest.approx(nu, rel=1e-3)
    loss = float(knife_edge_db(torch.tensor(nu)))
    several = (1 - math.exp(-loss / 6)) * (10 + 0.02 * 0.1)
    assert float(wall.cascade_db) == pytest.approx(loss + several, rel=1e-3)
    assert (float(wall.crossings), float(wall.blocked_length), float(wall.first_edge)) == (1, 5, 50)
    assert float(wall.first_edge_height) == pytest.approx(above, rel=1e-3)
    assert float(wall.clearance) == pytest.approx(-above, rel=1e-3)


def test_a_line_above_the_roofs_is_free():
    phone, antenna = torch.tensor([[2.5, 0.0, 1.5]]), torch.tensor([[102.5, 0.0, 61.5]])
    wall = line_obstruction(walled(12.0), GRID, phone, antenna, torch.tensor([FREQUENCY]))
    assert float(wall.clearance) == pytest.approx(31.5 - 12, rel=1e-3)
    assert (float(wall.cascade_db), float(wall.blocked_length), float(wall.crossings)) == (0, 0, 1)


def test_lengths_are_those_of_a_walk_along_the_line():
    rasters, generator = random_rasters(GRID, seed=3), torch.Generator().manual_seed(3)
    place = (torch.rand(20, 2, 2, generator=generator) - 0.5) * 280
    phone = torch.cat([place[0::1, 0], torch.full((20, 1), 401.5)], 1)
    antenna = torch.cat([place[:, 1] * 1.3, torch.full((20, 1), 420.0)], 1)
    found = line_obstruction(rasters, GRID, phone, antenna, torch.full((20,), FREQUENCY))
    for link in range(20):
        expected = _walk(rasters, phone[link], antenna[link])
        values = (found.blocked_length, found.unknown_length, found.unknown_length_near, found.crossings, found.nu)
        assert [float(value[link]) for value in values] == pytest.approx(expected, rel=1e-3)


def _walk(rasters: DistrictRasters, phone: torch.Tensor, antenna: torch.Tensor) -> tuple[float, ...]:
    step_sizes = [
        (step, int((end - start) / step)) for (step, end), start in zip(LINE_STEPS, (0, 100, 300), strict=True)
    ]
    offset, at = antenna - phone, 0.0
    distance = float(offset[:2].norm())
    blocked = unknown = unknown_near = crossings = 0.0
    nu, inside = MIN_NU, False
    for step in (step for step, count in step_sizes for _ in range(count)):
        at += step
        if distance - at <= step / 2:
            break
        place = phone + at / distance * offset
        row, column = (int(v) for v in GRID.pixel_of(place[:2]))
        on_grid = bool(GRID.contains(place[:2]))
        known = on_grid and bool(rasters.building_known[row, column])
        unknown += 0 if known else step
        unknown_near += 0 if known or at > NEAR_PHONE else step
        height = float(rasters.building_height[row, column]) if known else 0.0
        if height > 0:
            above = height + float(rasters.terrain[row, column]) - float(place[2])
            blocked += step if above > 0 else 0
            scale = math.sqrt(2 * distance * FREQUENCY / SPEED_OF_LIGHT / (at * max(distance - at, 1.0)))
            nu = max(nu, min(above * scale, 40.0))
            crossings += not inside
        inside = height > 0
    return blocked, unknown, unknown_near, crossings, nu
