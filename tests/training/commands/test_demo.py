"""The main job in small, through the real command line: schema of its results, reuse, resume after a kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uel.measurement.tiers import TIERS

METHODS = {"prior_median", "cell_id", "cell_id_ta", "knn_map", "knn_survey", "grid_bayes", "locator", "limit"}
COMMAND = [sys.executable, "-m", "uel.cli", "demo", "--config", "demo/quick"]

pytestmark = pytest.mark.slow


def launch(folder: Path) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "UEL_DATA"}
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(folder: Path) -> str:
    """Run to the end; what it said."""
    process = launch(folder)
    _, said = process.communicate(timeout=1800)
    assert process.returncode == 0, said[-3000:]
    return said


def kill_when(folder: Path, pattern: str) -> None:
    """Start the job and kill it, without mercy, once a file appears."""
    process = launch(folder)
    deadline = time.monotonic() + 1200
    while not list(folder.glob(pattern)) and process.poll() is None:
        assert time.monotonic() < deadline, f"{pattern} never appeared"
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    """Contents of the files of all folders that match, by relative path."""
    files = [p for f in folder.glob(pattern) for p in f.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def killed_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    kill_when(folder, "data/survey-*.part")
    kill_when(folder, "runs/quick/training/last.ckpt")
    said = finish(folder)
    assert "reusing" in said
    assert "resuming" in said
    return folder


def test_killed_run_ends_with_whole_results(killed_twice: Path) -> None:
    run = killed_twice / "runs" / "quick"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["tile"].startswith("florence")
    for truth in ("test", "test_paths"):
        for tier in TIERS:
            table = metrics[truth]["tier"][tier]
            assert set(table) >= METHODS
            assert all({"p50_m", "p67_m", "p95_m", "mean_m", "n"} == set(row) for row in table.values())
    training = metrics["training"]
    assert training["batches"] == training["steps"] == 20
    assert training["rt_batches"] >= 0.1 * training["batches"]
    assert training["rt_links"] > 0
    assert training["rt_gradient_norm"] > 0
    assert (run / "report.md").is_file()


def test_uninterrupted_run_traces_the_same_bytes(killed_twice: Path, tmp_path: Path) -> None:
    finish(tmp_path)
    one, other = (hashes(folder, "data/survey-*/survey/*.zarr") for folder in (killed_twice, tmp_path))
    assert one
    assert one == other


def test_second_run_reuses_everything(killed_twice: Path) -> None:
    said = finish(killed_twice)
    assert "making" not in said
    assert said.count("reusing") >= 9  # three tiles, maps and surveys, and the training
