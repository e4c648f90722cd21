"""Antenna gains in closed form, against what the ray tracer radiates into empty space."""

import math
from dataclasses import replace

import pytest
import torch

from tests.helpers import ray_traced_scenes
from uel.radio.antennas.gain import antenna_gain_db
from uel.radio.sites import Array, Cell, Site

MAST = (3.0, -2.0, 20.0)
TURNS = {"azimuth_deg": 77.0, "tilt_deg": 9.0}


def sphere(count: int = 60) -> torch.Tensor:
    """Unit vectors all around, on a spiral."""
    step = torch.arange(count, dtype=torch.float64) + 0.5
    up, turn = 1 - 2 * step / count, step * 2.399963
    level = (1 - up**2).sqrt()
    return torch.stack([level * turn.cos(), level * turn.sin(), up], -1)


@pytest.mark.parametrize(
    "array",
    [
        Array(polarization="VH"),
        Array(pattern="dipole", polarization="H"),
        Array(pattern="tr38901", polarization="cross"),
        Array(rows=4, columns=2, spacing=0.6, pattern="dipole"),
        Array(rows=2, columns=4, spacing=0.6, pattern="tr38901", polarization="VH"),
    ],
)
def test_gain_is_what_the_tracer_radiates(array: Array) -> None:
    sites = ray_traced_scenes.sector(MAST, array, **TURNS)
    position = (100 * sphere() + torch.tensor(MAST)).float()
    way = position.double() - torch.tensor(MAST, dtype=torch.float64)
    distance = way.norm(dim=-1)
    traced = ray_traced_scenes.empty(sites).path_gain(position)[:, 0].double() / ray_traced_scenes.friis(distance)
    gain = antenna_gain_db(sites, (way / distance.unsqueeze(-1)).unsqueeze(1))[:, 0]
    heard = gain > -30  # deeper in a null, single precision tells
    assert heard.sum() > 30
    torch.testing.assert_close(10 * traced.log10()[heard], gain[heard], atol=2e-3, rtol=0)


def test_boresight_of_an_array() -> None:
    sites = ray_traced_scenes.sector(MAST, Array(rows=4, columns=2, pattern="tr38901"), azimuth_deg=90.0, tilt_deg=30.0)
    ahead = torch.tensor([[math.cos(math.radians(30)), 0.0, -0.5]])
    assert float(antenna_gain_db(sites, ahead)) == pytest.approx(8 + 10 * math.log10(8), abs=1e-5)


@pytest.mark.parametrize(
    "cell",
    [
        Cell(),
        Cell(array=Array(rows=4, pattern="dipole")),
        Cell(array=Array(pattern="tr38901")),
        Cell(array=Array(columns=2)),
        Cell(tilt_deg=10.0, array=Array(pattern="dipole")),
    ],
)
def test_an_antenna_looks_everywhere_if_turning_it_changes_nothing(cell: Cell) -> None:
    turned = [Site(position=MAST, cells=(replace(cell, azimuth_deg=turn),)) for turn in (0.0, 37.0, 110.0)]
    north, *others = (antenna_gain_db((site,), sphere().unsqueeze(1)) for site in turned)
    assert cell.omnidirectional == all(bool((gain - north).abs().max() < 1e-5) for gain in others)
