"""Rasters: lookup against scipy, gradients against finite differences, and refusals."""

import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor

from uel.errors import UelError
from uel.grid import Grid

GRID = Grid(size=40.0, pixel=4.0)


def random_raster(channels: int = 2) -> Tensor:
    return torch.randn(channels, *GRID.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def random_positions(count: int, reach: float, seed: int = 4) -> Tensor:
    return (torch.rand(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5) * 2 * reach


def slow_sample(values: Tensor, valid: Tensor, x: float, y: float) -> tuple[float, bool]:
    """One channel, one position, four corners in a loop."""
    count = GRID.count
    across, up = (min(max((c + GRID.size / 2) / GRID.pixel - 0.5, 0.0), count - 1.0) for c in (x, y))
    total = weights = 0.0
    for row in range(count):
        for column in range(count):
            weight = max(0.0, 1 - abs(row - up)) * max(0.0, 1 - abs(column - across)) * bool(valid[row, column])
            total, weights = total + weight * float(values[row, column]), weights + weight
    return (total / weights, True) if weights > 1e-3 else (0.0, False)


def test_row_zero_is_south_and_column_zero_west() -> None:
    centres = GRID.centres()
    assert centres[0, 0].tolist() == [-18.0, -18.0]
    assert centres[0, -1].tolist() == [18.0, -18.0]
    assert centres[-1, 0].tolist() == [-18.0, 18.0]


def test_sample_is_scipys_bilinear_between_the_centres() -> None:
    values, position = random_raster(), random_positions(200, reach=18.0)
    axis = GRID.centres()[0, :, 0].double().numpy()
    got, known = GRID.sample(values, position)
    assert known.all()
    for channel in range(2):
        want = RegularGridInterpolator((axis, axis), values[channel].numpy())(position.flip(-1).numpy())
        torch.testing.assert_close(got[:, channel], torch.from_numpy(want))


def test_sample_is_the_slow_loop_with_holes_and_at_the_rim() -> None:
    values, position = random_raster(), random_positions(300, reach=20.0)
    valid = torch.rand(values.shape, generator=torch.Generator().manual_seed(5)) > 0.5
    got, known = GRID.sample(values, position, valid)
    for channel in range(2):
        for i, (x, y) in enumerate(position.tolist()):
            value, seen = slow_sample(values[channel], valid[channel], x, y)
            assert bool(known[i, channel]) is seen
            assert float(got[i, channel]) == pytest.approx(value, abs=1e-9)
    assert not known.all()


def test_sample_keeps_leading_axes_and_looks_at_x_and_y_only() -> None:
    values, position = random_raster(3), random_positions(6, reach=18.0)
    lifted = torch.cat([position, torch.full((6, 1), 7.0)], -1).reshape(2, 3, 3)
    torch.testing.assert_close(GRID.sample(values, lifted)[0], GRID.sample(values, position)[0].reshape(2, 3, 3))
    assert GRID.sample(values, position[0])[0].shape == (3,)


def test_gradient_is_the_finite_difference() -> None:
    values, position = random_raster(), random_positions(50, reach=17.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: GRID.sample(values, p)[0], (position,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda v: GRID.sample(v, position)[0], (values.requires_grad_(),))


def test_gradient_is_finite_at_censored_pixels_edges_and_corners() -> None:
    values, valid = random_raster(), torch.zeros(2, *GRID.shape, dtype=torch.bool)
    valid[:, ::2, ::3] = True
    edge = torch.tensor([[20.0, 20.0], [-20.0, 20.0], [-18.0, -18.0], [0.0, 0.0], [2.0, -2.0]], dtype=torch.float64)
    position = torch.cat([edge, random_positions(500, reach=20.0)]).requires_grad_()
    values.requires_grad_()
    GRID.sample(values, position, valid)[0].square().sum().backward()
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
    with pytest.raises(UelError, match="whole number of pixels"):
        Grid(size=size, pixel=pixel)
