"""Lengths inside crowns: exact for a box, as found by small steps for any columns, with the derivatives of both."""

import pytest
import torch
from torch import Tensor

import sim_bridge.simulator  # noqa: F401  (first: it finds a usable LLVM before Dr.Jit is imported)
from sim_bridge.backend.canopy import Canopy, lengths_in_canopy
from uel.core.grid import Grid
from uel.errors import UelError

GRID = Grid(size=64.0, pixel=2.0)
LOW, HIGH = (torch.tensor(corner, dtype=torch.float64) for corner in ((-22.0, -12.0, 3.0), (18.0, 8.0, 10.0)))


def box() -> Canopy:
    base, top = torch.zeros(GRID.shape), torch.zeros(GRID.shape)
    base[10:20, 5:25], top[10:20, 5:25] = 3.0, 10.0
    return Canopy.of_rasters(GRID, base, top)


def lines(count: int) -> tuple[Tensor, Tensor]:
    """Ends of lines in and around the grid."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2, count, 3, dtype=torch.float64, generator=generator) - 0.5
    start, end = draws * torch.tensor([100.0, 100.0, 30.0]) + torch.tensor([0.0, 0.0, 8.0])
    return start, end


def length_in_box(start: Tensor, end: Tensor) -> Tensor:
    """By the planes of the box."""
    one, other = ((corner - start) / (end - start) for corner in (LOW, HIGH))
    enter, leave = torch.minimum(one, other).amax(1).clamp(min=0), torch.maximum(one, other).amin(1).clamp(max=1)
    return (leave - enter).clamp(min=0) * (end - start).norm(dim=1)


def test_a_line_through_a_box_has_the_length_and_the_derivatives_of_its_planes():
    ends = [end.requires_grad_() for end in lines(4000)]
    found, exact = lengths_in_canopy(box(), *ends), length_in_box(*ends)
    assert int((exact > 0).sum()) > 500
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-4)
    for got, right in zip(torch.autograd.grad(found.sum(), ends), torch.autograd.grad(exact.sum(), ends), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-4)


def test_columns_of_any_height_are_met_as_small_steps_meet_them():
    generator = torch.Generator().manual_seed(1)
    base = 4 * torch.rand(GRID.shape, generator=generator)
    top = base + 6 * torch.rand(GRID.shape, generator=generator) * (torch.rand(GRID.shape, generator=generator) > 0.5)
    start, end = lines(100)
    fraction = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    points = start + fraction[:, None, None] * (end - start)
    row, column = GRID.pixel_of(points)
    inside = GRID.contains(points) & (points[..., 2] > base[row, column]) & (points[..., 2] < top[row, column])
    steps = inside.double().mean(0) * (end - start).norm(dim=1)
    found = lengths_in_canopy(Canopy.of_rasters(GRID, base, top), start, end)
    assert float(found.max()) > 10
    torch.testing.assert_close(found, steps, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("start", "end", "length"),
    [
        ((-30.0, 0.0, 5.0), (30.0, 0.0, 5.0), 40.0),  # along an axis, and along a border of pixels
        ((0.5, 0.0, 20.0), (0.5, 0.0, 0.0), 7.0),  # straight down
        ((0.5, 0.5, 5.0), (0.5, 0.5, 5.0), 0.0),  # no line at all
        ((1.0, 1.0, 5.0), (4.0, 5.0, 5.0), 5.0),  # inside
        ((-30.0, 0.0, 10.5), (30.0, 0.0, 10.5), 0.0),  # above
    ],
)
def test_lines_along_axes_have_their_lengths(start, end, length):
    ends = [torch.tensor([point], requires_grad=True) for point in (start, end)]
    found = lengths_in_canopy(box(), *ends)
    assert float(found.detach()) == pytest.approx(length, abs=1e-3)
    assert all(bool(gradient.isfinite().all()) for gradient in torch.autograd.grad(found.sum(), ends))


def test_second_derivatives_are_refused():
    start, end = (point.requires_grad_() for point in lines(3))
    with pytest.raises(UelError, match="first derivatives only"):
        torch.autograd.grad(lengths_in_canopy(box(), start, end).sum(), start, create_graph=True)
