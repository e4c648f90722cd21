"""Turned worlds: the same for the symmetries of the square, nearly so in between, against masts moved by hand."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map
from training.data.augmentation import draw_similarity
from training.data.config import AugmentationConfig
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.geo.similarity_transform import SimilarityTransform, TransformedSimulator
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site

SIZE = 256.0
MODEL = ObservationModel()
SYMMETRIES = [
    SimilarityTransform(mirrored=mirrored, angle_deg=90.0 * turns)
    for mirrored, turns in itertools.product((False, True), range(4))
]
SLANTED = SimilarityTransform(mirrored=True, angle_deg=-94.0, scale=0.93)


def maps_of(radio: RadioMap) -> TileMaps:
    draws = torch.Generator().manual_seed(5)
    buildings = torch.rand(2 + len(MATERIAL_CLASSES), *radio.grid.shape, generator=draws)
    return TileMaps(radio, buildings, torch.rand(radio.grid.shape, generator=draws))


def places(count: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * 0.6 * SIZE


def turned(reports: Reports, similarity: SimilarityTransform) -> Reports:
    return replace(reports, azimuth_deg=similarity.azimuth_deg(reports.azimuth_deg) * reports.has_azimuth)


@pytest.mark.parametrize("similarity", SYMMETRIES, ids=str)
def test_posterior_turns_exactly_with_the_world(similarity: SimilarityTransform) -> None:
    maps = maps_of(rough_map())
    truth = maps.radio.pixel_truth(places(12))
    reports = MODEL.observe(truth, maps.power_dbm, torch.Generator().manual_seed(1))
    reports = reports[reports.heard.any(-1)]
    before = grid_posterior(reports, maps.radio, maps.prior, MODEL, maps.power_dbm)
    seen = similarity.maps(maps)
    after = grid_posterior(turned(reports, similarity), seen.radio, seen.prior, MODEL, seen.power_dbm)
    torch.testing.assert_close(after, similarity.raster(before, maps.radio.grid), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("similarity", SYMMETRIES, ids=str)
def test_turned_map_is_that_of_turned_masts(similarity: SimilarityTransform) -> None:
    sites = masts(*CORNERS[:3])
    ours = similarity.radio(radio_map(sites))
    slow = radio_map(similarity.sites(sites))
    for name in ("gain", "los", "known", "elevation", "delay"):
        torch.testing.assert_close(getattr(ours, name), getattr(slow, name), rtol=1e-4, atol=0.0)
    for name, values in vars(ours.channels).items():
        torch.testing.assert_close(values, getattr(slow.channels, name), rtol=1e-4, atol=1e-6)
    assert torch.equal(ours.relative_error, slow.relative_error)


@pytest.mark.parametrize("similarity", [*SYMMETRIES, SLANTED], ids=str)
def test_turned_truth_is_that_of_turned_masts(similarity: SimilarityTransform) -> None:
    """Under a scaled carrier free space keeps its gains; at the same one they fall by the square of the scale."""
    sites, position = masts(*CORNERS[:3]), places(20)
    ours = similarity.truth(FreeSpace(sites, size=SIZE).paths(position))
    moved = similarity.position(torch.cat([position, torch.full((20, 1), 1.5)], -1))
    slow = FreeSpace(similarity.sites(sites), size=SIZE).paths(moved)
    torch.testing.assert_close(ours.position, slow.position, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours.gain_db, slow.gain_db + 20 * math.log10(similarity.scale), rtol=0.0, atol=1e-3)
    torch.testing.assert_close(ours.delay, slow.delay, rtol=1e-5, atol=0.0)
    off = (ours.azimuth_deg - slow.azimuth_deg + 180) % 360 - 180
    assert off.abs().max() < 1e-2


def test_slanted_map_is_that_of_moved_masts_within_a_pixel() -> None:
    sites = masts(*CORNERS[:3])
    ours = SLANTED.radio(radio_map(sites, pixel=4.0))
    slow = radio_map(SLANTED.sites(sites), pixel=4.0)
    known = ours.known
    assert 0.8 < known.float().mean() < 1.0
    ratio = (ours.gain / slow.gain)[known] / SLANTED.scale**2
    far = ((slow.delay * 3e8) > 40)[known]
    assert (ratio[far].log10() * 10).abs().max() < 1.2  # 2.8 m of half a pixel's diagonal at 40 m
    assert (ratio.log10() * 10).median().abs() < 0.05
    torch.testing.assert_close(ours.delay[known], slow.delay[known], rtol=1e-2, atol=0.0)  # a phone at 1.5 m in both


def test_phones_from_off_the_tile_have_no_prior() -> None:
    maps = SimilarityTransform(scale=0.8).maps(maps_of(radio_map(masts(*CORNERS[:2]))))
    assert not maps.radio.known[:, 0].any()
    assert not maps.prior[0].any()
    assert maps.prior[10:20, 10:20].all()


def test_positions_come_back() -> None:
    position = places(50)
    torch.testing.assert_close(SLANTED.inverse_position(SLANTED.position(position)), position, rtol=1e-5, atol=1e-4)


def test_sectors_turn_with_their_masts() -> None:
    site = Site(position=(10.0, 20.0, 30.0), cells=(Cell(azimuth_deg=30.0), Cell(azimuth_deg=150.0, tilt_deg=6.0)))
    (quarter,) = SimilarityTransform(angle_deg=90.0).sites((site,))
    assert quarter.position == pytest.approx((-20.0, 10.0, 30.0), abs=1e-5)
    assert [cell.azimuth_deg for cell in quarter.cells] == pytest.approx([300.0, 60.0])
    assert quarter.cells[1].tilt_deg == 6.0
    (mirrored,) = SimilarityTransform(mirrored=True).sites((site,))
    assert mirrored.position == pytest.approx((-10.0, 20.0, 30.0))
    assert mirrored.cells[0].azimuth_deg == pytest.approx(330.0)


def test_a_turned_source_answers_where_the_world_was() -> None:
    sites = masts(*CORNERS[:3])
    position = places(10).requires_grad_()
    gain = TransformedSimulator(FreeSpace(sites, size=SIZE), SLANTED, SIZE).path_gain(position)
    expected = FreeSpace(sites, size=SIZE).path_gain(SLANTED.inverse_position(position.detach()))
    torch.testing.assert_close(gain.detach(), expected)
    gain.sum().backward()
    assert position.grad is not None
    assert position.grad.norm(dim=-1).min() > 0
    TransformedSimulator(FreeSpace(sites, size=SIZE), SimilarityTransform(scale=0.6), SIZE).path_gain(
        torch.tensor([[127.0, 0.0]])
    )


def test_draws_keep_to_the_plan() -> None:
    plan = AugmentationConfig(symmetries=True, angle_deg=5.0, scale=0.1)
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_similarity(plan, generator) for _ in range(200)]
    assert {(s.mirrored, round(s.angle_deg / 90)) for s in drawn} == set(itertools.product((False, True), range(4)))
    assert all(abs(s.angle_deg - 90 * round(s.angle_deg / 90)) <= 5 and 0.9 <= s.scale <= 1.1 for s in drawn)
    assert all(draw_similarity(AugmentationConfig(), generator).is_identity for _ in range(5))
    for wrong in ({"angle_deg": 60.0}, {"scale": 0.7}, {"angle_deg": -1.0}):
        with pytest.raises(UelError, match=r"augment\.(angle_deg|scale)"):
            AugmentationConfig(**wrong)
