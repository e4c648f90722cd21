"""Walks and drives over rasters drawn by hand."""

import math

import torch

from uel.core.grid import Grid
from uel.mobility.motion import drive, road_direction, walk


def test_cars_go_round_the_ring() -> None:
    """A minute on the ring: all four sides are seen, and hardly anybody turns round."""
    grid = Grid(size=256.0, pixel=1.0)
    ring = (grid.centres().abs().amax(-1) - 60).abs() < 3
    start, heading = torch.tensor([[0.5, 60.0], [60.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    places = drive(grid, ring, start, heading, torch.full((2,), 5.0), steps=120)
    for track in places:
        sides = {(bool(abs(px) > abs(py)), bool((px if abs(px) > abs(py) else py) > 0)) for px, py in track.tolist()}
        assert len(sides) == 4
        angle = torch.atan2(track[:, 1], track[:, 0])
        assert bool((torch.sin(angle.diff()) < 0).float().mean() > 0.95)  # clockwise, as they set out


def test_a_car_turns_where_the_road_ends() -> None:
    grid = Grid(size=64.0, pixel=1.0)
    road = torch.zeros(64, 64, dtype=torch.bool)
    road[30:34, 10:54] = True
    places = drive(grid, road, torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([3.0]), steps=60)
    x = places[0, :, 0]
    assert float(x.max()) > 18.0
    assert float(x.min()) < -18.0
    row, column = grid.pixel_of(places[0])
    assert road[row, column].all()
    torch.testing.assert_close(places[0].diff(dim=0).norm(dim=-1), torch.full((60,), 3.0))


def test_a_long_stride_jumps_over_no_gap() -> None:
    """Two pieces of road with 2 m between them, and strides of 5 m."""
    grid = Grid(size=64.0, pixel=1.0)
    road = torch.zeros(64, 64, dtype=torch.bool)
    road[30:34, 4:60] = True
    road[:, 31:33] = False
    start, east = torch.tensor([[-20.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    for places in (
        drive(grid, road, start, east, torch.tensor([5.0]), steps=30),
        walk(grid, road, start, east, torch.tensor([5.0]), torch.zeros(1, 30)),
    ):
        assert float(places[..., 0].max()) < -1.0
        assert float(places[..., 0].max()) > -7.0


def test_nobody_leaves_the_raster() -> None:
    grid = Grid(size=32.0, pixel=1.0)
    everywhere = torch.ones(32, 32, dtype=torch.bool)
    heading = torch.tensor([[1.0, 0.0], [0.0, -1.0], [math.sqrt(0.5), math.sqrt(0.5)]])
    start, stride = torch.zeros(3, 2), torch.full((3,), 3.0)
    for places in (
        drive(grid, everywhere, start, heading, stride, steps=20),
        walk(grid, everywhere, start, heading, stride, torch.zeros(3, 20)),
    ):
        assert float(places.abs().max()) <= 16.0


def test_a_walker_turns_round_at_a_wall_and_stands_in_a_hole() -> None:
    grid = Grid(size=32.0, pixel=1.0)
    corridor = torch.zeros(32, 32, dtype=torch.bool)
    corridor[16, 16:20] = True
    start, east = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    places = walk(grid, corridor, start, east, torch.tensor([1.0]), torch.zeros(1, 8))
    assert places[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 2.5, 1.5, 0.5, 1.5, 2.5]
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[16, 16] = True
    places = walk(grid, hole, start, east, torch.tensor([1.0]), torch.zeros(1, 3))
    assert (places == start).all()


def test_a_car_begins_along_its_road() -> None:
    grid = Grid(size=128.0, pixel=1.0)
    x, y = grid.centres().unbind(-1)
    diagonal = (x - y).abs() < 4
    heading = road_direction(grid, diagonal, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(heading.abs(), torch.full((1, 2), math.sqrt(0.5)))
