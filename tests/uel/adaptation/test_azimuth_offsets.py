"""Antennas' azimuths from labelled reports: put right where they were wrong, left alone where they were right."""

from pathlib import Path

import pytest
import torch

from tests.helpers.toy_city import toy_deployment
from uel.adaptation.azimuth_offsets import azimuth_offset_deg
from uel.estimation.baselines import LocalizationProblem
from uel.measurement.model import ObservationModel

WRONG = torch.tensor([12.0, -9.0, 0.0, 25.0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return toy_deployment(Path(tmp_path_factory.mktemp("toy")))


def place(world, tier: str, wrong: torch.Tensor, count: int = 256) -> LocalizationProblem:
    """Labelled reports whose angles read too far clockwise."""
    model = ObservationModel(tier=tier)  # type: ignore[arg-type]
    reports, position = world.reports_from_map(count, model, torch.Generator().manual_seed(3))
    return LocalizationProblem(world.maps.radio, world.maps.prior, model, reports.rotate_angles(wrong), position)


@pytest.mark.parametrize("tier", ["rsrp_ta_azimuth", "rsrp_toa_aoa"])
def test_turned_antennas_are_found(world, tier: str) -> None:
    found = azimuth_offset_deg(place(world, tier, WRONG))
    # Angles err by 5 degrees in sight and come from some 60 phones a cell: half a degree, twice that seldom.
    assert (found - WRONG).abs().max() < 2.0


def test_what_is_right_stays(world) -> None:
    assert not azimuth_offset_deg(place(world, "rsrp_ta_azimuth", torch.zeros(4))).any()
    assert not azimuth_offset_deg(place(world, "rsrp_ta", WRONG)).any()  # no angles, no turns


def test_little_data_turns_nothing(world) -> None:
    few = place(world, "rsrp_ta_azimuth", torch.full((4,), 3.0), count=2)
    assert not azimuth_offset_deg(few).any()


def test_angles_are_read_anew(world) -> None:
    reports = place(world, "rsrp_toa_aoa", WRONG).fingerprints
    straight = reports.rotate_angles(-WRONG)
    off = (straight.aoa_deg - place(world, "rsrp_toa_aoa", torch.zeros(4)).fingerprints.aoa_deg + 180) % 360 - 180
    assert off.abs().max() < 1e-3
    assert torch.equal(straight.has_aoa, reports.has_aoa)
    assert not straight.aoa_deg[~reports.has_aoa].any()
