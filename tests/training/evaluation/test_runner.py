"""The whole judgement on a toy city in empty space: every method, condition and track, tables, resuming."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.evaluations import ONE, SIZES, config_of, empty_space, made
from tests.helpers.locators import trained
from tests.helpers.toy_city import SITES, toy_tile
from training.evaluation import runner as judging
from training.evaluation.protocol import protocol_conditions
from training.evaluation.runner import run_protocol
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.measurement.reports import rotate_to_assumed_azimuths
from uel.models.config import LocatorConfig, RestorerConfig
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.results.evaluation import EVALUATION_COLUMNS, read_result

whole = pytest.mark.slow  # 88 cells of every method: ten minutes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an untrained locator, which answers like grid Bayes."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    Locator(SIZES, ObservationModel()).save(folder)
    return folder


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture(scope="module")
def judged(run: Path, tile: Tile) -> Path:
    config = config_of(run)
    return run_protocol(config, made(tile, config))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pick(rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    plain = {
        "truth": "map",
        "tier": "rsrp_ta_azimuth",
        "sigma_db": "8.0",
        "k": "8",
        "dropout": "0.0",
        "map": "exact",
        "sites": "4",
    }
    wanted = {**plain, "track": "single", "correlation": "0.0", **wanted}
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


@whole
def test_every_condition_and_method_has_a_row(judged: Path) -> None:
    rows = table(judged)
    assert tuple(rows[0]) == EVALUATION_COLUMNS
    conditions = list(protocol_conditions(config_of(judged)))
    assert (
        len({tuple(row[c] for c in EVALUATION_COLUMNS[:10]) for row in rows})
        == len(conditions)
        == 2 * (2 + 2 + 5 + 2 + 1 - 1)
    )
    methods = {row["method"] for row in rows if row["track"] == "single"}
    assert {"limit", "grid_robust", "no_map", "shuffled_map", "knn_map", "knn_survey", "locator"} <= methods
    assert {"locator_refined", "locator_ray_rescored"} <= methods
    for row in rows:
        assert int(row["n"]) > 0
        assert 0 < float(row["p50_m"]) <= float(row["p67_m"]) <= float(row["p95_m"])
        assert float(row["cpu_ms"]) > 0
        assert row["deployments"] == "2"


@whole
def test_the_untrained_locator_is_the_limit_where_its_map_and_model_are_true(judged: Path) -> None:
    row = pick(table(judged), method="locator")
    assert 0.8 < float(row["r50"]) < 1.25
    assert abs(float(row["excess_nll"])) < 0.3


@whole
def test_second_thoughts_reach_the_limit_where_map_and_model_are_true(judged: Path) -> None:
    """All methods and the limit know the same; what is left is the pooling to patches, which pixels undo."""
    row = pick(table(judged), method="locator_refined")
    assert float(row["r50"]) == pytest.approx(1.0, abs=0.02)
    assert float(row["r95"]) == pytest.approx(1.0, abs=0.02)
    assert abs(float(row["excess_nll"])) < 0.01


@whole
def test_the_tracer_is_asked_of_the_first_phones_where_the_map_is_of_the_true_place(judged: Path) -> None:
    rows = [row for row in table(judged) if row["method"] == "locator_ray_rescored"]
    assert {row["map"] for row in rows} == {"exact"}
    assert {row["n"] for row in rows} == {"16"}
    assert float(pick(rows, method="locator_ray_rescored")["r50"]) < 1.3


@whole
def test_the_limit_has_no_excess_and_covers_what_it_claims(judged: Path) -> None:
    row = pick(table(judged), method="limit")
    assert (row["r50"], row["r95"], row["excess_nll"]) == ("1.0", "1.0", "0.0")
    assert float(row["cover90"]) == pytest.approx(0.9, abs=0.08)  # 120 phones: 2.7 % standard error
    assert float(row["cover50"]) == pytest.approx(0.5, abs=0.14)


@whole
def test_ratios_belong_to_map_truth(judged: Path) -> None:
    assert all((row["r50"] == "") == (row["truth"] == "paths") for row in table(judged))


@whole
def test_the_limit_knows_the_true_map_whatever_methods_are_given(judged: Path) -> None:
    rows = table(judged)
    assert pick(rows, map="no_radio_map", method="limit")["p50_m"] == pick(rows, method="limit")["p50_m"]
    assert float(pick(rows, map="no_radio_map", method="grid_bayes")["p50_m"]) > float(
        pick(rows, method="grid_bayes")["p50_m"]
    )


@whole
def test_less_is_worse(judged: Path) -> None:
    rows, mean = table(judged), lambda row: float(row["mean_m"])
    base = mean(pick(rows, method="limit"))
    assert mean(pick(rows, tier="rsrp", method="limit")) > base
    assert mean(pick(rows, sigma_db="10.0", method="limit")) > base
    assert mean(pick(rows, dropout="0.5", method="limit")) > base
    assert mean(pick(rows, method="prior_median")) > mean(pick(rows, method="no_map")) > base
    assert mean(pick(rows, method="shuffled_map")) > 3 * base


@whole
def test_what_is_done_is_not_done_again(judged: Path, run: Path, tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (judged / "table.csv").read_bytes()
    gone = sorted((judged / "cells").glob("*.npz"))[0]
    old = read_result(gone)
    gone.unlink()
    real, calls = judging._evaluate_condition, []
    monkeypatch.setattr(judging, "_evaluate_condition", lambda *args: calls.append(args) or real(*args))
    config = config_of(run)
    assert run_protocol(config, made(tile, config)) == judged
    assert len(calls) == 1
    again = read_result(gone)
    for name, values in old.methods.items():
        assert (values["estimate"] == again.methods[name]["estimate"]).all()

    def without_time(text):
        return [row.split(",")[:21] for row in text.decode().splitlines()]

    assert without_time((judged / "table.csv").read_bytes()) == without_time(before)


def test_units_alone_and_then_the_rest_are_the_table(run: Path, tile: Tile, tmp_path: Path) -> None:
    """As tasks of a Slurm array make them, and the command that completes the result."""
    shutil.copyfile(run / "locator.pt", tmp_path / "locator.pt")
    config = config_of(tmp_path, rt=0, phones=8, **{**ONE, "sites": (4, 3)})
    folder = run_protocol(replace(config, unit=(1,)), made(tile, config))
    (first,) = (folder / "cells").glob("*.npz")
    assert not (folder / "table.csv").exists()
    made_at = first.stat().st_mtime_ns
    run_protocol(config, made(tile, config))
    assert first.stat().st_mtime_ns == made_at
    assert {row["sites"] for row in table(folder)} == {"3", "4"}
    with pytest.raises(UelError, match="no such --unit"):
        run_protocol(replace(config, unit=(9,)), made(tile, config))


@whole
def test_another_locator_is_judged_anew(judged: Path, run: Path, tile: Tile, tmp_path: Path) -> None:
    locator = Locator.load(run)
    with torch.no_grad():
        locator.trust.bias += 0.5
    locator.save(tmp_path / "other")
    config = config_of(run, compare=(tmp_path / "other",), **ONE)
    count = len(list((judged / "cells").glob("*.npz")))
    rows = table(run_protocol(config, made(tile, config)))
    assert len(list((judged / "cells").glob("*.npz"))) == count + 1
    assert {"locator", "other"} <= {row["method"] for row in rows}


@pytest.mark.slow  # 25 s beside other work
def test_a_run_is_judged_with_its_restorer(run: Path, tile: Tile, tmp_path: Path) -> None:
    """A locator beside which a restorer lies is another one, and a restorer that cannot be read is not passed over."""
    shutil.copyfile(run / "locator.pt", tmp_path / "locator.pt")
    config = config_of(tmp_path, rt=0, phones=8, **ONE)
    cells = tmp_path / "eval" / "toy" / "cells"
    run_protocol(config, made(tile, config))
    MapRestorer(RestorerConfig(width=4, levels=2)).save(tmp_path)
    run_protocol(config, made(tile, config))
    assert len(list(cells.glob("*.npz"))) == 2
    (tmp_path / "restorer.pt").write_bytes(b"no weights")
    with pytest.raises(UelError, match="restorer"):
        run_protocol(config, made(tile, config))


@whole
def test_maps_of_wrong_masts_may_be_traced_anew(run: Path, tile: Tile) -> None:
    """In empty space a wrong height changes levels near its mast alone: what is shown is that all ask the new map."""
    config = config_of(
        run,
        name="retraced",
        fit_mast_heights=True,
        rt=0,
        phones=16,
        **{**ONE, "conditions": ("wrong_sites", "no_radio_map")},
    )
    rows = table(run_protocol(config, made(tile, config)))
    with_it = {row["map"] for row in rows if row["method"] == "locator_retraced"}
    assert with_it == {row["map"] for row in rows if row["method"] == "grid_bayes_retraced"} == {"exact", "wrong_sites"}


@pytest.mark.slow  # 34 s beside other work
def test_a_unet_is_judged_as_any_locator(run: Path, tile: Tile, tmp_path: Path) -> None:
    """As the run, with second thoughts and on tracks, and with our own as its rival."""
    torch.manual_seed(0)
    sizes = LocatorConfig(patches=16, pixel_width=4, encoder="unet", evidence="none")
    Locator(sizes, ObservationModel()).save(tmp_path / "unet")
    config = config_of(tmp_path / "unet", compare=(run,), rt=0, phones=32, **{**ONE, "speeds": (0.0,)})
    rows = table(run_protocol(config, made(tile, config)))
    assert {"locator", "locator_refined", "locator_last", run.name, "grid_robust"} <= {row["method"] for row in rows}
    errors = {name: float(pick(rows, method=name)["p50_m"]) for name in ("locator", "prior_median", run.name)}
    assert errors[run.name] < errors["locator"] < 1.2 * errors["prior_median"]  # untrained it says the prior


@pytest.mark.slow
def test_tracks_are_followed_on_wrong_maps_beside_a_limit_that_knows_the_right_one(run: Path, tile: Tile) -> None:
    config = config_of(
        run, name="lost", rt=0, phones=8, track_maps=("exact", "wrong_sites"), **{**ONE, "speeds": (10.0,)}
    )
    rows = [row for row in table(run_protocol(config, made(tile, config))) if row["track"] == "10 m/s"]
    found = {(row["map"], row["method"]): row["p50_m"] for row in rows}
    assert found["exact", "limit"] == found["wrong_sites", "limit"]
    assert found["exact", "particle_filter"] != found["wrong_sites", "particle_filter"]
    assert ("wrong_sites", "locator_refined") in found


@pytest.mark.slow  # 12 s
def test_a_locator_may_be_shown_one_kind_of_map_alone(tmp_path: Path, tile: Tile) -> None:
    trained(SIZES).save(tmp_path)  # an untrained one looks at no buildings
    config = config_of(tmp_path, name="blind", input_ablation=True, rt=0, phones=32, **ONE)
    rows = table(run_protocol(config, made(tile, config)))
    mean = {
        name: float(pick(rows, method=name)["mean_m"]) for name in ("locator", "locator-buildings", "locator-radio")
    }
    assert mean["locator-radio"] > 1.5 * mean["locator"]  # ranges and azimuths say where masts are looked from
    assert mean["locator-buildings"] != mean["locator"]
    assert mean["locator-buildings"] < 1.5 * mean["locator"]


@whole
def test_damaged_cells_are_named(judged: Path, tmp_path: Path) -> None:
    file = next((judged / "cells").glob("*.npz"))
    (tmp_path / "cut.npz").write_bytes(file.read_bytes()[:200])
    with pytest.raises(UelError, match="delete it"):
        read_result(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    "changes",
    [{"tiers": ("T9",)}, {"conditions": ("M7",)}, {"sites": (3, 8)}, {"tiles": ()}, {"phones": 0}, {"name": "a/b"}],
)
def test_impossible_protocols_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(UelError):
        config_of(tmp_path, **changes)


def test_a_run_without_a_locator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UelError, match="no trained locator"):
        run_protocol(config_of(tmp_path), [])


# ---- masts that are believed to be turned --------------------------------------------------------------


def test_an_azimuth_is_wrong_by_as_much_as_its_antenna(tile: Tile) -> None:
    deployment = empty_space(tile, 0)
    truth = deployment.trace(torch.tensor([[10.0, 20.0], [-40.0, 5.0]]))
    reports = ObservationModel().observe(truth, deployment.maps.power_dbm, torch.Generator().manual_seed(0))
    turned = tuple(replace(s, cells=(replace(s.cells[0], azimuth_deg=20.0 + 10 * k),)) for k, s in enumerate(SITES))
    got = rotate_to_assumed_azimuths(reports, SITES, turned)
    want = (reports.azimuth_deg + 20.0 + 10.0 * reports.serving) % 360
    torch.testing.assert_close(got.azimuth_deg, want)
    assert rotate_to_assumed_azimuths(reports, SITES, SITES) is reports
