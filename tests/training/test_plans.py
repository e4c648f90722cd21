"""What long verbs say beforehand: the full configuration beside the quick one, and why cells are made again."""

from dataclasses import replace
from pathlib import Path

import pytest

from sim_bridge.engines.progress import larger_job
from tests.helpers.evaluations import ONE, SIZES, config_of, made
from tests.helpers.toy_city import toy_tile
from training.ablation import grid
from training.ablation.config import AblateConfig
from training.calibration import starts
from training.calibration.config import CalibrateConfig
from training.evaluation import cells
from training.evaluation.protocol import EvalConfig
from training.evaluation.runner import evaluation_job, run_protocol
from uel.config import load
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator


@pytest.mark.parametrize(
    ("schema", "verb", "full", "work", "required"),
    [
        (AblateConfig, "ablate", "florence", grid.work, ()),
        (EvalConfig, "eval", "florence", cells.work, ("RUN",)),
        (CalibrateConfig, "calibrate", "munich", starts.work, ()),
    ],
)
def test_the_full_configuration_is_many_times_the_quick_one(schema, verb, full, work, required) -> None:
    quick = load(schema, verb, [*required, "--config=quick"])
    larger = larger_job(verb, quick, full, 1, work, *required)
    assert larger is not None
    assert larger.name == f"--config {verb}/{full}"
    assert larger.units > 10
    assert larger_job(verb, load(schema, verb, [*required, f"--config={full}"]), full, 1, work, *required) is None


def test_cells_say_why_they_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run, tile = tmp_path / "run", toy_tile(tmp_path / "tile")
    run.mkdir()
    Locator(SIZES, ObservationModel()).save(run)
    config = config_of(run, **ONE | {"phones": 4, "fingerprints": 8, "rt": 0})
    folder = run_protocol(config, made(tile, config))
    assert f"evaluating: 1 to make, 0 reused in {folder}" in caplog.messages
    assert not any("made again" in message for message in caplog.messages)
    changed = replace(config, phones=5)
    job = evaluation_job(changed, made(tile, changed))
    assert job.reason(0) == "config.phones 4 → 5"
    assert evaluation_job(replace(changed, sigmas=(3.0,)), made(tile, replace(changed, sigmas=(3.0,)))).reason(1) == ""
