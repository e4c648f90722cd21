"""Statistics of residuals that are drawn from a field of known strength, reach and alikeness."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.adaptation.residual_statistics import correlogram, fit_exponential, residual_statistics, residuals
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork

STD, LENGTH, SAME, OTHER = 6.0, 40.0, 0.8, 0.5


def drawn_network(seed: int) -> tuple[MeasuredNetwork, torch.Tensor]:
    """Levels of four cells on two masts around a prediction, with offsets of cells."""
    network = toy_network(700, cells=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    distance = torch.cdist(network.position, network.position).double()
    factor = torch.linalg.cholesky((-distance / LENGTH).exp() + 1e-6 * torch.eye(700))
    mast = torch.tensor([0, 0, 1, 1])
    between = torch.where(mast[:, None] == mast, SAME, OTHER).fill_diagonal_(1.0).double()
    white = torch.randn(700, 4, generator=generator).double()
    field = STD * factor @ white @ torch.linalg.cholesky(between).T
    predicted = network.level_dbm
    level = predicted + field.float() + torch.tensor([3.0, -4.0, 0.0, 10.0])
    return replace(network, level_dbm=level), predicted


def test_strength_reach_and_alikeness_are_those_of_the_field() -> None:
    drawn = [residual_statistics(*drawn_network(seed)) for seed in range(4)]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    assert mean([one.rms_db.value for one in drawn]) == pytest.approx(STD, rel=0.15)
    assert mean([one.robust_std_db.value for one in drawn]) == pytest.approx(STD, rel=0.2)
    assert mean([one.length for one in drawn]) == pytest.approx(LENGTH, rel=0.35)
    assert mean([one.same_mast.value for one in drawn]) == pytest.approx(SAME, abs=0.07)
    assert mean([one.other_mast.value for one in drawn]) == pytest.approx(OTHER, abs=0.12)
    assert all(one.rms_db.low <= one.rms_db.value <= one.rms_db.high for one in drawn)


def test_white_residuals_have_no_reach() -> None:
    network, predicted = drawn_network(0)
    generator = torch.Generator().manual_seed(1)
    white = replace(network, level_dbm=predicted + 3 * torch.randn(predicted.shape, generator=generator))
    found = residual_statistics(white, predicted)
    assert abs(found.sill) < 0.1
    assert abs(found.same_mast.value) < 0.1
    assert found.rms_db.value == pytest.approx(3.0, rel=0.05)


def test_the_correlogram_is_that_of_a_loop() -> None:
    network, predicted = drawn_network(2)
    network = network.select(torch.arange(60))
    residual, known = residuals(network, predicted[:60])
    middles, correlation, has_pair = correlogram(network.position, residual, known, seed=0)
    total, count = torch.zeros(len(middles)), torch.zeros(len(middles))
    for cell in range(4):
        for a in range(60):
            for b in range(a):
                apart = float((network.position[a] - network.position[b]).norm())
                for n, (low, high) in enumerate([(25.0, 40.0)], start=3):
                    if low < apart <= high:
                        total[n] += residual[a, cell] * residual[b, cell]
                        count[n] += 1
    expected = total[3] / count[3] / residual[known].square().mean()
    assert bool(has_pair[3])
    torch.testing.assert_close(correlation[3], expected, atol=1e-4, rtol=1e-4)


def test_cells_of_few_levels_are_left_out() -> None:
    network, predicted = drawn_network(0)
    few = replace(network, is_reported=network.is_reported.clone())
    few.is_reported[40:, 0] = False
    _, known = residuals(few, predicted)
    assert known.sum(0).tolist() == [0, 700, 700, 700]
    few.is_reported[40:] = False
    with pytest.raises(UelError, match="has 50 levels"):
        residuals(few, predicted)


def test_an_exponential_is_found_again() -> None:
    distance = torch.tensor([5.0, 10.0, 40.0, 120.0])
    assert fit_exponential(distance, 0.6 * (-distance / 85).exp()) == pytest.approx((0.6, 85.0))
