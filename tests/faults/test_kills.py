"""Signals at random moments of build, map, survey, train and eval: the same command goes on, to the same bytes.

`UEL_KILL_MOMENTS` says how many moments are tried (5 by default, one of each verb; 100 take an hour).
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from scenes.tiles.writer import write_sites
from tests.conftest import ROOT
from tests.helpers.toy_city import SITES, toy_tile
from tests.helpers.village_map import SQUARE, map_file

pytestmark = pytest.mark.slow  # 3 min with five moments
MOMENTS = int(os.environ.get("UEL_KILL_MOMENTS", "5"))
FREE_SPACE = "free-space"
LOCATOR = ("--locator.patches", "16", "--locator.width", "16", "--locator.pixel-width", "8", "--locator.depth", "1",
           "--locator.radio-depth", "1")  # fmt: skip


EVALUATION = f"""
name: killed
tiles: [data/third]
deployments: 1
phones: 16
fingerprints: 8
tiers: [rsrp, rsrp_ta]
truths: [map]
sites: [3]
maps: {{pixel: 8.0, tracing: {{backend: {FREE_SPACE}}}}}
sigmas: []
correlations: []
cells: []
dropouts: []
conditions: []
speeds: []
controls: false
"""
"""the base condition alone, in some tiers"""


def hashes(folder: Path, *left_out: str) -> dict[str, str]:
    """Hash of every file that a reader sees, but for some names."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in left_out]
    shown = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in shown}


def _built(folder: Path) -> object:
    return hashes(folder / "data" / "tiles" / "village")


def _mapped(folder: Path) -> object:
    at = folder / "data" / "maps" / f"toy-3.5GHz-{FREE_SPACE}"
    return hashes(at, "map_report.json"), without_times(json.loads((at / "map_report.json").read_text()))


def _surveyed(folder: Path) -> object:
    return {name: key for name, key in hashes(folder / "data" / "survey").items() if ".zarr/" in name}


def _trained(folder: Path) -> object:
    stored = torch.load(folder / "runs" / "killed" / "locator.pt", weights_only=True)
    return {name: value.numpy().tobytes() for name, value in stored["state"].items()}


def _evaluated(folder: Path) -> object:
    table = (folder / "runs" / "killed" / "eval" / "killed" / "table.csv").read_text().splitlines()
    header = table[0].split(",")
    kept = [index for index, name in enumerate(header) if name != "cpu_ms"]
    return [[row.split(",")[index] for index in kept] for row in table]


def without_times(value: object) -> object:
    """A report without what took how long."""
    return {k: v for k, v in value.items() if k != "seconds"} if isinstance(value, dict) else value


@dataclass(frozen=True)
class Verb:
    """A command, and what it makes."""

    arguments: tuple[str, ...]
    results: Callable[[Path], object]


VERBS = {
    "build": Verb(("build", "village.osm", *SQUARE, "--out", "data/tiles"), _built),
    "map": Verb(("map", "data/toy", "--tracing.backend", FREE_SPACE, "--pixel", "8", "--check", "40"), _mapped),
    "survey": Verb(
        ("survey", "data/toy", "--tracing.backend", FREE_SPACE, "--measure.layers", "rt", "--tracks", "64", "--reports",
         "4", "--unit-tracks", "4", "--out", "data/survey"),
        _surveyed,
    ),
    "train": Verb(
        ("train", "--run", "killed", "--train", "data/toy", "--validate", "data/other", "--deployments", "1",
         "--maps.tracing.backend", FREE_SPACE, "--maps.pixel", "8", "--training.epochs", "6",
         "--training.steps-per-epoch", "4", "--training.batch", "4", "--training.validation", "8",
         "--training.traced-fraction", "0", *LOCATOR),
        _trained,
    ),
    "eval": Verb(
        ("eval", "runs/killed", "--config", "eval.yaml"),
        _evaluated,
    ),
}  # fmt: skip


def launch(verb: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "UEL_DATA": "data", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uel.cli", *VERBS[verb].arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(verb: str, folder: Path) -> str:
    process = launch(verb, folder)
    said = process.communicate(timeout=900)[1]
    assert process.returncode == 0, said[-3000:]
    return said


@dataclass(frozen=True)
class Reference:
    """The folder before each verb, what each one makes undisturbed, and how long it takes."""

    before: dict[str, Path]
    results: dict[str, object]
    seconds: dict[str, float]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    root = tmp_path_factory.mktemp("kills")
    folder = root / "now"
    folder.mkdir()
    map_file(folder)
    (folder / "eval.yaml").write_text(EVALUATION)
    for name, site in (("toy", 0), ("other", 1), ("third", 2)):
        write_sites(toy_tile(folder / "data" / name, name), SITES[: 4 - site % 2])
    before, results, seconds = dict[str, Path](), dict[str, object](), dict[str, float]()
    for verb in VERBS:
        before[verb] = root / verb
        shutil.copytree(folder, before[verb])
        start = time.perf_counter()
        finish(verb, folder)
        seconds[verb], results[verb] = time.perf_counter() - start, VERBS[verb].results(folder)
    return Reference(before, results, seconds)


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_killed_command_goes_on_to_the_same_result(moment: int, reference: Reference, tmp_path: Path) -> None:
    draw = random.Random(moment)
    verb = list(VERBS)[moment % len(VERBS)]
    folder = tmp_path / "now"
    shutil.copytree(reference.before[verb], folder)
    process = launch(verb, folder)
    time.sleep(reference.seconds[verb] * draw.uniform(0.1, 1.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(verb, folder)
    assert VERBS[verb].results(folder) == reference.results[verb], f"{verb}, killed at moment {moment}"
    assert not [path for path in folder.rglob("*.part") if path.is_dir()], "what was killed is swept"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("verb", VERBS)
def test_a_stopped_command_says_how_to_go_on(
    verb: str, number: int, code: int, reference: Reference, tmp_path: Path
) -> None:
    folder = tmp_path / "now"
    shutil.copytree(reference.before[verb], folder)
    process = launch(verb, folder)
    time.sleep(reference.seconds[verb] * random.Random(f"{verb}{number}").uniform(0.2, 0.9))
    process.send_signal(number)
    said = process.communicate(timeout=300)[1]
    assert "Traceback" not in said
    if process.returncode != 0:  # it was finished
        assert process.returncode == code, said
        assert f"the same command goes on from there:\n  uel {verb} " in said
    finish(verb, folder)
    assert VERBS[verb].results(folder) == reference.results[verb]
