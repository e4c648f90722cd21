"""Gains across the boundaries of shadow and reflection: those of the knife edge, without a jump."""

import math

import pytest
import scipy.special
import torch
from torch import Tensor

from sim_bridge.simulator import Sionna
from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.constants import SPEED_OF_LIGHT

WAVELENGTH = SPEED_OF_LIGHT / 3.5e9
MAST = (-100.0, 0.0, 30.0)
WALL = rectangle((0.0, 0.3), (-120.0, 120.0))
EDGE = (0.3, 20.0)  # x and z of the edge over which the shadow begins


@pytest.fixture(scope="module")
def screen() -> Sionna:
    """A wall of 20 m, and a mast of 30 m in front of it."""
    return simulator([(WALL, 20.0)], mast(MAST), size=512.0, max_depth=1, diffraction=True)


def over_free_space_db(sim: Sionna, position: Tensor) -> Tensor:
    """Gain in dB over that of the line from the mast."""
    line = (position.double() - torch.tensor(MAST, dtype=torch.float64)).norm(dim=-1)
    return 10 * (sim.path_gain(position)[:, 0].double() / friis(line)).log10()


def knife_edge_db(position: Tensor) -> tuple[list[float], list[float]]:
    """ν and J(ν) of ITU-R P.526-15, equations 26 to 30, at positions in the plane y = 0."""
    nus, gains = [], []
    for x, _, z in position.tolist():
        before = math.hypot(EDGE[0] - MAST[0], EDGE[1] - MAST[2])
        behind = math.hypot(x - EDGE[0], z - EDGE[1])
        detour = before + behind - math.hypot(x - MAST[0], z - MAST[2])
        hidden = z < MAST[2] + (EDGE[1] - MAST[2]) * (x - MAST[0]) / (EDGE[0] - MAST[0])
        nu = (1 if hidden else -1) * 2 * math.sqrt(detour / WAVELENGTH)
        sine, cosine = scipy.special.fresnel(nu)
        nus.append(nu)
        gains.append(10 * math.log10(((0.5 - cosine) ** 2 + (0.5 - sine) ** 2) / 2))
    return nus, gains


def boundary(x: float) -> float:
    """Height of the shadow's boundary at x, m."""
    return MAST[2] + (EDGE[1] - MAST[2]) * (x - MAST[0]) / (EDGE[0] - MAST[0])


def column(x: float, heights: list[float]) -> Tensor:
    return torch.tensor([[x, 0.0, boundary(x) + height] for height in heights])


def test_gain_beside_and_behind_a_wall_is_that_of_a_knife_edge(screen: Sionna) -> None:
    phones = column(100.3, [-2.0, -1.0, -0.5, 0.001, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0])
    nu, knife = knife_edge_db(phones)
    assert min(nu) < -3
    assert max(nu) > 0.6
    apart = over_free_space_db(screen, phones) - torch.tensor(knife, dtype=torch.float64)
    assert float(apart.abs().max()) < 1.0


def test_on_the_boundary_gain_is_a_quarter(screen: Sionna) -> None:
    """Far enough from the wall, whose metal adds to it."""
    assert float(over_free_space_db(screen, column(200.0, [0.002]))) == pytest.approx(-6.0, abs=0.5)


@pytest.mark.parametrize("x", [2.0, 30.0, 200.0])
def test_gain_has_no_jump_where_the_shadow_begins(screen: Sionna, x: float) -> None:
    phones = column(x, [-0.01, -0.002, 0.002, 0.01]).requires_grad_()
    gain = over_free_space_db(screen, phones)
    below, across, above = (gain[1:] - gain[:-1]).tolist()  # over 8, 4 and 8 mm
    assert across == pytest.approx((below + above) / 4, abs=0.01)
    gain.sum().backward()
    assert phones.grad is not None
    assert bool(phones.grad.isfinite().all())


def test_the_slope_across_the_boundary_is_that_of_differences(screen: Sionna) -> None:
    for height in (-0.5, 0.5):
        phone = column(100.3, [height]).requires_grad_()
        over_free_space_db(screen, phone).sum().backward()
        assert phone.grad is not None
        step = torch.tensor([[0.0, 0.0, 0.05]])
        ahead, behind = (over_free_space_db(screen, phone.detach() + sign * step) for sign in (1, -1))
        assert float(phone.grad[0, 2]) == pytest.approx(float(ahead - behind) / 0.1, rel=0.05)


def test_slopes_are_finite_however_small_the_interference_is() -> None:
    """Behind a column: around either side detours are 20 to 45 waves, and weights to the fourth leave double range."""
    column_of_three_sides = [([(0.0, -6.0), (3.0, 0.0), (0.0, 6.0)], 20.0)]
    small = simulator(column_of_three_sides, mast(MAST), size=512.0, max_depth=1, diffraction=True)
    phones = torch.tensor([[4.0 + 0.1 * step, 0.0, 1.5] for step in range(80)]).requires_grad_()
    gain = small.path_gain(phones)
    assert bool((gain > 0).all())
    gain.log().sum().backward()
    assert phones.grad is not None
    assert bool(phones.grad.isfinite().all())


def test_gain_has_no_jump_where_a_reflection_ends() -> None:
    """In front of a wall of metal: beyond the line by way of its corner there is no reflection."""
    sim = simulator([(rectangle((0.0, 10.0), (-50.0, 0.0)), 30.0)], mast((-40.0, -30.0, 10.0)), max_depth=1,
                    diffraction=True)  # fmt: skip
    # The image of the mast is at (40, −30): seen from x = −30 it ends at y = 30 · 30 / 40.
    y = 22.5 + torch.tensor([-0.3, -0.01, 0.01, 0.3])
    phones = torch.stack([torch.full((4,), -30.0), y, torch.full((4,), 10.0)], -1).requires_grad_()
    paths = sim.trace(phones)
    assert paths.interactions[:, 0].bool().any()
    assert paths.interactions[:, 2].bool().any()
    gain = 10 * paths.gain().log10()[:, 0]
    reflected = [int(((paths.target == k) & (paths.interactions[:, 0] > 0)).sum()) for k in range(4)]
    assert reflected == [1, 1, 0, 0]
    assert float((gain[2] - gain[1]).detach().abs()) < 0.1
    gain.sum().backward()
    assert phones.grad is not None
    assert bool(phones.grad.isfinite().all())


def test_far_from_boundaries_powers_add_up(screen: Sionna) -> None:
    """50 m above the boundary the wave from the edge is a wave of its own."""
    paths = screen.trace(column(100.3, [50.0]))
    alone = paths.amplitude.abs().square().sum((1, 2))
    torch.testing.assert_close(paths.power, alone, rtol=1e-4, atol=0)
