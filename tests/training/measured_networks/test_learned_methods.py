"""Methods on learned maps among those of an evaluation on measured networks."""

import pytest
import torch

from scenes.measured_networks.synthetic_district import write_district
from training.measured_networks.config import MeasuredEvalConfig
from training.measured_networks.runner import run_measured
from uel.errors import UelError
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import MapPredictor
from uel.results.measured_evaluation import MEAN_NAME, MeasuredResult, MeasuredTable

METHODS = ("learned", "locator", "learned_kriging")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_district(folder / "district", 1, side=160.0, margin=40.0, masts=2)
    return folder


def test_learned_maps_are_judged_without_labels_and_with(data, tmp_path):
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))])
    MapPredictor(links, EvidenceNetwork(EvidenceNetworkConfig(width=4, depth=1))).save(tmp_path / "maps")
    options = {"labels": (0, 100), "draws": 1, "phones": 20, "methods": METHODS, "maps": tmp_path / "maps"}
    folder = run_measured(MeasuredEvalConfig(data=data, out=tmp_path / "out", **options))
    rows = [row for row in MeasuredTable.of(MeasuredResult.load(folder)).rows if row["district"] == MEAN_NAME]
    error = {(row["method"], row["labels"]): row["p50_m"] for row in rows}
    assert set(error) == {("learned", 0), ("locator", 0), ("learned_kriging", 100), ("locator", 100)}
    # An untrained network corrects nothing, and labels mend the maps of untrained ones.
    assert error["learned", 0] == pytest.approx(error["locator", 0], rel=1e-4)
    assert error["learned_kriging", 100] < error["learned", 0]
    assert error["locator", 100] < error["locator", 0]


def test_without_learned_maps_these_methods_are_refused(data, tmp_path):
    options = {"labels": (0,), "draws": 1, "phones": 5, "methods": ("learned",)}
    with pytest.raises(UelError, match="no learned maps"):
        run_measured(MeasuredEvalConfig(data=data, out=tmp_path / "a", maps=tmp_path / "nowhere", **options))
    with pytest.raises(UelError, match="need learned maps"):
        run_measured(MeasuredEvalConfig(data=data, out=tmp_path / "b", **options))
