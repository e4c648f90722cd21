"""`uel eval RUN --log FILE`: a measured log is judged by the methods and the scores of drawn phones."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer.reports.evaluation import write_evaluation_report
from tests.helpers.evaluations import PLAN, SIZES
from tests.helpers.toy_city import SITES, toy_tile
from training.cache import StageCache
from training.evaluation.log_scenario import log_scenario
from training.evaluation.protocol import EvalConfig
from training.evaluation.runner import run_protocol
from uel import cli
from uel.config import load
from uel.core.tile_reference import TileReference
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace
from uel.radio.sites import sites_to_json
from uel.radio.tracing_config import RADIO_MAP_MODEL
from uel.results.run_summary import newest_evaluation

REPORTS = 240


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an untrained locator; a tile with sites, its map in free space, and a log of phones on it."""
    root = tmp_path_factory.mktemp("log")
    torch.manual_seed(0)
    Locator(SIZES, ObservationModel()).save(root / "run")
    (toy_tile(root / "tile").folder / "sites.json").write_text(json.dumps(sites_to_json(SITES)))
    tile = Tile.open(root / "tile")
    radio = FreeSpace(SITES, size=tile.size).radio_map(tile.grid(8.0))
    radio_map_io.save(replace(radio, made_on=tile.reference, backend="free-space"), root / "radio")
    write_log(Deployment(tile, TileMaps.from_tile(tile, radio)), root / "drive.csv")
    return root


def write_log(deployment: Deployment, file: Path) -> None:
    """Levels in dBm of the cells that phones hear, with two rows that say nothing."""
    generator = torch.Generator().manual_seed(0)
    reports, position = deployment.reports_from_map(REPORTS, ObservationModel(tier="rsrp"), generator)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["time", "x", "y", "cell", "rsrp"])
        for report, cell in reports.heard.nonzero().tolist():
            place = [round(v, 2) for v in position[report].tolist()]
            writer.writerow([100 * report, *place, cell, reports.rsrp_dbm[report, cell].item()])
        writer.writerows([[1e6, 0, 0, 0, 2147483647], [1e6 + 100, 900, 0, 0, -80]])


def config_of(root: Path, **changes: object) -> EvalConfig:
    plain = {"run": root / "run", "tiles": (str(root / "tile"),), "log": root / "drive.csv", "radio": root / "radio"}
    return EvalConfig(**{**plain, "controls": False, "maps": PLAN, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def judged(root: Path) -> Path:
    return run_protocol(config_of(root))


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "table.csv").open(newline="") as stream:
        return {row["method"]: row for row in csv.DictReader(stream)}


def test_a_log_is_judged_beside_the_baselines_and_without_a_limit(judged: Path) -> None:
    rows = table(judged)
    assert {"locator", "locator_refined", "grid_bayes", "grid_bayes_corrected", "knn_survey", "cell_id"} <= set(rows)
    assert "limit" not in rows  # nobody knows the true map
    assert {row["truth"] for row in rows.values()} == {"log"}
    assert {row["r50"] for row in rows.values()} == {""}
    assert float(rows["grid_bayes"]["p50_m"]) < 0.75 * float(rows["prior_median"]["p50_m"])
    assert judged.name == "log_drive"


def test_grid_bayes_on_the_map_that_the_log_was_drawn_from_is_calibrated(judged: Path) -> None:
    row = table(judged)["grid_bayes"]
    assert 60 < int(row["n"]) < 180  # about half of the blocks
    assert float(row["cover90"]) == pytest.approx(0.9, abs=0.1)  # 120 phones: 2.7 % standard error
    assert float(table(judged)["locator"]["p50_m"]) == pytest.approx(float(row["p50_m"]), rel=0.2)


def test_what_is_not_used_is_listed_and_the_report_is_written(judged: Path) -> None:
    with (judged / "rejected.csv").open(newline="") as stream:
        assert sorted(row["rule"] for row in csv.DictReader(stream)) == ["no level", "off the tile"]
    text = write_evaluation_report(judged).read_text(encoding="utf-8")
    assert "no limit" in text
    assert "grid Bayes" in text
    assert newest_evaluation(judged.parent.parent) is None  # the run's accuracy is that on drawn phones


def test_a_second_evaluation_judges_nothing_again(root: Path, judged: Path) -> None:
    times = {file: file.stat().st_mtime_ns for file in (judged / "cells").iterdir()}
    assert len(times) == 1
    run_protocol(config_of(root))
    assert {file: file.stat().st_mtime_ns for file in (judged / "cells").iterdir()} == times
    run_protocol(config_of(root, block=40.0))
    assert len(list((judged / "cells").iterdir())) == 2


def test_the_verb_takes_a_log(root: Path, judged: Path, capsys: pytest.CaptureFixture) -> None:
    files = ["--log", str(root / "drive.csv"), "--tile", str(root / "tile"), "--radio", str(root / "radio")]
    config = load(EvalConfig, "eval", [str(root / "run"), *files])
    assert (config.folder, config.tiles) == (judged, (str(root / "tile"),))
    assert cli.main(["eval", str(root / "run"), *files, "--log", str(root / "nowhere.csv")]) == 2
    assert "no such file of --log" in capsys.readouterr().err


def test_the_tile_of_a_log_is_one_folder(root: Path) -> None:
    with pytest.raises(UelError, match=r"a log is of one tile(.|\n)*--tile FOLDER"):
        config_of(root, tiles=("florence@0,100",))
    with pytest.raises(UelError, match="--radio is the map under a measured log"):
        config_of(root, log=None)
    with pytest.raises(UelError, match="--block must be above 0"):
        config_of(root, block=0.0)
    with pytest.raises(UelError, match="mast heights"):
        config_of(root, fit_mast_heights=True)


def test_a_map_of_another_tile_and_a_log_of_few_reports_are_refused(root: Path, tmp_path: Path) -> None:
    radio = radio_map_io.load(root / "radio")
    radio_map_io.save(replace(radio, made_on=TileReference("rome", "0" * 16)), tmp_path / "rome")
    with pytest.raises(UelError, match="of another tile"):
        run_protocol(config_of(root, radio=tmp_path / "rome"))
    few = tmp_path / "few.csv"
    few.write_text("\n".join((root / "drive.csv").read_text().splitlines()[:3]))
    with pytest.raises(UelError, match=r"one side of the split|too few reports"):
        run_protocol(config_of(root, log=few))


def test_the_map_that_was_made_of_the_tile_is_taken(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UEL_DATA", str(tmp_path))
    provenance = {"radio_map_model": RADIO_MAP_MODEL}
    radio_map_io.save(radio_map_io.load(root / "radio"), tmp_path / "maps" / "own", provenance=provenance)
    free_space = replace(PLAN, tracing=replace(PLAN.tracing, backend="free-space"))
    scenario = log_scenario(config_of(root, radio=None, maps=free_space), StageCache(tmp_path))
    assert scenario.config.radio == tmp_path / "maps" / "own"
    assert not list(tmp_path.rglob("stage.json"))  # nothing was traced
