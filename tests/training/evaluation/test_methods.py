"""The methods of an evaluation and their registry."""

from pathlib import Path

import pytest
import torch

from explorer.style import METHOD_STYLES
from tests.helpers.evaluations import ONE, config_of, empty_scenario
from tests.helpers.toy_city import toy_tile
from training.evaluation.methods import single_report_methods
from training.evaluation.protocol import protocol_conditions
from uel.results.methods import BASELINE_METHODS


def test_a_baseline_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every method of an evaluation has a label and a colour."""
    monkeypatch.setitem(BASELINE_METHODS, "centre", lambda reports, problem: torch.zeros(len(reports), 2))
    config = config_of(tmp_path, **ONE | {"phones": 3, "fingerprints": 8})
    case = empty_scenario(toy_tile(tmp_path / "tile"), config, 0).case(next(iter(protocol_conditions(config))))
    methods = single_report_methods(case, {}, controls=True)
    assert torch.equal(methods["centre"](case.reports).position, torch.zeros(3, 2))
    assert set(methods) - {"centre"} <= set(METHOD_STYLES)
