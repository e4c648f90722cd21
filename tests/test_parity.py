"""Figures of Sionna 2.2.0's own classes, frozen: what is computed here must stay what they said.

Run with UEL_GOLDEN=write to have Sionna's classes say it anew. Inputs are written down, not drawn.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sim_bridge import channel, phy
from tests.test_channel import CARRIER, ONE, rays
from tests.test_mimo import CELLS, WIDTH, sionnas
from uel import mimo
from uel.sites import Carrier

GOLDEN = Path(__file__).parent / "golden" / "sionna.json"
FREQUENCY = torch.tensor([-45e6, -10e6, 0.0, 5e6, 45e6])
DELAY = [1e-7, 1.37e-7, 2.9e-7, 7.7e-7]
AMPLITUDE = [1.0, 0.5j, -0.3 + 0.2j, 0.1]
SCHEME = torch.tensor([4, 13, 22, 27])
LOAD = 0.4


def wave(*shape: int, step: float) -> Tensor:
    """Numbers between -1 and 1 that do not repeat."""
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * step).view(*shape)


def fields() -> Tensor:
    return 3 * torch.complex(wave(4, CELLS, 2, WIDTH, step=1.3), wave(4, CELLS, 2, WIDTH, step=2.1))


def ratios() -> Tensor:
    """Linear SINRs of four channels at 16 frequencies, around 0, 7, 14 and 20 dB."""
    return (10 ** ((wave(4, 16, step=0.7) * 5 + torch.tensor([[0.0], [7.0], [14.0], [20.0]])) / 10)).float()


def levels() -> Tensor:
    """Effective SINRs on both sides of each scheme's threshold."""
    return 10 ** (torch.tensor([[-2.2], [6.1], [13.9], [18.8]]) / 10 + torch.tensor([-0.05, 0.0, 0.05]))


def ours() -> dict[str, Tensor]:
    signal = fields()
    others = mimo.of_others(signal, LOAD, torch.ones(4, CELLS, dtype=torch.float64))
    wide = levels().T[:, :, None].expand(-1, -1, phy.SCHEMES)
    error = phy._block_errors(wide.flatten(0, 1).contiguous(), Carrier()).view(3, 4, -1)
    return {
        "cfr": torch.view_as_real(channel.ofdm(rays(DELAY, AMPLITUDE), ONE, CARRIER, FREQUENCY)[0, 0, 0, 0]),
        "lmmse_sinr": mimo.lmmse_sinr(signal, others),
        "eesm": phy.effective(ratios())[torch.arange(4), SCHEME],
        "bler": error[:, torch.arange(4), SCHEME].T,
    }


def theirs() -> dict[str, Tensor]:
    """By Sionna's classes, called as their documentation says."""
    from sionna.phy.channel import cir_to_ofdm_channel
    from sionna.sys import EESM, PHYAbstraction

    turned = channel.coefficients(rays(DELAY, AMPLITUDE), ONE, CARRIER)[:, 0, 0][None, None, None, None, None, :, None]
    excess = (torch.tensor(DELAY) - DELAY[0])[None, None, None]
    response = cir_to_ofdm_channel(FREQUENCY, turned, excess).flatten()
    effective = EESM(device="cpu")(ratios()[:, None, :, None, None], mcs_index=SCHEME.int()[:, None], mcs_table_index=1)
    elements = torch.full((4, 3), 3276 * 12, dtype=torch.int32)
    scheme = SCHEME.int()[:, None].expand(-1, 3)
    error = PHYAbstraction(device="cpu")(
        scheme, sinr_eff=levels(), num_allocated_re=elements, mcs_table_index=1, mcs_category=1
    )[3]
    return {
        "cfr": torch.view_as_real(response),
        "lmmse_sinr": sionnas(fields(), LOAD, as_called=False),
        "eesm": effective[:, 0],
        "bler": error,
    }


@pytest.fixture(scope="module")
def golden() -> dict[str, list]:
    if os.environ.get("UEL_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps({name: values.tolist() for name, values in theirs().items()}, indent=1))
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(("name", "tolerance"), [("cfr", 1e-5), ("lmmse_sinr", 1e-9), ("eesm", 1e-5), ("bler", 1e-5)])
def test_what_sionna_said(golden: dict[str, list], name: str, tolerance: float) -> None:
    want = torch.tensor(golden[name], dtype=torch.float64)
    found = ours()[name].double()
    torch.testing.assert_close(found, want, rtol=tolerance, atol=tolerance * float(want.abs().max()))


def test_block_errors_are_on_both_sides_of_their_threshold(golden: dict[str, list]) -> None:
    """Else the comparison would be one of zeros and ones."""
    error = torch.tensor(golden["bler"])
    assert int(((error > 0.001) & (error < 0.999)).sum()) >= 4
