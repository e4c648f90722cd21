"""The rules of the house that a machine can check."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from uel.config import config_names, load

ROOMS = ("uel", "sim_bridge", "scenes", "training", "explorer", "configs")
GENERATED = {"data", "runs", "build", "dist", "__pycache__"}
# In pieces, so that this file does not hold what it forbids.
MACHINE = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + r"me/\w", r"pypi\." + "org", "python" + "hosted"]))


def files() -> list[Path]:
    """The files of the repository, without what is generated and without tools' own folders."""
    kept = {".ci", ".gitignore", ".pre-commit-config.yaml", ".streamlit", ".github"}
    found = []
    for folder, names, leaves in os.walk(ROOT):
        names[:] = [name for name in names if name not in GENERATED and (name[0] != "." or name in kept)]
        found += [Path(folder, leaf) for leaf in leaves if leaf[0] != "." or leaf in kept]
    return found


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_imports_go_down_only():
    done = run(tool("lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("uel", "import training", "Imports go down only"),
        ("scenes", "import sim_bridge.backend.runtime", "Imports go down only"),
        ("uel", "import sionna.rt", "Only sim_bridge"),
        ("explorer", "import lightning", "Only training"),
        ("training", "import trimesh", "Only scenes"),
        ("training", "import streamlit", "Only explorer"),
    ],
)
def test_the_layers_can_be_broken(tmp_path, room, line, contract):
    for name in ROOMS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / room / "intruder.py").write_text(f"{line}\n")
    done = run(tool("lint-imports"), "--no-cache", cwd=tmp_path)  # takes the packages of its working directory
    assert done.returncode == 1
    assert re.search(rf"{contract}.* BROKEN", done.stdout), done.stdout + done.stderr


def test_every_config_file_fits_its_schema():
    from scenes.config import BuildConfig
    from sim_bridge.commands.config import RadioMapConfig, SurveyConfig
    from training.ablation.config import AblateConfig
    from training.calibration.config import CalibrateConfig
    from training.commands.config import DemoConfig, TrainConfig
    from training.evaluation.protocol import EvalConfig

    schemas = {"demo": DemoConfig, "build": BuildConfig, "map": RadioMapConfig, "survey": SurveyConfig}
    schemas |= {"train": TrainConfig, "eval": EvalConfig, "ablate": AblateConfig, "calibrate": CalibrateConfig}
    needed = {"build": ["munich"], "map": ["tile"], "survey": ["tile"], "eval": ["run"]}
    folders = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders <= set(schemas)
    for verb, schema in schemas.items():
        for name in config_names(verb):
            load(schema, verb, ["--config", name, *needed.get(verb, [])])


def test_the_wheel_holds_the_rooms_and_their_values(tmp_path):
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(ROOMS)
    values = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    code = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert values | code <= set(names)


def test_no_file_is_long():
    long = {str(path.relative_to(ROOT)): n for path in files() if (n := _lines(path)) > 350}
    assert not long


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") if path.suffix == ".py" else 0


def test_nothing_names_a_machine_or_a_package_index():
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in MACHINE.finditer(text)]
    assert not found


def test_the_lock_is_exact_and_hashed():
    text = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^[a-z0-9][^\n]*", text, re.MULTILINE)
    assert len(pins) > 50
    assert all(re.match(r"[a-z0-9._-]+==\S+ ", pin) for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "sionna-rt==2.2.0 " in text


CANARY = """
import numpy as np
from jaxtyping import Float

def add(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return x
"""


@pytest.mark.parametrize("room", ["uel", "sim_bridge", "scenes", "training", "explorer"])
def test_shapes_are_checked_in_every_room(room, tmp_path, monkeypatch):
    """jaxtyping's flag has a form that silently checks only the first package."""
    import numpy as np
    from jaxtyping import TypeCheckError

    (tmp_path / "canary.py").write_text(CANARY)
    package = importlib.import_module(room)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    try:
        canary = importlib.import_module(f"{room}.canary")
    finally:
        sys.modules.pop(f"{room}.canary", None)
    canary.add(np.zeros(3), np.zeros(3))
    with pytest.raises(TypeCheckError):
        canary.add(np.zeros(3), np.zeros(4))
