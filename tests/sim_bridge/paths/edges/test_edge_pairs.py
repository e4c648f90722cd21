"""Paths around two edges: where they turn, and how much they lose."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
import torch

from sim_bridge.paths.image_method import points_on_two_edges
from tests.helpers.blocks import rectangle, ridges, simulator
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.constants import SPEED_OF_LIGHT

WAVELENGTH = SPEED_OF_LIGHT / 3.5e9
TWICE = {"max_depth": 2, "diffraction": True, "diffraction_order": 2, "size": 512.0}


def knife_edge_db(near: float, far: float, height: float) -> float:
    """Loss J(ν) of ITU-R P.526-15, equations 26 to 30, of an edge `height` above the line between its ends (m)."""
    sine, cosine = scipy.special.fresnel(height * math.sqrt(2 / WAVELENGTH * (1 / near + 1 / far)))
    return -10 * math.log10(((0.5 - cosine) ** 2 + (0.5 - sine) ** 2) / 2)


def epstein_peterson_db(points: list[tuple[float, float]]) -> float:
    """Loss over two edges by ITU-R P.526-15, section 4.4.1: x and z of the ends and of the edges between them."""
    x0, x1, x2, x3 = (x for x, _ in points)

    def above(a, b, c):
        return b[1] - (a[1] + (c[1] - a[1]) * (b[0] - a[0]) / (c[0] - a[0]))

    a, b, c = x1 - x0, x2 - x1, x3 - x2
    one = knife_edge_db(a, b, above(points[0], points[1], points[2]))
    two = knife_edge_db(b, c, above(points[1], points[2], points[3]))
    return one + two + 10 * math.log10((a + b) * (b + c) / (b * (a + b + c)))


@pytest.mark.parametrize(
    ("tops", "antenna", "phone"),
    [
        (((0.0, 30.0), (60.0, 26.0)), (-80.0, 10.0), (120.0, 1.5)),
        (((0.0, 25.0), (40.0, 25.0)), (-60.0, 15.0), (100.0, 1.5)),
    ],
)
def test_two_ridges_lose_what_two_knife_edges_lose(tops, antenna, phone) -> None:
    sim = ridges(list(tops), mast((antenna[0], 0.0, antenna[1])), **TWICE)
    position = torch.tensor([[phone[0], 0.0, phone[1]]])
    paths = sim.trace(position)
    assert 2 in paths.interactions[:, 2].tolist()
    line = (position.double() - torch.tensor([antenna[0], 0.0, antenna[1]], dtype=torch.float64)).norm(dim=-1)
    loss = 10 * float((friis(line) / paths.gain()[0, 0]).log10())
    assert loss == pytest.approx(epstein_peterson_db([antenna, *tops, phone]), abs=2.0)


def test_over_a_flat_roof_that_hides_its_far_eave_there_is_a_path() -> None:
    """As deep as two knife edges, and only with two edges; around the corners there are ways, too."""
    roof = [(rectangle((0.0, 12.0), (-150.0, 150.0)), 20.0)]
    phone = torch.tensor([[60.0, 0.0, 1.5]])
    assert not simulator(roof, mast((-60.0, 0.0, 15.0)), max_depth=2, diffraction=True).trace(phone).known().any()
    paths = simulator(roof, mast((-60.0, 0.0, 15.0)), **TWICE).trace(phone)
    assert paths.interactions[:, 2].tolist() == [2] * len(paths.power)
    over = int(paths.delay.argmin())
    line = torch.tensor(math.hypot(120.0, 13.5), dtype=torch.float64)
    loss = 10 * float((friis(line) / paths.power[over]).log10())
    ends = [(-60.0, 15.0), (0.0, 20.0), (12.0, 20.0), (60.0, 1.5)]
    assert loss == pytest.approx(epstein_peterson_db(ends), abs=2.0)
    way = sum(math.dist(a, b) for a, b in pairwise(ends))
    assert float(paths.delay[over]) * SPEED_OF_LIGHT == pytest.approx(way, abs=1e-2)


def test_gain_over_two_edges_has_the_slope_of_its_differences() -> None:
    roof = [(rectangle((0.0, 12.0), (-150.0, 150.0)), 20.0)]
    sim = simulator(roof, mast((-60.0, 0.0, 15.0)), **TWICE)
    phone = torch.tensor([[60.0, 5.0, 1.5]], requires_grad=True)
    sim.path_gain(phone).log().sum().backward()
    assert phone.grad is not None
    for axis in (0, 2):
        step = torch.eye(3)[axis : axis + 1] * 0.2
        ahead, behind = (sim.path_gain(phone.detach() + sign * step).double().log() for sign in (1, -1))
        assert float(phone.grad[0, axis]) == pytest.approx(float(ahead - behind) / 0.4, rel=0.03, abs=1e-4)
    frozen = sim.freeze(phone.detach())
    torch.testing.assert_close(frozen.trace(phone.detach() + 0.5).gain(), sim.path_gain(phone.detach() + 0.5))


def test_the_shortest_way_by_two_lines_is_that_of_a_search() -> None:
    torch.manual_seed(0)
    ends = torch.randn(6, 50, 3, dtype=torch.float64)
    source, target, first, second = 20 * ends[0] - 30, 20 * ends[1] + 30, 5 * ends[2] - 5, 5 * ends[3] + 5
    axes = torch.nn.functional.normalize(ends[4:], dim=-1)
    along = points_on_two_edges(source, target, first, axes[0], second, axes[1])

    def length(shift: torch.Tensor) -> torch.Tensor:
        one, two = first + (along + shift)[:, :1] * axes[0], second + (along + shift)[:, 1:] * axes[1]
        return (one - source).norm(dim=-1) + (two - one).norm(dim=-1) + (target - two).norm(dim=-1)

    for shift in np.random.default_rng(0).normal(size=(20, 2)):
        assert bool((length(torch.from_numpy(shift)) >= length(torch.zeros(2)) - 1e-9).all())
