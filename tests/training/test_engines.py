"""The same results whoever makes the units: this process, several, a Ray cluster. Of the same threads: sums of more
threads have another order."""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from scenes.tiles.writer import write_sites
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.engines.config import EngineName
from tests.helpers.ablation_tile import CONFIG as ABLATION
from tests.helpers.ablation_tile import town_of
from tests.helpers.evaluations import ONE, SIZES, config_of, made
from tests.helpers.four_houses import houses
from tests.helpers.threads import one_thread
from tests.helpers.toy_city import toy_deployment, toy_tile
from training.ablation.runner import ablate
from training.calibration import run as calibration
from training.calibration.config import CalibrateConfig, FitConfig, PriorConfig, SyntheticTruthConfig
from training.commands.config import TrainConfig
from training.evaluation.runner import run_protocol
from uel import cli
from uel.config import load
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
from uel.radio.sites import Cell, Site
from uel.radio.tracing_config import TracingConfig
from uel.results.ablation import read_ablation_table

pytestmark = pytest.mark.slow
by_both = pytest.mark.parametrize("engine", ["processes", "ray"])


@pytest.fixture(autouse=True)
def two_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For two workers of one thread each, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UEL_DATA", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def different(one: Path, other: Path) -> list[str]:
    """Arrays of two files that differ, other than CPU times."""
    with np.load(one) as first, np.load(other) as second:
        assert sorted(first.files) == sorted(second.files)
        names = [n for n in first.files if "cpu_ms" not in n and n != "facts"]
        return [n for n in names if first[n].tobytes() != second[n].tobytes()]


@by_both
def test_cells_of_an_evaluation(tmp_path: Path, engine: EngineName) -> None:
    torch.manual_seed(0)
    Locator(SIZES, ObservationModel()).save(tmp_path / "local")
    shutil.copytree(tmp_path / "local", tmp_path / engine)
    tile = toy_tile(tmp_path / "tile")
    few = {**ONE, "sites": (4, 3), "deployments": 2, "rt": 0, "phones": 20}
    local, other = (config_of(tmp_path / name, engine=name, workers=2, **few) for name in ("local", engine))
    with one_thread():
        folders = [run_protocol(config, made(tile, config)) for config in (local, other)]
    cells = [sorted(path.name for path in (folder / "cells").iterdir()) for folder in folders]
    assert cells[0] == cells[1]
    assert len(cells[0]) == 2 * 2
    for cell in cells[0]:
        assert different(*(folder / "cells" / cell for folder in folders)) == []
    untimed = [[row.split(",")[:21] for row in (folder / "table.csv").read_text().splitlines()] for folder in folders]
    assert untimed[0] == untimed[1]


@by_both
def test_trainings_of_an_ablation(tmp_path: Path, engine: EngineName) -> None:
    """Errors of equal steps; costs are measured, so that equal time need not be the same steps."""
    open_scenario = partial(town_of, toy_deployment(tmp_path / "tile"))
    common = replace(ABLATION, losses=("none", "map"), single_features=(), budgets=("steps", "time"))
    local, other = (replace(common, run=name, engine=name, workers=2) for name in ("local", engine))
    folders = [ablate(config, open_scenario) for config in (local, other)]
    tables = [read_ablation_table(folder / "table.csv") for folder in folders]
    for one, two in zip(*tables, strict=True):
        assert (one.loss, one.budget) == (two.loss, two.budget)
        if one.budget == "steps":
            assert different(*(folder / "cells" / f"{one.cell}.npz" for folder in folders)) == []
            assert (one.cell, one.p50_m) == (two.cell, two.p50_m)
    assert [row.budget for row in tables[1]] == ["steps", "time"] * 2


