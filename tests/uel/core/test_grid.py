"""Rasters: lookup against scipy, gradients against finite differences, and refusals."""

from itertools import product

import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor

from uel.core.grid import Grid, fill_from_neighbours
from uel.errors import UelError

GRID = Grid(size=40.0, pixel=4.0)


def random_raster(channels: int = 2) -> Tensor:
    return torch.randn(channels, *GRID.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def random_positions(count: int, reach: float, seed: int = 4) -> Tensor:
    return (torch.rand(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5) * 2 * reach


def slow_sample(values: Tensor, x: float, y: float) -> float:
    """One channel, one position, four corners in a loop."""
    count = GRID.count
    across, up = (min(max((c + GRID.size / 2) / GRID.pixel - 0.5, 0.0), count - 1.0) for c in (x, y))
    total = 0.0
    for row in range(count):
        for column in range(count):
            total += max(0.0, 1 - abs(row - up)) * max(0.0, 1 - abs(column - across)) * float(values[row, column])
    return total


def slow_filled(values: Tensor, valid: Tensor, row: int, column: int) -> float:
    """One pixel of one channel: itself, or the mean of the valid ones around it."""
    if valid[row, column]:
        return float(values[row, column])
    around = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    return float(values[around][valid[around]].mean()) if valid[around].any() else 0.0


def test_row_zero_is_south_and_column_zero_west() -> None:
    centres = GRID.centres()
    assert centres[0, 0].tolist() == [-18.0, -18.0]
    assert centres[0, -1].tolist() == [18.0, -18.0]
    assert centres[-1, 0].tolist() == [-18.0, 18.0]


def test_sample_is_scipys_bilinear_between_the_centres() -> None:
    values, position = random_raster(), random_positions(200, reach=18.0)
    axis = GRID.centres()[0, :, 0].double().numpy()
    got = GRID.sample(values, position)
    for channel in range(2):
        want = RegularGridInterpolator((axis, axis), values[channel].numpy())(position.flip(-1).numpy())
        torch.testing.assert_close(got[:, channel], torch.from_numpy(want))


def test_sample_is_the_slow_loop_and_constant_at_the_rim() -> None:
    values, position = random_raster(), random_positions(300, reach=20.0)
    got = GRID.sample(values, position)
    for channel in range(2):
        want = [slow_sample(values[channel], x, y) for x, y in position.tolist()]
        assert got[:, channel].tolist() == pytest.approx(want, abs=1e-9)


def test_holes_are_filled_with_the_mean_of_what_is_valid_around_them() -> None:
    values = random_raster()
    valid = torch.rand(values.shape, generator=torch.Generator().manual_seed(5)) > 0.8
    got = fill_from_neighbours(values, valid)
    for channel, row, column in product(range(2), range(GRID.count), range(GRID.count)):
        want = slow_filled(values[channel], valid[channel], row, column)
        assert float(got[channel, row, column]) == pytest.approx(want, abs=1e-9)
    assert (got == 0).any()


@pytest.mark.parametrize("channels", [1, 8, 11])
def test_a_position_is_held_where_its_pixel_is_valid(channels: int) -> None:
    position = random_positions(300, reach=20.0)
    valid = torch.rand((channels, *GRID.shape), generator=torch.Generator().manual_seed(5)) > 0.5
    row, column = GRID.pixel_of(position)
    assert torch.equal(GRID.sample_mask(valid, position), valid[:, row, column].T)
    assert GRID.sample_mask(valid, position[:6].reshape(2, 3, 2)).shape == (2, 3, channels)


def test_sample_keeps_leading_axes_and_looks_at_x_and_y_only() -> None:
    values, position = random_raster(3), random_positions(6, reach=18.0)
    lifted = torch.cat([position, torch.full((6, 1), 7.0)], -1).reshape(2, 3, 3)
    torch.testing.assert_close(GRID.sample(values, lifted), GRID.sample(values, position).reshape(2, 3, 3))
    assert GRID.sample(values, position[0]).shape == (3,)


def test_many_positions_are_sampled_as_few_are() -> None:
    values, position = random_raster(3), random_positions(70_001, reach=20.0).requires_grad_()
    many = GRID.sample(values, position)
    (slope,) = torch.autograd.grad(many.sum(), position)
    parts = position.detach().split(10_000)
    assert torch.equal(many, torch.cat([GRID.sample(values, part) for part in parts]))
    for part, want in zip(parts, slope.split(10_000), strict=True):
        part.requires_grad_()
        assert torch.equal(torch.autograd.grad(GRID.sample(values, part).sum(), part)[0], want)
    assert GRID.sample(values, position[:0]).shape == (0, 3)


def test_gradient_is_the_finite_difference() -> None:
    values, position = random_raster(), random_positions(50, reach=17.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: GRID.sample(values, p), (position,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda v: GRID.sample(v, position), (values.requires_grad_(),))


def test_gradient_is_finite_at_censored_pixels_edges_and_corners() -> None:
    values, valid = random_raster(), torch.zeros(2, *GRID.shape, dtype=torch.bool)
    valid[:, ::2, ::3] = True
    edge = torch.tensor([[20.0, 20.0], [-20.0, 20.0], [-18.0, -18.0], [0.0, 0.0], [2.0, -2.0]], dtype=torch.float64)
    position = torch.cat([edge, random_positions(500, reach=20.0)]).requires_grad_()
    values.requires_grad_()
    GRID.sample(fill_from_neighbours(values, valid), position).square().sum().backward()
    assert position.grad.isfinite().all()
    assert values.grad.isfinite().all()
    assert (values.grad[~valid] == 0).all()


@pytest.mark.parametrize("bad", [[float("nan"), 0.0], [float("inf"), 0.0], [0.0, -20.1], [1e9, 0.0]])
def test_require_names_what_is_off_the_tile(bad: list[float]) -> None:
    position = torch.tensor([[0.0, 0.0], bad])
    assert GRID.contains(position).tolist() == [True, False]
    with pytest.raises(UelError, match=r"1 of 2 positions[\s\S]*got[\s\S]*±20 m"):
        GRID.require(position)


def test_the_rim_itself_is_on_the_tile() -> None:
    GRID.require(torch.tensor([[20.0, -20.0], [-20.0, 20.0]]))


@pytest.mark.parametrize(("size", "pixel"), [(40.0, 3.0), (40.0, 0.0), (40.0, -4.0), (4.0, 40.0)])
def test_pixels_must_divide_the_side(size: float, pixel: float) -> None:
    with pytest.raises(UelError, match=r"whole number of pixels|pixel is out of range"):
        Grid(size=size, pixel=pixel)
