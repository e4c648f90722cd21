"""Figures of Sionna 1.2.2 on TensorFlow, frozen by `make parity`: what is computed here must stay what they said."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.parity import chain, compare
from tests.parity.chain import INPUTS
from tests.parity.compare import QUANTITIES, Golden, Quantity


@pytest.fixture(scope="module")
def golden() -> Golden:
    return compare.read(compare.GOLDEN)


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda of: of.name)
def test_what_sionna_said(golden: Golden, quantity: Quantity) -> None:
    assert compare.difference(quantity, chain.ours()[quantity.name], golden) <= quantity.limit


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda of: of.name)
def test_a_difference_is_noticed(golden: Golden, quantity: Quantity) -> None:
    """One number off by ten times the limit, or missing, and the comparison says so."""
    found = golden[quantity.name].clone()
    assert compare.difference(quantity, found, golden) == 0
    place = tuple(found.isfinite().nonzero()[-1])
    found[place] += (10 * quantity.limit or 1e-6) * quantity.scale(found, golden)[place]
    assert compare.difference(quantity, found, golden) > quantity.limit
    found[place] = torch.inf
    assert compare.difference(quantity, found, golden) == torch.inf


def test_they_are_of_sionna_1_on_tensorflow() -> None:
    made_by = json.loads(compare.GOLDEN.read_text())["made_by"]
    pins = (Path(compare.__file__).parent / "requirements.txt").read_text()
    assert f"sionna-no-rt=={made_by['sionna-no-rt']} " in pins
    assert f"tensorflow=={made_by['tensorflow']} " in pins
    assert made_by["sionna-no-rt"] == "1.2.2"


def test_carriers_are_as_wide_as_sionna_is_told() -> None:
    assert [carrier.resource_elements for carrier in chain.CARRIERS] == [of["subcarriers"] for of in INPUTS["carriers"]]


def test_block_errors_are_on_both_sides_of_their_threshold(golden: Golden) -> None:
    """Else the comparison would be one of zeros and ones: each MCS with a table has errors in between."""
    error = golden["bler"]
    between = ((error > 0.001) & (error < 0.999)).any(1)
    assert torch.equal(between, error.isfinite().any(1))


def called(signal: Tensor, load: float) -> Tensor:
    """SINR of cell 0 in report 0 at frequency 0 if interference is whitened and then counted once more."""
    h = signal[0, :, :, 0]
    others = load * h[1:].T @ h[1:].conj()
    root = torch.linalg.inv(torch.linalg.cholesky(others + torch.eye(2)))
    own, again = root @ h[0], root @ others @ root.mH
    wanted = own.abs().square().sum()
    return wanted.square() / (wanted + (own.conj() @ again @ own).real)


def test_sionna_1_counts_whitened_interference_twice_too(golden: Golden) -> None:
    """As 2.2.0 does, see tests/uel/radio/test_mimo.py."""
    signal = torch.view_as_complex(torch.tensor(INPUTS["signal"], dtype=torch.float64))
    want = golden["lmmse_as_called_double"]
    torch.testing.assert_close(want[0, 0, 0], called(signal, INPUTS["load"]), rtol=1e-9, atol=0)
    assert bool((want < 0.99 * golden["lmmse_double"]).all())
