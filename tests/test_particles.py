"""Filters of tracks against brute force, and the limit against what is exact for a phone that stands."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.small import CORNERS, masts, radio_map
from uel.errors import UelError
from uel.estimates import Pixels
from uel.grid import Grid
from uel.measurement import MeasurementModel
from uel.metrics import position_error
from uel.particles import FadingEvidence, Motion, RasterEvidence, follow, standing_limit
from uel.posterior import grid_posterior
from uel.reports import Reports
from uel.sites import reference_power_dbm
from uel.walks import unit

FINE = Grid(size=256.0, pixel=2.0)
FREE = torch.ones(FINE.shape, dtype=torch.bool)
ALONG = MeasurementModel(decorrelation_distance=37.0)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def straight(speed: float, tracks: int, reports: int, number: int = 0) -> tuple[Tensor, Tensor]:
    """Positions and times of phones that go straight on, in the middle of the tile."""
    start = (torch.rand(tracks, 1, 2, generator=seed(number)) - 0.5) * 100
    heading = unit(2 * math.pi * torch.rand(tracks, 1, generator=seed(number + 1)))
    time = 0.5 * torch.arange(reports).expand(tracks, -1)
    return start + heading * speed * time.unsqueeze(-1), time


def test_a_car_is_found_as_by_brute_force() -> None:
    """Evidence like a compass of lumps; every start and heading of a fine lattice, walked and weighed in a loop."""
    grid = Grid(size=256.0, pixel=8.0)
    position, time = straight(10.0, 3, 6)
    blur = (grid.centres().reshape(1, 1, -1, 2) - position.unsqueeze(2)).norm(dim=-1) / 25.0
    log_density = (-(blur**2) / 2).unflatten(2, grid.shape)
    motion = Motion(FINE, FREE, 10.0, wander=False)
    evidence = RasterEvidence(grid, log_density, torch.ones(grid.shape))
    got = follow(evidence, grid, motion, time, 4000, seed(1))
    mean = (got.weight.unsqueeze(-1) * got.position).sum(1)
    for track in range(3):
        total, where = 0.0, torch.zeros(2)
        for angle in torch.arange(48) * (2 * math.pi / 48):
            start = Grid(size=256.0, pixel=4.0).centres().reshape(-1, 2)
            path = start.unsqueeze(1) + unit(angle) * 10.0 * time[track][:, None]
            inside = (path.abs() < 127).all(-1).all(-1)
            row, column = grid.pixel_of(path)
            weight = log_density[track, torch.arange(6), row, column].sum(1).exp() * inside
            total, where = total + float(weight.sum()), where + (weight.unsqueeze(1) * path[:, -1]).sum(0)
        torch.testing.assert_close(mean[track], where / total, atol=1.5, rtol=0)


def test_particles_stay_where_phones_can_be() -> None:
    free = FREE.clone()
    free[:, 64:] = False
    motion = Motion(FINE, free, 10.0, wander=False)
    grid = Grid(size=256.0, pixel=8.0)
    prior = torch.nn.functional.avg_pool2d(free.float()[None], 4)[0]
    evidence = RasterEvidence(grid, torch.zeros(1, 20, *grid.shape), prior)
    got = follow(evidence, grid, motion, 0.5 * torch.arange(20.0).unsqueeze(0), 500, seed(0))
    assert bool(motion.allows(got.position)[got.weight > 0].all())
    assert float(got.weight.sum()) == pytest.approx(1.0, abs=1e-4)


def world(speed: float, tracks: int, reports: int) -> tuple[Reports, Tensor, Tensor, object]:
    """Phones in free space with fading along their tracks."""
    radio = radio_map(masts(*CORNERS[:5]), pixel=8.0)
    position, time = straight(speed, tracks, reports)
    power = reference_power_dbm(radio.sites)
    return ALONG.observe(radio.truth(position), power, seed(7)), position, time, radio


def test_standing_levels_say_once_what_they_say() -> None:
    """Levels repeat: with levels alone, twenty reports know what one knows; ranges and azimuths add up."""
    reports, position, _, radio = world(0.0, 6, 20)
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)  # type: ignore[attr-defined]
    levels = reports.tier("T0")
    assert bool((reports.rsrp_dbm == reports.rsrp_dbm[:, :1]).all())
    one = grid_posterior(levels[:, 0], radio, prior, ALONG, power)  # type: ignore[arg-type]
    torch.testing.assert_close(standing_limit(levels, radio, prior, ALONG), one)  # type: ignore[arg-type]
    many, single = (standing_limit(r, radio, prior, ALONG) for r in (reports, reports[:, :1]))  # type: ignore[arg-type]
    error = lambda p: float(position_error(Pixels(radio.grid, p).position, position[:, -1]).mean())  # noqa: E731  # type: ignore[attr-defined]
    assert error(many) < error(single)


def test_the_filter_of_the_limit_is_exact_where_phones_stand() -> None:
    reports, _, time, radio = world(0.0, 6, 6)
    prior = torch.ones(radio.grid.shape)  # type: ignore[attr-defined]
    exact = Pixels(radio.grid, standing_limit(reports, radio, prior, ALONG)).position  # type: ignore[attr-defined,arg-type]
    evidence = FadingEvidence(reports, radio, prior, ALONG)  # type: ignore[arg-type]
    motion = Motion(FINE, FREE, 0.0, wander=False)
    got = follow(evidence, radio.grid, motion, time, 4000, seed(2)).median  # type: ignore[attr-defined]
    assert float(position_error(got, exact).mean()) < 1.5


def test_a_moving_phone_is_known_better_than_by_its_last_report() -> None:
    reports, position, time, radio = world(10.0, 24, 12)
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)  # type: ignore[attr-defined]
    last = Pixels(radio.grid, grid_posterior(reports[:, -1], radio, prior, ALONG, power)).position  # type: ignore[attr-defined,arg-type]
    motion = Motion(FINE, FREE, 10.0, wander=False)
    evidence = FadingEvidence(reports, radio, prior, ALONG)  # type: ignore[arg-type]
    got = follow(evidence, radio.grid, motion, time, 3000, seed(2)).median  # type: ignore[attr-defined]
    better, alone = (float(position_error(p, position[:, -1]).mean()) for p in (got, last))
    assert better < 0.7 * alone


def test_realism_that_the_limit_does_not_know_is_refused() -> None:
    reports, _, _, radio = world(0.0, 1, 2)
    for wrong in (replace(ALONG, cell_dropout=0.2), replace(ALONG, decorrelation_distance=0.0)):
        with pytest.raises(UelError, match="decorrelation"):
            FadingEvidence(reports, radio, torch.ones(radio.grid.shape), wrong)  # type: ignore[arg-type,attr-defined]
