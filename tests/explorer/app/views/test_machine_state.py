import os
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from explorer.app.views.machine_state import SILENCE_S, training_text

NOW = 1_000_000.0


def make_log(runs: Path, name: str, seconds_ago: float) -> None:
    log = runs / name / "training" / "log" / "part-000" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("step,loss\n0,2.0\n7,1.0\n")
    os.utime(log, (NOW - seconds_ago, NOW - seconds_ago))


def test_without_a_training_there_is_none(tmp_path):
    assert training_text(tmp_path, NOW) == "none yet"


def test_the_newest_training_is_told(tmp_path):
    make_log(tmp_path, "old", 5000.0)
    make_log(tmp_path, "new", 10.0)
    assert training_text(tmp_path, NOW) == "new, step 7: running"
    assert training_text(tmp_path, NOW + 2 * SILENCE_S) == "new, step 7: no line in its log for 10 minutes"
    (tmp_path / "new" / "locator.pt").touch()
    assert training_text(tmp_path, NOW) == "new, step 7: finished"
