"""Antennas of a network from labelled squares, and from reports without places."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.adaptation.antennas_from_levels.estimates import (
    AntennaEstimates,
    antennas_from_labels,
    antennas_from_reports,
    place_posterior,
)
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork

CONFIG = AntennaFitConfig(
    horizontal_strength=(1.0, 0.1), vertical_strength=(0.0, 0.1), noise_std_db=4.0, field_std_db=1.0,
    field_length=200.0, evidence_exponent=1.0, place_exponent=1.0, azimuth_step_deg=10.0, max_squares=300,
    tilt_step_deg=4.0, threshold_dbm=-105.0, threshold_width_db=2.0, ceiling=0.99,
)  # fmt: skip


def network_of_sectors(reports: int) -> MeasuredNetwork:
    """Levels of the laws of two masts with three sectors each, and noise; silent below the threshold."""
    network = toy_network(reports, cells=6)
    place = torch.tensor([[-100.0, -60.0], [90.0, 70.0]]).repeat_interleave(3, 0)
    cells = replace(network.cells, position=place, azimuth_deg=torch.tensor([0.0, 120.0, 240.0]).repeat(2))
    levels = AntennaEstimates.believed(cells, CONFIG).level_dbm(cells, network.position).T
    generator = torch.Generator().manual_seed(1)
    levels = levels + CONFIG.noise_std_db * torch.randn(levels.shape, generator=generator)
    heard = levels > CONFIG.threshold_dbm
    return replace(network, cells=cells, level_dbm=torch.where(heard, levels, 0.0), is_reported=heard)


def turned(network: MeasuredNetwork, by: float) -> MeasuredNetwork:
    """The network with every second azimuth believed wrongly."""
    wrong = by * (torch.arange(len(network.cells)) % 2)
    return replace(network, cells=replace(network.cells, azimuth_deg=network.cells.azimuth_deg + wrong))


def errors(estimates: AntennaEstimates, network: MeasuredNetwork) -> torch.Tensor:
    return (estimates.azimuth_deg - network.cells.azimuth_deg + 180) % 360 - 180


def test_labelled_squares_turn_antennas_back() -> None:
    network = network_of_sectors(400)
    estimates = antennas_from_labels(turned(network, 30.0), CONFIG, seed=0, min_squares=50)
    assert bool(estimates.is_fitted.all())
    assert float(errors(estimates, network).abs().max()) < 15.0
    assert float(errors(estimates, network).abs().median()) < 3.0
    assert bool((errors(estimates, network).abs() < 3 * estimates.azimuth_std_deg).all())


def test_reports_without_places_turn_antennas_back_too() -> None:
    network = network_of_sectors(300)
    axis = torch.arange(-150.0, 151.0, 25.0)
    estimates = antennas_from_reports(turned(network, 40.0), torch.cartesian_prod(axis, axis), CONFIG, rounds=3)
    assert float(errors(estimates, network)[1::2].abs().mean()) < 20.0  # more than half of 40° won back


def test_places_of_reports_are_not_looked_at() -> None:
    network = network_of_sectors(60)
    elsewhere = replace(network, row=network.row * 0, column=network.column * 0)
    axis = torch.arange(-150.0, 151.0, 50.0)
    places = torch.cartesian_prod(axis, axis)
    one, other = (antennas_from_reports(n, places, CONFIG, rounds=1) for n in (network, elsewhere))
    assert torch.equal(one.azimuth_deg, other.azimuth_deg)


def test_the_posterior_of_places_is_that_of_a_loop() -> None:
    network = network_of_sectors(5)
    axis = torch.arange(-100.0, 101.0, 100.0)
    level = AntennaEstimates.believed(network.cells, CONFIG).level_dbm(network.cells, torch.cartesian_prod(axis, axis))
    posterior = place_posterior(network, level, CONFIG)
    spread = (CONFIG.noise_std_db**2 + CONFIG.field_std_db**2) ** 0.5
    width = (spread**2 + CONFIG.threshold_width_db**2) ** 0.5
    for report in range(5):
        log_p = torch.zeros(9)
        for place in range(9):
            for cell in range(6):
                if network.is_reported[report, cell]:
                    log_p[place] -= ((network.level_dbm[report, cell] - level[cell, place]) / spread) ** 2 / 2
                else:
                    heard = torch.special.ndtr((level[cell, place] - CONFIG.threshold_dbm) / width)
                    log_p[place] += (1 - CONFIG.ceiling * heard).log()
        torch.testing.assert_close(posterior[report], log_p.softmax(0), atol=1e-4, rtol=1e-3)


def test_cells_with_few_squares_keep_their_antennas() -> None:
    network = network_of_sectors(60)
    with pytest.raises(UelError, match="no cell is reported by 200 squares"):
        antennas_from_labels(network, CONFIG, seed=0)
    few = replace(network, is_reported=network.is_reported.clone())
    few.is_reported[5:, 0] = False
    estimates = antennas_from_labels(few, CONFIG, seed=0, min_squares=10)
    assert not bool(estimates.is_fitted[0])
    assert float(estimates.azimuth_deg[0]) == float(network.cells.azimuth_deg[0])
    assert float(estimates.azimuth_std_deg[0]) == CONFIG.azimuth_std_deg


def test_estimates_become_cells_with_the_whole_tilt() -> None:
    network = network_of_sectors(20)
    believed = AntennaEstimates.believed(network.cells, CONFIG)
    cells = replace(believed, tilt_deg=believed.tilt_deg + 2.0).cells(network.cells)
    torch.testing.assert_close(cells.tilt_deg, network.cells.tilt_deg + 2.0)
    assert torch.equal(cells.electrical_tilt_deg, network.cells.electrical_tilt_deg)
