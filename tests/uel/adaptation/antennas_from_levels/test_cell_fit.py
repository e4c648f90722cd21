"""One cell's antenna from synthetic levels whose antenna is known."""

import math
from dataclasses import replace

import pytest
import torch

from uel.adaptation.antennas_from_levels.cell_fit import CellObservations, _CellModel, _field_basis, fit_cell
from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.adaptation.antennas_from_levels.sector_pattern import (
    attenuation_by_azimuth_db,
    attenuation_by_tilt_db,
    log_distance,
)

HEIGHT = 25.0  # m
CONFIG = AntennaFitConfig(
    horizontal_strength=(1.0, 0.2), vertical_strength=(1.0, 0.2), noise_std_db=3.0, field_std_db=3.0,
    evidence_exponent=1.0, threshold_dbm=-95.0, ceiling=0.999,
)  # fmt: skip


def drawn_levels(azimuth: float, tilt: float, seed: int, count: int = 160) -> CellObservations:
    """Levels of the model itself, reported where they are above a threshold drawn for each."""
    generator = torch.Generator().manual_seed(seed)
    offset = (torch.rand(count, 2, generator=generator) - 0.5) * 600
    pattern = attenuation_by_azimuth_db(offset, torch.tensor([azimuth]))[0]
    pattern = pattern + attenuation_by_tilt_db(offset, HEIGHT, torch.tensor([tilt]))[0]
    basis = _field_basis(offset, CONFIG)
    field = basis @ torch.randn(basis.shape[1], generator=generator)
    noise = CONFIG.noise_std_db * torch.randn(count, generator=generator)
    level = -20 - 32 * log_distance(offset, HEIGHT) - pattern + field + noise
    threshold = CONFIG.threshold_dbm + CONFIG.threshold_width_db * torch.randn(count, generator=generator)
    heard = level > threshold
    return CellObservations(offset, torch.where(heard, level, 0.0), heard.float(), (~heard).float())


def fitted(azimuth_error: float, tilt_error: float, seed: int) -> tuple[float, float, float, float]:
    """Errors of the fitted azimuth and tilt, each over its standard deviation after it."""
    observations = drawn_levels(40.0, 8.0, seed)
    fit = fit_cell(observations, 40.0 + azimuth_error, 8.0 + tilt_error, HEIGHT, CONFIG.threshold_dbm, CONFIG)
    (azimuth, azimuth_std), (tilt, tilt_std) = fit.azimuth, fit.tilt
    return azimuth - 40.0, azimuth_std, tilt - 8.0, tilt_std


def test_an_antenna_is_found_again_and_its_widths_hold() -> None:
    errors = torch.tensor([20.0, -25.0, 10.0, -20.0, 30.0, 5.0, -10.0, 25.0])
    results = torch.tensor([fitted(float(error), float(-error / 8), seed) for seed, error in enumerate(errors)])
    azimuth, azimuth_std, tilt, tilt_std = results.T
    assert float(azimuth.abs().median()) < float(errors.abs().median()) / 3
    assert float(tilt.abs().median()) < 1.5
    assert int((azimuth.abs() < 2 * azimuth_std).sum()) >= 6
    assert int((tilt.abs() < 2 * tilt_std).sum()) >= 6
    assert bool((azimuth_std < 10.0).all())


def test_without_a_level_the_belief_stays() -> None:
    nothing = replace(drawn_levels(40.0, 8.0, 0), heard=torch.zeros(160), silent=torch.zeros(160))
    fit = fit_cell(nothing, 70.0, 5.0, HEIGHT, CONFIG.threshold_dbm, CONFIG)
    assert fit.azimuth[0] == pytest.approx(70.0, abs=0.1)
    assert fit.azimuth[1] == pytest.approx(20.0, rel=0.05)  # the prior is cut at 60°
    assert fit.tilt == pytest.approx((5.0, 4.0), rel=0.05)


def test_the_evidence_of_gaussian_levels_is_the_closed_form() -> None:
    """Without silent places Laplace's approximation is exact: log N(y; X m, X S Xᵀ + σ² I), apart from constants."""
    observations = drawn_levels(40.0, 8.0, 1, count=30)
    observations = replace(observations, heard=torch.ones(30), silent=torch.zeros(30))
    azimuths, tilts = torch.tensor([0.0, 40.0, 90.0]), torch.tensor([8.0, 8.0, 4.0])
    evidence, _ = _CellModel(observations, HEIGHT, CONFIG.threshold_dbm, CONFIG).evidence(azimuths, tilts)
    pairs = (CONFIG.intercept, CONFIG.slope, CONFIG.horizontal_strength, CONFIG.vertical_strength)
    mean, std = (torch.tensor(values).double() for values in zip(*pairs, strict=True))
    basis, offset = _field_basis(observations.offset, CONFIG).double(), observations.offset
    expected = []
    for azimuth, tilt in zip(azimuths, tilts, strict=True):
        columns = [torch.ones(30), log_distance(offset, HEIGHT), -attenuation_by_azimuth_db(offset, azimuth[None])[0]]
        design = torch.stack([*columns, -attenuation_by_tilt_db(offset, HEIGHT, tilt[None])[0]], 1).double()
        covariance = (design * std.square()) @ design.T + basis @ basis.T + CONFIG.noise_std_db**2 * torch.eye(30)
        residual = observations.level_db.double() - design @ mean
        expected.append(-(residual @ torch.linalg.solve(covariance, residual) + torch.logdet(covariance)) / 2)
    difference = evidence - torch.stack(expected)
    torch.testing.assert_close(difference - difference[0], torch.zeros(3).double(), atol=1e-4, rtol=0)


def test_derivatives_of_the_likelihood_are_those_of_finite_differences() -> None:
    model = _CellModel(drawn_levels(40.0, 8.0, 2), HEIGHT, CONFIG.threshold_dbm, CONFIG)
    level = -90 + 8 * torch.randn(1, 160, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-4
    _, gradient, _ = model._likelihood(level)
    for place in range(0, 160, 20):
        moved = torch.zeros(1, 160).double()
        moved[0, place] = step
        slope = (model._likelihood(level + moved)[0] - model._likelihood(level - moved)[0]) / (2 * step)
        assert float(gradient[0, place]) == pytest.approx(float(slope), abs=1e-6)


def test_the_field_has_the_covariance_of_its_kernel() -> None:
    offset = torch.tensor([[0.0, 0.0], [50.0, 0.0], [100.0, 100.0], [300.0, 20.0]])
    basis = _field_basis(offset, CONFIG)
    distance = torch.cdist(offset, offset)
    kernel = CONFIG.field_std_db**2 * (-distance.square() / (2 * CONFIG.field_length**2)).exp()
    torch.testing.assert_close(basis @ basis.T, kernel, atol=0.1 * CONFIG.field_std_db**2, rtol=0)
    assert math.isfinite(float(basis.sum()))
