import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from uel.results.condition import Condition
from uel.results.evaluation import ConditionResult, write_result
from uel.results.run_summary import PROTOCOL_FILE, base_errors, base_method_errors

BASE = Condition(truth="map", tier="rsrp")
POSITION = np.array([[0, 0], [10, 5], [100, 0], [-70, 0]], dtype=np.float32)


def write(folder: Path, deployments: int) -> Path:
    """An evaluation whose methods are 3 m off at the first deployment, 6 m at the second …"""
    (folder / "cells").mkdir(parents=True)
    names = [f"{number}.npz" for number in range(deployments)]
    for number, name in enumerate(names):
        estimate = POSITION + np.array([3.0 * (number + 1), 0.0], dtype=np.float32)
        methods = {"locator": {"estimate": estimate}, "slow": {"estimate": estimate[:2]}}
        write_result(folder / "cells" / name, ConditionResult(BASE, f"d#{number}", POSITION, methods, {}))
    (folder / PROTOCOL_FILE).write_text(json.dumps({"base": asdict(BASE), "cells": names, "tiles": ["d"]}))
    return folder


def test_phones_of_one_deployment_are_drawn_by_blocks(tmp_path):
    errors = base_method_errors(write(tmp_path, 1))["map/rsrp/locator"]
    assert torch.equal(errors.position, torch.from_numpy(POSITION))
    assert errors.error.tolist() == pytest.approx([3.0] * 4)
    first, second, third, fourth = errors.part.tolist()
    assert first == second
    assert len({first, third, fourth}) == 3
    assert sorted(len(part) for part in errors.parts(errors.error)) == [1, 1, 2]


def test_deployments_are_drawn_as_a_whole_and_slow_methods_have_the_first_phones(tmp_path):
    found = base_method_errors(write(tmp_path, 2))
    locator, slow = found["map/rsrp/locator"], found["map/rsrp/slow"]
    assert locator.part.tolist() == [0] * 4 + [1] * 4
    assert slow.part.tolist() == [0, 0, 1, 1]
    assert slow.error.tolist() == pytest.approx([3.0, 3.0, 6.0, 6.0])
    assert base_errors(tmp_path)["map/rsrp/locator"].tolist() == pytest.approx([3.0] * 4 + [6.0] * 4)
