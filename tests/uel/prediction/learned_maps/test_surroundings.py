"""What stands around a square, compared with loops over the raster."""

import math

import torch

from tests.helpers.districts import random_rasters
from uel.core.grid import Grid
from uel.prediction.learned_maps.surroundings import (
    DIRECTION_COUNT,
    SURROUNDINGS_REACHES,
    Surroundings,
    direction_towards,
)

GRID = Grid(size=150.0, pixel=5.0)


def test_means_are_those_of_the_known_squares_within_reach():
    rasters = random_rasters(GRID, seed=1)
    around = Surroundings.of(rasters, GRID)
    for number, reach in enumerate(SURROUNDINGS_REACHES):
        for row, column in ((0, 0), (7, 21), (29, 15)):
            pixels = round(reach / GRID.pixel)
            box = slice(max(row - pixels, 0), row + pixels + 1), slice(max(column - pixels, 0), column + pixels + 1)
            heights = rasters.building_height[box][rasters.building_known[box]]
            expected = torch.stack([(heights > 0).float().mean(), heights.mean()])
            found = torch.stack([around.built[number, row, column], around.height[number, row, column]])
            torch.testing.assert_close(found, expected)


def test_the_skyline_is_the_highest_roof_in_a_direction():
    rasters = random_rasters(GRID, seed=2)
    around = Surroundings.of(rasters, GRID)
    height = rasters.building_height[15, 16:]  # eastwards from (15, 15)
    steps = [step for step in range(1, len(height) + 1) if step <= 11 or step % 2 == 0]
    slopes = [(float(height[step - 1]) - 1.5) / (step * GRID.pixel) for step in steps]
    hits = [step * GRID.pixel for step in steps if height[step - 1] > 0]
    east = int(direction_towards(torch.tensor(90.0)))
    assert math.isclose(float(around.skyline_deg[east, 15, 15]), math.degrees(math.atan(max(slopes))), rel_tol=1e-5)
    assert float(around.free_length[east, 15, 15]) == min(hits)


def test_a_bearing_has_the_nearest_direction():
    bearing = torch.tensor([0.0, 22.0, 23.0, 359.0, 270.0])
    assert direction_towards(bearing).tolist() == [0, 0, 1, 0, 6]
    assert DIRECTION_COUNT == 8