def test_starts_of_a_calibration(tmp_path: Path) -> None:
    """The files of the starts, byte by byte; a start that is there is kept by whatever engine goes on."""
    tile = houses(tmp_path / "tile")
    cells = tuple(Cell(azimuth_deg=azimuth, tilt_deg=15.0) for azimuth in (100.0, 220.0))
    write_sites(tile, (Site(position=(4.0, 4.0, 16.0), cells=cells),))
    config = CalibrateConfig(
        run="local", tile=str(tile.folder), starts=3, maps=0.0, fit=FitConfig(steps=2, scan=5),
        tracing=TracingConfig(max_depth=2, samples=5000, chunk=64, diffraction=False),
        chains=AtlasConfig(rays=20_000, depth=2, pixel=4.0, settle=0, audit=0), priors=PriorConfig(height=1.0),
        synthetic=SyntheticTruthConfig(pixel_fraction=0.03, test_positions=20),
    )  # fmt: skip
    with one_thread():
        folder = calibration.run(replace(config, unit=(0, 1, 2)))
    starts = {path.name: path.read_bytes() for path in (folder / "starts").iterdir()}
    assert len(starts) == 3
    assert not (folder / "calibration.json").exists()
    for engine in ("processes", "ray"):
        folder = calibration.run(replace(config, run=engine, engine=engine, workers=2))
        assert {path.name: path.read_bytes() for path in (folder / "starts").iterdir()} == starts
    times = {path: path.stat().st_mtime_ns for path in (folder / "starts").iterdir()}
    calibration.run(replace(config, run=folder.name))
    assert {path: path.stat().st_mtime_ns for path in (folder / "starts").iterdir()} == times


TRAINING = """
train: ["munich@0,0"]
deployments: 1
sites: {count: 3}
maps: {pixel: 16.0, few_rays: 20000, tracing: {samples: 1000, map_rays: 50000, max_depth: 1, diffraction: false}}
training: {epochs: 1, steps_per_epoch: 2, batch: 4, traced_fraction: 0.0, rt_fraction: 0.0, validation: 8, loss: none}
locator: {patches: 16, width: 16, pixel_width: 8, depth: 1, radio_depth: 1}
"""


def holds_times(path: Path) -> bool:
    """Whether it is the record of a stage, of a survey or of one of its units."""
    return path.name in ("stage.json", "survey.json") or path.parent.name == "units"


def test_deployments_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, radio maps and tracks, byte by byte, and the locator that is trained on them."""
    (tmp_path / "quick.yaml").write_text(TRAINING)
    few = ["--tracks.tracks", "2", "--tracks.reports", "2", "--training.traced-fraction", "0.5"]
    stages: dict[str, dict[str, bytes]] = {}
    for engine in ("local", "processes", "ray"):
        monkeypatch.setenv("UEL_DATA", str(tmp_path / f"data-{engine}"))
        options = ["--run", engine, "--engine", engine, "--workers", "2"]
        with one_thread():
            assert cli.main(["train", "--config", "quick.yaml", *few, *options]) == 0
        data = tmp_path / f"data-{engine}"
        files = [path for path in data.rglob("*") if path.is_file() and not holds_times(path)]
        stages[engine] = {str(path.relative_to(data)): path.read_bytes() for path in files}
        weights = Locator.load(tmp_path / "runs" / engine).state_dict()
        first = Locator.load(tmp_path / "runs" / "local").state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in first.items())
    assert any("radiomap.zarr" in name for name in stages["local"])
    assert stages["local"] == stages["processes"] == stages["ray"]


def test_trainings_of_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "quick.yaml").write_text(TRAINING)
    (tmp_path / "sweep.yaml").write_text("parameters:\n  training.learning_rate: {values: [1e-3, 3e-4]}\n")
    command = ["train", "--config", "quick.yaml", "--sweep", "sweep.yaml"]
    with one_thread():
        assert cli.main([*command, "--run", "local"]) == 0
    said = capsys.readouterr().out.splitlines()[-2:]
    local = tmp_path / "runs" / "local"
    for engine in ("processes", "ray"):
        assert cli.main([*command, "--run", engine, "--engine", engine, "--workers", "2"]) == 0
        assert capsys.readouterr().out.splitlines()[-2:] == said
        folder = tmp_path / "runs" / engine
        assert (folder / "sweep.csv").read_bytes() == (local / "sweep.csv").read_bytes()
        for one in local.glob("learning_rate=*"):
            other = Locator.load(folder / one.name).state_dict()
            assert all(torch.equal(value, other[name]) for name, value in Locator.load(one).state_dict().items())
            assert (folder / one.name / "report.md").is_file()
            assert load(TrainConfig, "train", ["--config", str(folder / one.name / "config.yaml")]).engine == "local"
