"""Signal to noise and interference, by hand."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.free_space import one_pixel
from uel.core.constants import noise_dbm
from uel.errors import UelError
from uel.radio.sinr import sinr, snr
from uel.radio.sites import Cell


def test_noise_on_a_resource_element() -> None:
    # -174 dBm/Hz is that of 290 K; 293 K is 0.04 dB more.
    assert noise_dbm(30e3, 7.0) == pytest.approx(-173.98 + 0.045 + 44.77 + 7.0, abs=0.02)


def test_snr_and_sinr_of_two_cells() -> None:
    radio = one_pixel((100.0, 0.0), (0.0, 300.0), gain_db=-100.0)
    radio = replace(radio, gain=torch.tensor([[[1e-10]], [[1e-11]]]))
    alone = 10 ** ((Cell().reference_power_dbm - noise_dbm(30e3)) / 10) * 1e-10
    assert snr(radio).flatten().tolist() == pytest.approx([alone, alone / 10], rel=1e-4)
    assert sinr(radio).flatten().tolist() == pytest.approx(
        [alone / (1 + alone / 10), alone / 10 / (1 + alone)], rel=1e-4
    )
    assert sinr(radio, load=0.0).flatten().tolist() == pytest.approx(snr(radio).flatten().tolist())


def test_an_unknown_pixel_has_none() -> None:
    radio = one_pixel((100.0, 0.0), (0.0, 300.0), gain_db=-90.0)
    radio.known[0] = False
    assert snr(radio)[0].item() == sinr(radio)[0].item() == 0
    assert sinr(radio)[1].item() == pytest.approx(snr(radio)[1].item())


def test_a_load_is_a_share() -> None:
    with pytest.raises(UelError, match="load is outside"):
        sinr(one_pixel((100.0, 0.0)), load=1.5)
