"""Filters of tracks against brute force, and the limit against what is exact for a phone that stands."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.helpers.free_space import CORNERS, masts, radio_map
from training.evaluation.methods import EvaluationCase
from training.evaluation.track_methods import TrackEvaluationCase, TrackReports, _tune_likelihood, track_batches
from uel.core.grid import Grid
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.estimates import GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.particle_filter import MotionModel, filter_track
from uel.estimation.scoring import position_error
from uel.estimation.track_likelihood import CorrelatedFadingLikelihood, RasterLikelihood
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.mobility.motion import unit_vector
from uel.radio.sites import reference_power_dbm

FINE = Grid(size=256.0, pixel=2.0)
FREE = torch.ones(FINE.shape, dtype=torch.bool)
ALONG = ObservationModel(decorrelation_distance=37.0)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def straight(speed: float, tracks: int, reports: int, number: int = 0) -> tuple[Tensor, Tensor]:
    """Positions and times of phones that go straight on, in the middle of the tile."""
    start = (torch.rand(tracks, 1, 2, generator=seed(number)) - 0.5) * 100
    heading = unit_vector(2 * math.pi * torch.rand(tracks, 1, generator=seed(number + 1)))
    time = 0.5 * torch.arange(reports).expand(tracks, -1)
    return start + heading * speed * time.unsqueeze(-1), time


def test_a_car_is_found_as_by_brute_force() -> None:
    """Evidence like a compass of lumps; every start and heading of a fine lattice, walked and weighed in a loop."""
    grid = Grid(size=256.0, pixel=8.0)
    position, time = straight(10.0, 3, 6)
    blur = (grid.centres().reshape(1, 1, -1, 2) - position.unsqueeze(2)).norm(dim=-1) / 25.0
    log_density = (-(blur**2) / 2).unflatten(2, grid.shape)
    motion = MotionModel(FINE, FREE, 10.0, wander=False)
    evidence = RasterLikelihood(grid, log_density, torch.ones(grid.shape))
    got = filter_track(evidence, grid, motion, time, 4000, seed(1))
    mean = (got.weight.unsqueeze(-1) * got.position).sum(1)
    for track in range(3):
        total, where = 0.0, torch.zeros(2)
        for angle in torch.arange(48) * (2 * math.pi / 48):
            start = Grid(size=256.0, pixel=4.0).centres().reshape(-1, 2)
            path = start.unsqueeze(1) + unit_vector(angle) * 10.0 * time[track][:, None]
            inside = (path.abs() < 127).all(-1).all(-1)
            row, column = grid.pixel_of(path)
            weight = log_density[track, torch.arange(6), row, column].sum(1).exp() * inside
            total, where = total + float(weight.sum()), where + (weight.unsqueeze(1) * path[:, -1]).sum(0)
        torch.testing.assert_close(mean[track], where / total, atol=1.5, rtol=0)


def test_particles_stay_where_phones_can_be() -> None:
    free = FREE.clone()
    free[:, 64:] = False
    motion = MotionModel(FINE, free, 10.0, wander=False)
    grid = Grid(size=256.0, pixel=8.0)
    prior = torch.nn.functional.avg_pool2d(free.float()[None], 4)[0]
    evidence = RasterLikelihood(grid, torch.zeros(1, 20, *grid.shape), prior)
    got = filter_track(evidence, grid, motion, 0.5 * torch.arange(20.0).unsqueeze(0), 500, seed(0))
    assert bool(motion.allows(got.position)[got.weight > 0].all())
    assert float(got.weight.sum()) == pytest.approx(1.0, abs=1e-4)


def world(speed: float, tracks: int, reports: int) -> tuple[Reports, Tensor, Tensor, object]:
    """Phones in free space with fading along their tracks."""
    radio = radio_map(masts(*CORNERS[:5]), pixel=8.0)
    position, time = straight(speed, tracks, reports)
    power = reference_power_dbm(radio.sites)
    return ALONG.observe(radio.pixel_truth(position), power, seed(7)), position, time, radio


def test_standing_levels_say_once_what_they_say() -> None:
    """Levels repeat: with levels alone, twenty reports know what one knows; ranges and azimuths add up."""
    reports, position, _, radio = world(0.0, 6, 20)
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)  # type: ignore[attr-defined]
    levels = reports.with_tier("rsrp")
    assert bool((reports.rsrp_dbm == reports.rsrp_dbm[:, :1]).all())
    one = grid_posterior(levels[:, 0], radio, prior, ALONG, power)  # type: ignore[arg-type]

    def stands(r):
        return CorrelatedFadingLikelihood(r, radio, prior, ALONG).stationary_posterior()  # type: ignore[arg-type]

    torch.testing.assert_close(stands(levels), one)
    many, single = stands(reports), stands(reports[:, :1])

    def error(p):
        return float(position_error(GridEstimate(radio.grid, p).position, position[:, -1]).mean())  # type: ignore[attr-defined]

    assert error(many) < error(single)


def test_the_filter_of_the_limit_is_exact_where_phones_stand() -> None:
    reports, _, time, radio = world(0.0, 6, 6)
    prior = torch.ones(radio.grid.shape)  # type: ignore[attr-defined]
    evidence = CorrelatedFadingLikelihood(reports, radio, prior, ALONG)  # type: ignore[arg-type]
    exact = GridEstimate(radio.grid, evidence.stationary_posterior()).position  # type: ignore[attr-defined]
    motion = MotionModel(FINE, FREE, 0.0, wander=False)
    got = filter_track(evidence, radio.grid, motion, time, 4000, seed(2)).median  # type: ignore[attr-defined]
    assert float(position_error(got, exact).mean()) < 1.5


@pytest.mark.parametrize("heard", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_two_reports_are_as_likely_as_by_their_joint_law(heard: tuple[bool, bool], outliers: float) -> None:
    """Levels 12 m apart on a map with error bars: the normal law of both, mixed over which of them are outliers."""
    radio = radio_map(masts(CORNERS[0]), pixel=8.0)
    radio = replace(
        radio, gain=radio.gain * 1e-4, relative_error=torch.linspace(0.5, 2.0, radio.gain.numel()).view_as(radio.gain)
    )
    model = replace(ALONG, level_outliers=outliers)
    place = torch.tensor([[[-30.0, 14.0], [-18.0, 14.0]]])
    power = reference_power_dbm(radio.sites)
    seen = model.observe(radio.pixel_truth(place), power, seed(3)).with_tier("rsrp")
    level = torch.tensor([[[-112.0], [-101.0]]])
    reports = replace(seen, rsrp_dbm=level, heard=torch.tensor([[[heard[0]], [heard[1]]]]))
    evidence = CorrelatedFadingLikelihood(reports, radio, torch.ones(radio.grid.shape), model, map_error=True)
    law, count = evidence.levels, 200_000
    row, column = radio.grid.pixel_of(place[0])
    mean, own = (raster[0, row, column].double().numpy() for raster in (law.mean, law.link_std))
    cloud = place[:, :, None].expand(-1, -1, count, -1)
    evidence.initialise(cloud[:, 0], seed(4))
    got = float(evidence.log_likelihood(1, cloud[:, 1], torch.full((1, count), 12.0), seed(5)).double().exp().mean())
    edges = [
        (level[0, n, 0] - 0.5, level[0, n, 0] + 0.5) if heard[n] else (-400.0, float(evidence.censor[0, n, 0]))
        for n in range(2)
    ]
    alike, joint, first = math.exp(-12 / 37), 0.0, 0.0
    for struck in itertools.product((0, 1), repeat=2):
        share = math.prod(outliers if s else 1 - outliers for s in struck)
        spread = np.outer(own, own) * [[1, alike], [alike, 1]] + np.diag([model.outlier_db**2 * s for s in struck])
        both = stats.multivariate_normal(mean, spread)
        low, high = zip(*edges, strict=True)
        joint += share * both.cdf(np.array(high, float), lower_limit=np.array(low, float))
        alone = stats.norm(mean[0], math.sqrt(spread[0, 0]))
        first += share * (alone.cdf(float(high[0])) - alone.cdf(float(low[0])))
    assert got == pytest.approx(joint / first, rel=0.02)


def test_a_moving_phone_is_known_better_than_by_its_last_report() -> None:
    reports, position, time, radio = world(10.0, 24, 12)
    prior, power = torch.ones(radio.grid.shape), reference_power_dbm(radio.sites)  # type: ignore[attr-defined]
    last = GridEstimate(radio.grid, grid_posterior(reports[:, -1], radio, prior, ALONG, power)).position  # type: ignore[attr-defined,arg-type]
    motion = MotionModel(FINE, FREE, 10.0, wander=False)
    evidence = CorrelatedFadingLikelihood(reports, radio, prior, ALONG)  # type: ignore[arg-type]
    got = filter_track(evidence, radio.grid, motion, time, 3000, seed(2)).median  # type: ignore[attr-defined]
    better, alone = (float(position_error(p, position[:, -1]).mean()) for p in (got, last))
    assert better < 0.7 * alone


def test_realism_that_the_limit_does_not_know_is_refused() -> None:
    reports, _, _, radio = world(0.0, 1, 2)
    for wrong in (replace(ALONG, cell_dropout=0.2), replace(ALONG, decorrelation_distance=0.0)):
        with pytest.raises(UelError, match="decorrelation"):
            CorrelatedFadingLikelihood(reports, radio, torch.ones(radio.grid.shape), wrong)  # type: ignore[arg-type,attr-defined]


def test_tracks_are_read_in_the_way_that_finds_the_labelled_ones() -> None:
    reports, position, time, radio = world(10.0, 10, 4)
    walks, grid = TrackReports(reports, time, position[:, -1]), radio.grid  # type: ignore[attr-defined]
    prior, last = torch.ones(grid.shape), reports[:, -1]
    maps = TileMaps(radio, torch.zeros(1, *grid.shape), prior)  # type: ignore[arg-type]
    place = LocalizationProblem(maps.radio, prior, ALONG, last, position[:, -1])
    case = EvaluationCase(place, maps, last, position[:, -1], maps, ALONG, last, False)
    motion = MotionModel(FINE, FREE, 10.0, wander=False)
    tracks = TrackEvaluationCase(case, motion, walks, walks, walks, 400, 400)
    away = (grid.centres() - position[:, :, None, None]).norm(dim=-1)  # of each pixel from the truth
    at = {
        tuple(w.position[0].tolist()): away[n : n + len(w.time)]
        for n, w in zip((0, 8), track_batches(walks), strict=True)
    }
    ways = [
        lambda w, sign=sign: RasterLikelihood(
            grid, sign * at[tuple(w.position[0].tolist())] / 5, torch.ones(grid.shape)
        )
        for sign in (0.0, -1.0, 1.0)
    ]
    assert _tune_likelihood(tracks, ways, seed=0) is ways[1]
