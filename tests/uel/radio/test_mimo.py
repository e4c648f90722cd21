"""Closed forms of two antennas against linear algebra and Sionna's own receiver."""

import numpy as np
import pytest
import torch
from torch import Tensor

from uel.radio import mimo

CELLS, WIDTH = 3, 5


def random_signal(seed: int = 0, strong_db: float = 0.0) -> Tensor:
    """Fields of three cells at two antennas; the first stronger than the others."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(4, CELLS, 2, WIDTH, dtype=torch.complex128, generator=generator) * 3
    signal[:, 0] *= 10 ** (strong_db / 20)
    return signal


def by_algebra(signal: Tensor, cell: int, load: float, noise: float) -> Tensor:
    """h^H (Σ load·h'h'^H + noise)^-1 h, report by report and frequency by frequency."""
    found = torch.zeros(len(signal), WIDTH, dtype=torch.float64)
    for report in range(len(signal)):
        for frequency in range(WIDTH):
            h = signal[report, :, :, frequency]
            rest = [load * torch.outer(h[k], h[k].conj()) for k in range(CELLS) if k != cell]
            covariance = sum(rest) + noise * torch.eye(2)
            found[report, frequency] = (h[cell].conj() @ torch.linalg.solve(covariance, h[cell])).real
    return found


@pytest.mark.parametrize("strong_db", [0.0, 80.0])
def test_lmmse_is_linear_algebra_even_beside_a_strong_cell(strong_db: float) -> None:
    signal = random_signal(strong_db=strong_db)
    noise = torch.full((4, CELLS), 1.5, dtype=torch.float64)
    found = mimo.lmmse_sinr(signal, mimo.interference_covariance(signal, 0.3, noise))
    for cell in range(CELLS):
        torch.testing.assert_close(found[:, cell], by_algebra(signal, cell, 0.3, 1.5), rtol=1e-6, atol=0)


def sionnas(signal: Tensor, load: float, as_called: bool) -> Tensor:
    """SINR by Sionna's LMMSE, by its parts or as its block calls them.

    One receiver for each cell, all of them the same phone; what is not its own is scaled to the load.
    """
    from sionna.phy.mimo import StreamManagement, lmmse_matrix
    from sionna.phy.ofdm import LMMSEPostEqualizationSINR, ResourceGrid

    grid = ResourceGrid(1, WIDTH, 30e3, num_tx=CELLS, num_streams_per_tx=1, device="cpu")
    block = LMMSEPostEqualizationSINR(grid, StreamManagement(np.eye(CELLS), 1), precision="double", device="cpu")
    own = torch.eye(CELLS, dtype=torch.float64)
    share = (own + load * (1 - own)).sqrt()
    heard = (signal[:, None] * share[:, :, None, None]).transpose(2, 3)[..., None, None, :]
    if as_called:
        found = block(heard, torch.ones(1, dtype=torch.float64))
    else:
        mine, others = block.get_per_rx_channels(heard)
        noise = torch.ones(mine.shape[:-1], dtype=torch.float64)
        covariance = block.compute_interference_covariance_matrix(noise, others)
        found = block.compute_sinr(mine, others, noise, lmmse_matrix(mine, covariance, precision="double"))
    return found[:, 0, :, :, 0].transpose(1, 2)


def test_lmmse_is_sionnas() -> None:
    signal, load = random_signal(1), 0.4
    found = mimo.lmmse_sinr(
        signal, mimo.interference_covariance(signal, load, torch.ones(4, CELLS, dtype=torch.float64))
    )
    torch.testing.assert_close(found, sionnas(signal, load, as_called=False), rtol=1e-9, atol=0)


def test_sionnas_block_counts_whitened_interference_twice() -> None:
    """It whitens channels by noise and interference, and then adds the interference to a noise of one once more.

    Without others the two agree. Should Sionna mend that, this test says so.
    """
    signal, one = random_signal(1), torch.ones(4, CELLS, dtype=torch.float64)
    alone, loaded = (mimo.lmmse_sinr(signal, mimo.interference_covariance(signal, load, one)) for load in (0.0, 0.4))
    torch.testing.assert_close(sionnas(signal, 0.0, as_called=True), alone, rtol=1e-9, atol=0)
    assert bool((sionnas(signal, 0.4, as_called=True) < 0.99 * loaded).all())


def test_symbols_that_are_received_have_that_sinr() -> None:
    """The arbiter: random symbols of all cells and noise, filtered by R^-1 h, and what is left beside the own ones."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.complex128, generator=generator)

    signal = random_signal(2)[:1]
    others = mimo.interference_covariance(signal, 1.0, torch.ones(1, CELLS, dtype=torch.float64))
    h, sent, noise = signal[0, :, :, 0], draw(CELLS, 200_000), draw(2, 200_000)
    covariance = h[1:].T @ h[1:].conj() + torch.eye(2)
    out = torch.linalg.solve(covariance, h[0]).conj() @ (h.T @ sent + noise)
    gain = (out * sent[0].conj()).mean()
    left = (out - gain * sent[0]).abs().square().mean()
    measured = float(gain.abs().square() / left)
    assert float(mimo.lmmse_sinr(signal, others)[0, 0, 0]) == pytest.approx(measured, rel=0.02)


def test_without_others_antennas_add_up() -> None:
    signal = random_signal()[:, :1]
    found = mimo.lmmse_sinr(
        signal, mimo.interference_covariance(signal, 1.0, torch.full((4, 1), 2.0, dtype=torch.float64))
    )
    torch.testing.assert_close(found, signal.abs().square().sum(2) / 2)


@pytest.mark.parametrize("ports", [1, 2, 6])
def test_layers_are_eigenvalues_of_the_whitened_channel(ports: int) -> None:
    generator = torch.Generator().manual_seed(ports)
    field = torch.randn(2, ports, WIDTH, dtype=torch.complex128, generator=generator)
    a = torch.tensor([[2.0, 0.3 + 0.4j], [0.3 - 0.4j, 1.5]], dtype=torch.complex128)
    others = mimo.Hermitian(a[0, 0].real.expand(WIDTH), a[1, 1].real.expand(WIDTH), a[0, 1].expand(WIDTH))
    found = mimo.layer_sinr(mimo.Hermitian.from_field(field), others)
    root = torch.linalg.inv(torch.linalg.cholesky(a))
    for frequency in range(WIDTH):
        values = torch.linalg.svdvals(root @ field[..., frequency]).square()
        want = torch.nn.functional.pad(values, (0, 2 - len(values)))
        torch.testing.assert_close(found[frequency], want, rtol=1e-9, atol=1e-12)


def condition_db(field: Tensor) -> float:
    return float(mimo.condition_number_db(mimo.Hermitian.from_field(field[..., None])))


def test_condition_is_the_ratio_of_singular_values() -> None:
    assert condition_db(torch.diag(torch.tensor([3.0, 0.3], dtype=torch.complex128))) == pytest.approx(20.0)
    random = torch.randn(2, 4, dtype=torch.complex128)
    great, least = torch.linalg.svdvals(random)
    assert condition_db(random) == pytest.approx(20 * float((great / least).log10()))


def test_condition_of_one_direction_is_cut_and_nothing_has_none() -> None:
    assert condition_db(torch.ones(2, 2, dtype=torch.complex128)) == pytest.approx(60.0)
    assert condition_db(torch.zeros(2, 2, dtype=torch.complex128)) == 0.0
