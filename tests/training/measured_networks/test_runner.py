"""An evaluation on measured networks, from folders of synthetic districts to tables and figures."""

import csv

import numpy as np
import pytest

from scenes.measured_networks.synthetic_district import write_district
from training.measured_networks.config import MeasuredEvalConfig, is_measured
from training.measured_networks.runner import MeasuredJob, run_measured
from uel.cli import main
from uel.errors import UelError
from uel.results.measured_evaluation import MEAN_NAME, MeasuredResult, MeasuredTable

METHODS = ("knn_5", "strongest_cell", "path_loss", "path_loss_kriging")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in (1, 2):
        write_district(folder / f"district_{seed}", seed, side=240.0, margin=40.0, masts=3)
    return folder


def options(data, out, **changes):
    values = {"labels": (0, 100), "draws": 2, "phones": 20, "methods": METHODS} | changes
    return MeasuredEvalConfig(data=data, out=out, **values)


@pytest.fixture(scope="module")
def table(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return MeasuredTable.of(MeasuredResult.load(run_measured(options(data, out))))


def test_each_district_method_and_budget_has_a_row(table):
    keys = {(row["district"], row["method"], row["labels"]) for row in table.rows}
    of_method = {("strongest_cell", 0), ("path_loss", 0), ("knn_5", 100), ("path_loss_kriging", 100)}
    assert keys == {(d, *key) for d in ("district_1", "district_2", MEAN_NAME) for key in of_method}


def test_labels_help_and_densities_are_scored(table):
    rows = {row["method"]: row for row in table.rows if row["district"] == MEAN_NAME}
    assert rows["path_loss_kriging"]["p50_m"] < rows["knn_5"]["p50_m"]
    assert rows["path_loss_kriging"]["p50_m"] < rows["path_loss"]["p50_m"]
    assert rows["path_loss_kriging"]["nats"] > rows["path_loss"]["nats"]
    assert rows["knn_5"]["nats"] == ""
    low, high = rows["knn_5"]["p50_low_m"], rows["knn_5"]["p50_high_m"]
    assert low <= rows["knn_5"]["p50_m"] * 1.01
    assert high >= rows["knn_5"]["p50_m"] * 0.99


def test_a_unit_does_not_depend_on_others_and_is_made_once(data, tmp_path):
    config = options(data, tmp_path, labels=(100,), methods=("knn_5",), unit=(3,))
    run_measured(config)
    job = MeasuredJob(config)
    assert [job.is_done(number) for number in range(4)] == [False, False, False, True]
    with np.load(job.file(3)) as stored:
        alone = stored["knn_5/100/error"]
    whole = options(data, tmp_path, labels=(100,), methods=("knn_5",))
    modified = job.file(3).stat().st_mtime_ns
    result = MeasuredResult.load(run_measured(whole))
    assert job.file(3).stat().st_mtime_ns == modified
    assert np.array_equal(result.draws["district_2"][1]["knn_5/100/error"], alone)


def test_the_verb_writes_tables_and_figures(data, tmp_path, capsys):
    arguments = ["eval", "--protocol", "chengdu", "--data", str(data), "--out", str(tmp_path), "--draws", "1"]
    arguments += ["--labels", "60", "--phones", "10", "--methods", "knn_5", "path_loss_kriging"]
    assert main([*arguments, "--districts", "district_1"]) == 0
    assert capsys.readouterr().out.strip().endswith("table.md")
    with (tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows if row["district"] == "district_1"] == ["knn_5", "path_loss_kriging"]
    assert "knn_5" in (tmp_path / "table.md").read_text()
    figures = {file.name for file in (tmp_path / "figures").iterdir()}
    assert figures == {"error_by_labels.png", "reliability.png", "levels.png", "errors-district_1.png"}


def test_a_budget_that_a_district_does_not_hold_takes_all_labels(data, tmp_path, caplog):
    config = options(
        data, tmp_path, labels=(5, 100_000, 200_000), methods=("knn_1",), draws=1, districts=("district_1",)
    )
    result = MeasuredResult.load(run_measured(config))
    assert {row["labels"] for row in MeasuredTable.of(result).rows} == {5, 100_000}
    assert "a budget of 100000 takes all of them" in caplog.text


def test_what_is_not_there_is_named(data, tmp_path):
    with pytest.raises(UelError, match="unknown method"):
        run_measured(options(data, tmp_path, methods=("oracle",)))
    with pytest.raises(UelError, match="a folder that is not there"):
        run_measured(options(data, tmp_path, districts=("elsewhere",)))
    with pytest.raises(UelError, match="missing or damaged"):
        MeasuredResult.load(tmp_path)


def test_protocols_are_told_apart(tmp_path):
    assert is_measured(["--protocol", "chengdu", "--data", "x"])
    assert is_measured(["--protocol=duke-days"])
    assert not is_measured(["runs/demo", "--protocol", "florence"])
    (tmp_path / "config.yaml").write_text("data: x\nprotocol: chengdu\n")
    assert is_measured(["--config", str(tmp_path / "config.yaml")])
