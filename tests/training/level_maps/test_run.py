"""`uel train-maps` on synthetic districts."""

import json
import logging

import pytest
import torch

from scenes.measured_networks.synthetic_district import write_district
from training.level_maps.config import EvidenceTrainingConfig, LinkTrainingConfig, TrainMapsConfig
from training.level_maps.run import train_maps
from uel.errors import UelError
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.predictor import MapPredictor


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("districts")
    for seed in range(4):
        write_district(folder / f"town_{seed}", seed, side=120.0, margin=40.0, masts=3)
    return folder


def quick(data, **changes) -> TrainMapsConfig:
    links = LinkTrainingConfig(steps=60, batch=128, silent_links=500, network=LinkNetworkConfig(width=32, depth=1))
    evidence = EvidenceTrainingConfig(steps=20, batch=2, network=EvidenceNetworkConfig(width=4, depth=1))
    values = {"data": data, "leave_out": ("town_3",), "links": links, "evidence": evidence, "labels": (30, 9000)}
    return TrainMapsConfig(**values | changes)


def test_a_run_has_networks_and_scores_and_is_not_made_twice(data, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    folder = train_maps(quick(data, validate=("town_1",)))
    scores = json.loads((folder / "scores.json").read_text())["town_1"]
    assert {budget: set(entries) for budget, entries in scores.items()} == {
        "0": {"learned", "locator"},
        "30": {"learned_kriging", "locator"},
    }
    assert all(0 < entry["p50_m"] < 200 for entries in scores.values() for entry in entries.values())
    first = MapPredictor.load(folder)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again = MapPredictor.load(train_maps(quick(data, validate=("town_1",))))
    assert "making" not in caplog.text
    for one, other in zip(first.links.parameters(), again.links.parameters(), strict=True):
        assert torch.equal(one, other)


def test_districts_are_asked_for_by_name(data):
    with pytest.raises(UelError, match="not there"):
        train_maps(quick(data, validate=("village",)))
    with pytest.raises(UelError, match="too few districts"):
        train_maps(quick(data, validate=("town_0", "town_1")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 1}, "folds must be at least 2"),
        ({"validate": ("town_3",)}, "both left out and validated on"),
        ({"labels": (0, 20)}, "budgets of 1 or more"),
    ],
)
def test_values_that_cannot_be_are_refused(data, change, message):
    with pytest.raises(UelError, match=message):
        quick(data, **change)
