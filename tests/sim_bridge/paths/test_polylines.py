"""Paths as lines: they start at the antenna, end at the phone, and are as long as their delay says."""

import pytest
import torch

from sim_bridge.paths.polylines import trace_polylines
from tests.helpers.ray_traced_scenes import bundled, empty, image, mast, mirror
from uel.core.constants import SPEED_OF_LIGHT
from uel.errors import UelError

SLAB = {"relative_permittivity": 5.0, "conductivity": 0.1, "thickness": 0.3}


def length(line: torch.Tensor) -> float:
    return float(line.diff(dim=0).norm(dim=-1).sum())


def test_the_direct_line():
    sites = mast((3.0, -2.0, 20.0))
    found = trace_polylines(empty(sites).finder, torch.tensor([[40.0, 10.0, 1.5]]))
    assert found.line(0).tolist() == [[3.0, -2.0, 20.0], [40.0, 10.0, 1.5]]


def test_a_reflection_lies_where_the_image_sees_it():
    position = torch.tensor([[60.0, -10.0, 8.0], [-30.0, 20.0, 4.0]])
    sites = mast((3.0, -2.0, 20.0))
    found = trace_polylines(mirror(sites, SLAB).finder, position)
    bounced = (found.paths.bounces == 1).nonzero()[:, 0].tolist()
    assert len(bounced) == 2
    source = torch.tensor(image(sites[0].position))
    for row in bounced:
        target = position[found.paths.target[row]]
        share = source[2] / (source[2] - target[2])
        torch.testing.assert_close(found.line(row)[1], source + share * (target - source), atol=1e-3, rtol=0)


@pytest.mark.parametrize("diffraction", [False, True])
def test_lines_are_as_long_as_their_delays_say(diffraction):
    sim = bundled("simple_street_canyon", mast((0.0, 0.0, 25.0)), diffraction=diffraction, max_depth=2)
    position = torch.tensor([[20.0, 2.0, 1.5], [-30.0, -1.0, 1.5], [45.0, 60.0, 1.5]])
    found = trace_polylines(sim.finder, position)
    assert len(found.paths.power) > 3
    assert (found.paths.power > 0).all()
    for row in range(len(found.paths.power)):
        line = found.line(row)
        assert len(line) == 2 + int(found.paths.bounces[row])
        torch.testing.assert_close(line[-1], position[found.paths.target[row]])
        assert length(line) / SPEED_OF_LIGHT == pytest.approx(float(found.paths.delay[row]), rel=1e-4)
    torch.testing.assert_close(found.paths.gain(), sim.path_gain(position), rtol=1e-4, atol=0)


def test_places_without_a_path_and_places_off_the_world():
    sim = bundled("simple_street_canyon", mast((0.0, 0.0, 25.0)), max_depth=0)
    found = trace_polylines(sim.finder, torch.tensor([[45.0, 60.0, 1.5]]))
    assert len(found.paths.power) == len(found.corner) == 0
    with pytest.raises(UelError):
        trace_polylines(sim.finder, torch.tensor([[float("nan"), 0.0, 1.5]]))
