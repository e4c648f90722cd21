"""Names of version 0.1: accepted on the command line, in config files and in checkpoints, with one message each."""

import logging
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from training.commands.config import TrainConfig
from training.evaluation.protocol import EvalConfig
from uel import deprecated_names
from uel.config import load
from uel.inference.config import LocateConfig
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.tracing_config import TracingConfig


@pytest.fixture(autouse=True)
def forgotten() -> None:
    deprecated_names._replaced.cache_clear()


def test_old_options_and_codes_of_a_command_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load(EvalConfig, "eval", ["runs/demo", "--retrace", "--tiers", "T0", "T2", "--conditions=M3"])
    assert config.fit_mast_heights
    assert config.tiers == ("rsrp", "rsrp_ta_azimuth")
    assert config.conditions == ("wrong_buildings",)
    assert "retrace is now called fit_mast_heights" in caplog.text
    assert "T2 is now called rsrp_ta_azimuth" in caplog.text


def test_a_run_may_be_called_like_an_old_code() -> None:
    assert load(TrainConfig, "train", ["--run", "M3"]).run == "M3"


def test_old_options_keep_their_values(tmp_path: Path) -> None:
    config = load(LocateConfig, "locate", ["runs/demo", "report.json", "--labelled", "known.csv", "--power=0.7"])
    assert config.labelled_reports == Path("known.csv")
    assert config.likelihood_exponent == 0.7


def test_the_rays_of_locate_are_a_tracing_configuration(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("rays: {depth: 4, map_rays: 1000000}\n")
    given = ["runs/demo", "report.json", "--config", str(file), "--rays.samples", "500"]
    assert load(LocateConfig, "locate", given).tracing == TracingConfig(
        max_depth=4, samples=500, scattering=0.3, map_rays=1_000_000
    )


def test_old_names_in_a_config_file(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("conditions: {M0: 2, M4: 1}\nlocator: {mended: true}\nmending: {labelled: 100}\n")
    config = load(TrainConfig, "train", ["--config", str(file)])
    assert config.conditions.positive == {"exact": 2.0, "wrong_sites": 1.0}
    assert config.locator.corrected_maps
    assert config.map_adaptation.labelled_reports == 100


def test_a_checkpoint_of_version_0_1_opens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = LocatorConfig(patches=8, width=16, pixel_width=4, depth=1, radio_depth=1, corrected_maps=True)
    locator = Locator(sizes, ObservationModel(tier="rsrp"))
    locator.save(tmp_path)
    content = torch.load(tmp_path / "locator.pt", weights_only=True)
    stored = asdict(sizes)
    stored["mended"] = stored.pop("corrected_maps")
    content |= {"config": stored, "measurement": content["measurement"] | {"tier": "T0"}}
    torch.save(content, tmp_path / "locator.pt")
    opened = Locator.load(tmp_path)
    assert opened.config == sizes
    assert opened.measurement == locator.measurement
    for name, value in locator.state_dict().items():
        assert torch.equal(opened.state_dict()[name], value)
