"""`uel survey` from the command line, on a village that the ray tracer knows."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from scenes.tiles.writer import update_files, write_sites
from sim_bridge.commands.config import SurveyConfig
from sim_bridge.commands.survey import require_memory
from sim_bridge.engines import slurm
from tests.conftest import ROOT
from tests.helpers.surveys import content, toy_work
from tests.helpers.village_map import SQUARE, map_file
from uel.cli import main
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site, sites_to_json
from uel.survey.dataset import Survey
from uel.survey.feature_schema import REPORT_FEATURES

SMALL = ["--tracks", "12", "--reports", "3", "--unit-tracks", "4", "--atlas.rays", "20000", "--atlas.audit", "0"]
RAYS = [*SMALL, "--measure.layers", "rt"]


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("village")
    assert main(["build", str(map_file(folder)), "--out", str(folder), *SQUARE, "--no-render"]) == 0
    return folder / "village"


@pytest.fixture(scope="module")
def surveyed(village: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surveyed") / "survey"
    assert main(["survey", str(village), "--out", str(folder), *RAYS]) == 0
    return folder


@pytest.fixture
def copied(surveyed: Path, tmp_path: Path) -> Path:
    shutil.copytree(surveyed, tmp_path / "survey")
    return tmp_path / "survey"


def test_a_survey_holds_what_the_tracer_says(surveyed: Path, village: Path) -> None:
    """Gains of the survey against the full search, at the same places."""
    from sim_bridge.simulator import open_tile as open_simulator
    from uel.radio.tracing_config import TracingConfig

    survey, tile = Survey.open(surveyed), Tile.open(village)
    assert set(survey.manifest.features) == {name for name, feature in REPORT_FEATURES.items() if feature.layer == "rt"}
    got = survey["village"]
    sim = open_simulator(tile, tile.sites, TracingConfig(diffraction=False, samples=10_000))
    want = sim.paths(got.truth.position[got.valid])
    both = want.known & got.truth.known[got.valid]
    assert both.float().mean() > 0.6
    difference = (want.gain_db - got.truth.gain_db[got.valid])[both].abs()
    assert difference.median() < 0.01
    assert (surveyed / "atlas" / "village" / "atlas.json").is_file()


def test_a_second_run_makes_nothing_and_verify_finds_what_differs(copied: Path, village: Path, capsys) -> None:
    command, first = ["survey", str(village), "--out", str(copied), *RAYS], content(copied)
    assert main(command) == 0  # the folder has moved, which its config.yaml learns
    times = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == times
    assert main([*command, "--verify"]) == 0
    shard = copied / "village.zarr" / "delay" / "c" / "1" / "0" / "0"
    before = shard.read_bytes()
    shard.write_bytes(before[:9] + bytes([before[9] ^ 4]) + before[10:])
    capsys.readouterr()
    assert main([*command, "--verify"]) == 1
    assert "village-1 differs, to be made again: village.zarr/delay/c/1/0/0" in capsys.readouterr().out
    assert main(command) == 0
    assert content(copied) == first
    assert {path for path, at in times.items() if path.stat().st_mtime_ns != at and path.suffix == ".json"} == {
        copied / "units" / "village-1.json"
    }


@pytest.mark.slow  # 23 s beside other work
def test_units_one_by_one_are_the_whole(surveyed: Path, village: Path, tmp_path: Path) -> None:
    command = ["survey", str(village), "--out", str(tmp_path / "one"), *RAYS]
    for unit in ("2", "0"):
        assert main([*command, "--unit", unit]) == 0
    assert [unit.number for unit in Survey.open(tmp_path / "one").unfinished_units()] == [1]
    assert main([*command, "--unit", "1", "2"]) == 0
    assert content(tmp_path / "one") == content(surveyed)


def run_task(script: Path, task: int) -> None:
    """As Slurm would, elsewhere than where the script was written."""
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", str(script)], env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_array_job_makes_the_same_bytes(surveyed: Path, village: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(slurm, "MAX_ARRAY_TASKS", 1)
    out = tmp_path / "a survey"
    assert main(["survey", str(village), "--out", str(out), *RAYS, "--engine", "slurm", "--workers", "3"]) == 0
    assert capsys.readouterr().out.strip() == f"sbatch '{out}/survey.sbatch'"
    script = (out / "survey.sbatch").read_text()
    assert "#SBATCH --array=0-0%3\n" in script
    assert len(Survey.open(out).unfinished_units()) == 3
    run_task(out / "survey.sbatch", 0)
    assert content(out) == content(surveyed)


def test_tasks_share_all_units(tmp_path: Path) -> None:
    """The shell's own arithmetic, for an array with fewer tasks than units."""
    (tmp_path / "config.yaml").touch()
    script = slurm.write_script(tmp_path, "survey", range(2500), workers=40, threads=4, gpus=1.0).read_text()
    assert "--array=0-999%40" in script
    assert "--cpus-per-task=4" in script
    assert "--gpus-per-task=1" in script
    (line,) = (line for line in script.splitlines() if line.startswith("units="))
    for task in (0, 1, 499, 500, 999):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
        shell = subprocess.run(["bash", "-c", f"{line}; echo $units"], env=environment, capture_output=True, text=True)
        assert [int(word) for word in shell.stdout.split()] == list(range(task, 2500, 1000))
    with pytest.raises(UelError, match="--gpus must be a whole number"):
        slurm.write_script(tmp_path, "survey", range(3), 1, 1, gpus=0.5)


