"""Paths around two edges: where they turn, and how much they lose."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sim_bridge.paths.image_method import points_on_two_edges
from tests.helpers.blocks import rectangle, ridges, simulator
from tests.helpers.knife_edges import TWICE, epstein_peterson_db
from tests.helpers.ray_traced_scenes import bundled, friis, mast
from uel.core.constants import SPEED_OF_LIGHT


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


def test_paths_around_one_edge_have_the_same_field_beside_paths_around_two() -> None:
    places, fields = torch.tensor([[25.0, -3.0, 1.5], [24.0, 18.0, 1.5]]), []
    for order in (1, 2):
        tracing = {"max_depth": 2, "samples": 2000, "diffraction": True, "diffraction_order": order}
        paths = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), **tracing).trace(places)
        assert (paths.interactions[:, 2] == 2).any() == (order == 2)
        one = (paths.interactions[:, 2] == 1).nonzero()[:, 0]
        fields.append(paths.amplitude[one, :, 0])
    assert len(fields[0]) > 20
    torch.testing.assert_close(*fields, rtol=1e-3, atol=1e-9)


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
