"""Paths around edges: over roofs, at no seam, and where the closed form has them."""

import math

import pytest
import torch
from torch import Tensor

from tests.helpers.blocks import rectangle, simulator
from tests.helpers.ray_traced_scenes import friis, mast
from uel.core.constants import SPEED_OF_LIGHT

LONG = rectangle((0.0, 2.0), (-100.0, 100.0))
DETOUR = {"max_depth": 1, "diffraction": True}


def knife_edge_loss_db(near: float, far: float, height: float, wavelength: float) -> float:
    """ITU-R P.526-15, equations 26 and 31: loss of a knife edge `height` above the line, `near` and `far` from its
    ends (m)."""
    nu = height * math.sqrt(2 / wavelength * (1 / near + 1 / far))
    return 6.9 + 20 * math.log10(math.sqrt((nu - 0.1) ** 2 + 1) + nu - 0.1)


def gain_db(sim, position: Tensor) -> Tensor:
    return 10 * sim.path_gain(position).log10()[:, 0]


def test_a_shadow_behind_a_roof_is_as_deep_as_behind_a_knife_edge() -> None:
    """The far eave of a block of 20 m, which a mast of 30 m sees; a wedge of 90° is no knife."""
    sim = simulator([(LONG, 20.0)], mast((-60.0, 0.0, 30.0)), **DETOUR)
    for x in (30.0, 60.0, 110.0):
        phone = torch.tensor([[x, 0.0, 1.5]])
        found = sim.trace(phone)
        assert found.interactions.tolist() == [[0, 0, 1, 0]]
        assert float(found.delay[0]) * SPEED_OF_LIGHT == pytest.approx(
            math.hypot(62, 10) + math.hypot(x - 2, 18.5), abs=1e-2
        )
        line = 30 - 28.5 * 62 / (60 + x)
        loss = knife_edge_loss_db(62.0, x - 2.0, 20 - line, SPEED_OF_LIGHT / 3.5e9)
        closed_form = 10 * float(friis((phone - torch.tensor([-60.0, 0.0, 30.0])).norm(dim=-1).double()).log10()) - loss
        assert float(gain_db(sim, phone)[0]) == pytest.approx(closed_form, abs=10.0)


def test_behind_two_edges_there_is_no_path() -> None:
    sim = simulator([(LONG, 20.0)], mast((-60.0, 0.0, 15.0)), **DETOUR)
    assert not bool(sim.trace(torch.tensor([[60.0, 0.0, 1.5]])).known().any())


def test_houses_in_a_row_have_the_paths_of_one_hall() -> None:
    """Their seams and party walls do not diffract, with a reflection besides, either."""
    row = [(rectangle((x, x + 10.0), (0.0, 12.0)), 9.0) for x in range(-30, 30, 10)]
    phones = torch.tensor([[0.0, -25.0, 1.5], [12.0, -9.0, 1.5], [5.0, 30.0, 1.5], [-45.0, 20.0, 1.5]])
    found = []
    for buildings in ([(rectangle((-30.0, 30.0), (0.0, 12.0)), 9.0)], row):
        sim = simulator(buildings, mast((-20.0, -40.0, 14.0)), **{**DETOUR, "max_depth": 2, "samples": 20_000})
        found.append(sim.trace(phones))
    whole, houses = found
    assert bool((whole.interactions[:, 2] > 0).any())
    assert houses.count().tolist() == whole.count().tolist()
    torch.testing.assert_close(houses.gain(), whole.gain(), rtol=0.01, atol=0)


def test_a_path_around_an_edge_is_found_once_however_few_the_rays() -> None:
    buildings = [(rectangle((x, x + 8.0), (y, y + 8.0)), 10.0) for x in (-40.0, 0.0, 40.0) for y in (-40.0, 20.0)]
    phones = torch.tensor([[20.0, 0.0, 1.5], [4.0, 40.0, 1.5], [-60.0, -36.0, 1.5]])
    few, many = (
        simulator(buildings, mast((-10.0, 0.0, 25.0)), **DETOUR, samples=samples, seed=samples).trace(phones)
        for samples in (10, 30_000)
    )
    around = [found.interactions[:, 2] > 0 for found in (few, many)]
    assert int(around[0].sum()) == 7
    torch.testing.assert_close(few.power[around[0]], many.power[around[1]])
    pairs = torch.stack([few.target[around[0]].double(), few.delay[around[0]].double() * 1e9], -1)
    assert len(torch.unique(pairs.round(decimals=4), dim=0)) == len(pairs)


def test_gain_over_a_roof_has_the_slope_of_its_differences() -> None:
    sim = simulator([(LONG, 20.0)], mast((-60.0, 0.0, 30.0)), **DETOUR)
    phone = torch.tensor([[60.0, 5.0, 1.5]], requires_grad=True)
    gain_db(sim, phone).sum().backward()
    assert phone.grad is not None
    for axis, step in ((0, 0.2), (2, 0.1)):
        shift = torch.zeros(1, 3)
        shift[0, axis] = step
        ahead, behind = gain_db(sim, phone.detach() + shift), gain_db(sim, phone.detach() - shift)
        assert float(phone.grad[0, axis]) == pytest.approx(float((ahead - behind)[0]) / (2 * step), rel=0.03, abs=2e-3)