def test_parquet_has_a_row_for_every_report_and_cell(copied: Path, village: Path, capsys) -> None:
    assert main(["survey", str(village), "--out", str(copied), *RAYS, "--export", "parquet"]) == 0
    path = copied / "parquet" / "village.parquet"
    assert capsys.readouterr().out.strip() == str(path)
    table, tile = pq.read_table(path), Survey.open(copied)["village"]
    cells = len(tile.sites)
    assert table.num_rows == int(tile.valid.sum()) * cells
    track, report, cell = (np.asarray(table[name]) for name in ("track", "report", "cell"))
    assert (track * 1000 + report * 10 + cell == np.sort(track * 1000 + report * 10 + cell)).all()
    known = tile.truth.known[track, report, cell].numpy()
    gain = np.asarray(table["gain_db"].to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(gain[known], tile.truth.gain_db[track, report, cell].numpy()[known])
    assert np.isnan(gain[~known]).all()
    np.testing.assert_array_equal(table["x"], tile.truth.position[track, report, 0])
    assert "path_gain_db" not in table.column_names
    assert table.schema.metadata[b"unit/delay"] == b"s"


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--unit", "3"], ["no such --unit", "0 to 2"]),
        (["--seed", "9"], ["another plan", "plan.seed: 1 in the folder, 9 requested"]),
        (["--tracing.max-depth", "2"], ["plan.tracing.max_depth: 3 in the folder, 2 requested"]),
        (["--no-resume"], ["--out already holds a survey"]),
        (["--workers", "-1"], ["--workers must not be negative"]),
        (["--unit-tracks", "0"], ["at least one track"]),
        (["--tracks", "0"], ["tracks and reports must be at least 1"]),
        (["--measure.layers", "sys"], ["layers must be the first of rt, phy, sys"]),
    ],
)
def test_bad_input_is_a_message(copied: Path, village: Path, more: list[str], words: list[str], capsys) -> None:
    before = content(copied)
    assert main(["survey", str(village), "--out", str(copied), *RAYS, *more]) == 2
    message = capsys.readouterr().err
    assert "do:" in message
    assert all(word in message for word in words), message
    assert content(copied) == before


def network(*frequencies: float) -> tuple[Site, ...]:
    """A mast for each carrier."""
    cells = [Cell(carrier=Carrier(frequency=frequency)) for frequency in frequencies]
    return tuple(Site(position=(-100.0 + 9 * n, 80.0, 30.0), cells=(cell,)) for n, cell in enumerate(cells))


def test_tiles_that_cannot_be_surveyed(village: Path, tmp_path: Path, capsys) -> None:
    def refused(tile: Path, words: str) -> None:
        assert main(["survey", str(tile), "--out", str(tmp_path / "survey"), *RAYS]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "survey").exists()

    refused(tmp_path / "nowhere", "no tile here")
    copy = tmp_path / "copy"
    shutil.copytree(village, copy)
    write_sites(Tile.open(copy), network(3.5e9))
    for sites, words in ((network(3.5e9, 2.6e9), "one carrier"), (network(28e9), "28 GHz")):
        files = {"sites.json": json.dumps(sites_to_json(sites)).encode()}
        update_files(Tile.open(copy), files, {"bands": {"itu_brick": [[1e9, 1e10]]}})
        refused(copy, words)
    (copy / "sites.json").unlink()
    refused(copy, "no sites on this tile")
    assert main(["survey", "--out", str(tmp_path / "survey")]) == 2


def test_another_schemas_survey_is_left_alone(village: Path, tmp_path: Path, capsys) -> None:
    old = tmp_path / "survey"
    old.mkdir()
    (old / "survey.json").write_text('{"schema": "uel-survey-9"}')
    assert main(["survey", str(village), "--out", str(old), *RAYS]) == 2
    assert "uel-survey-9" in capsys.readouterr().err
    assert [path.name for path in old.iterdir()] == ["survey.json"]


def test_units_larger_than_memory_are_refused_before_they_start(tmp_path: Path) -> None:
    manifest = toy_work(tmp_path / "survey").manifest()
    own = 4 * 2 + 4 + 1 + 4 * 3
    per_cell = sum(
        np.dtype(REPORT_FEATURES[n].dtype).itemsize for n in manifest.features if REPORT_FEATURES[n].axes == ("cell",)
    )
    per_path = sum(
        np.dtype(REPORT_FEATURES[n].dtype).itemsize for n in manifest.features if "path" in REPORT_FEATURES[n].axes
    )
    assert manifest.unit_bytes("toy") == 8 * 4 * (own + 4 * per_cell + 4 * 2 * per_path)
    require_memory(manifest, 2, available=7.0 * manifest.unit_bytes("toy"))
    with pytest.raises(UelError, match=r"do not fit in memory[\s\S]*--unit-tracks"):
        require_memory(manifest, 2, available=5.0 * manifest.unit_bytes("toy"))
    require_memory(manifest, 2)


def test_workers_share_the_cores(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    config = SurveyConfig(tiles=(Path("tile"),), engine="processes")
    assert config.workers_and_threads == (8, 1)
    assert replace(config, workers=3).workers_and_threads == (3, 2)
    assert (
        replace(config, engine="local").workers_and_threads == replace(config, unit=(1,)).workers_and_threads == (1, 8)
    )


# ---- all layers, and other threads -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_all_layers_are_the_same_bytes_by_any_engine(village: Path, tmp_path: Path, engine: str) -> None:
    command = ["survey", str(village), *SMALL, "--least-reports", "1", "--coverage-dbm", "-110"]
    assert main([*command, "--out", str(tmp_path / "local")]) == 0
    assert main([*command, "--out", str(tmp_path / "other"), "--engine", engine, "--workers", "2"]) == 0
    assert content(tmp_path / "other") == content(tmp_path / "local")
    survey = Survey.open(tmp_path / "local")
    assert set(survey.manifest.features) == set(REPORT_FEATURES)
    values = survey.read("village", survey.features)
    assert all(torch.isfinite(value).all() for value in values.values())
    assert values["serving_known"][values["valid"]].float().mean() > 0.9
    assert not values["serving_known"][~values["valid"]].any()
    assert survey.statistics()["csi"].count > 0
