"""Ablation: who is labelled, equal time, a run that was killed, and the table and words that come of it."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.analysis.study_index import find_ablations
from explorer.reports import ablation
from tests.helpers.ablation_tile import CONFIG, PLAN, a_batch, task_of, town_of
from tests.helpers.toy_city import toy_deployment
from training.ablation import runner
from training.ablation.config import AblateConfig
from training.ablation.grid import Variant, variants
from training.ablation.runner import ablate
from training.ablation.scenario import AblationScenario
from training.locator.config import LossKind
from training.locator.few_labels import FewLabelPool
from uel import cli
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.results.ablation import AblationRow, read_ablation_table, write_ablation_table


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture
def scenario(world: Deployment) -> AblationScenario:
    return town_of(world, CONFIG)


# ---- labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["none", "map"])
def test_a_place_that_is_not_told_has_no_gradient(
    world: Deployment, scenario: AblationScenario, loss: LossKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, batch = task_of(world, replace(PLAN, loss=loss), monkeypatch), a_batch(scenario)
    assert batch.labelled_count == 4
    assert len(batch.reports) == 8
    assert not batch.position[4:].any()  # nor is it there
    position = (batch.position + torch.tensor([3.0, 5.0])).requires_grad_()
    task.training_step(replace(batch, position=position), 0).backward()
    assert position.grad is not None
    assert position.grad[:4].any()
    assert not position.grad[4:].any()


def test_reports_without_a_place_teach_by_physics_alone(
    world: Deployment, scenario: AblationScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = a_batch(scenario)
    others = scenario.observed[0][90:94]
    swapped = replace(batch, reports=type(batch.reports).cat([batch.reports[:4], others]))
    for loss, same in (("none", True), ("map", False)):
        task = task_of(world, replace(PLAN, loss=loss), monkeypatch)
        told, other = (float(task.training_step(b, 0).detach()) for b in (batch, swapped))
        assert (told == pytest.approx(other, rel=1e-6)) == same


def test_labels_are_the_same_with_and_without_others(scenario: AblationScenario) -> None:
    with_others, alone = a_batch(scenario, number=5), a_batch(scenario, unlabelled=0, number=5)
    assert torch.equal(with_others.position[:4], alone.position)
    assert torch.equal(with_others.reports.rsrp_dbm[:4], alone.reports.rsrp_dbm)


def test_phones_that_are_judged_on_are_in_no_pool(scenario: AblationScenario) -> None:
    judged = {tuple(p) for p in scenario.observed[1].position[: CONFIG.phones].tolist()}
    pools = [scenario.pool(Variant(labels=0, seed=seed)) for seed in (1, 2)]
    for pool in pools:
        assert len(pool.position) == CONFIG.pool
        assert not judged & {tuple(p) for p in pool.position.tolist()}
    assert not torch.equal(pools[0].position, pools[1].position)
    few = scenario.pool(Variant(labels=30))
    assert torch.equal(few.position, pools[0].position[:30])
    assert few.held_out == 6


def test_a_pool_needs_labels(scenario: AblationScenario) -> None:
    with pytest.raises(UelError, match="labels"):
        FewLabelPool(scenario.observed[0], torch.zeros(3, 2))


# ---- the whole ------------------------------------------------------------------------------------------


def untimed(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if "cpu" not in k} for row in csv.DictReader(file)]


@pytest.mark.slow  # 32 s beside other work
def test_killed_and_resumed_it_is_the_same_table(
    world: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = ablate(CONFIG, partial(town_of, world))
    rows = read_ablation_table(whole / "table.csv")
    assert [row.loss for row in rows] == ["none", "map", "rt", "map+rt", "hybrid", "map"]
    assert [row.features for row in rows] == ["", *["rsrp+ta+aoa"] * 4, "ta"]
    assert [row.rt_batches for row in rows][:4] == [0, 0, 3, 3]
    assert rows[4].rt_batches <= 3
    assert all(row.steps == 6 and row.labels == 30 and row.r50 > 0 for row in rows)
    assert rows[0].gain_m_per_cpu_s is None
    gain = (rows[0].p50_m - rows[1].p50_m) / rows[1].train_cpu_s
    assert rows[1].gain_m_per_cpu_s == pytest.approx(gain, rel=0.05, abs=0.02)

    again = replace(CONFIG, run="cut")
    fit_on, left = runner.fit_with_data, [3]

    def dying(*args, **kwargs):  # type: ignore[no-untyped-def]
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return fit_on(*args, **kwargs)

    monkeypatch.setattr(runner, "fit_with_data", dying)
    with pytest.raises(KeyboardInterrupt):
        ablate(again, partial(town_of, world))
    assert len(read_ablation_table(Path("runs/ablate/cut/table.csv"))) == 3
    left[0] = 3
    ablate(again, partial(town_of, world))  # trains the other three alone
    assert untimed(Path("runs/ablate/cut")) == untimed(whole)
    table = (whole / "table.csv").read_bytes()
    left[0] = 0
    ablate(CONFIG, partial(town_of, world))  # nothing is trained
    assert (whole / "table.csv").read_bytes() == table
    tables, problems = find_ablations(tmp_path / "runs")
    assert [study.name for study in tables] == ["cut", "toy"]
    assert problems == []
    (whole / "table.csv").write_text("loss\nmap\n")
    assert len(find_ablations(tmp_path / "runs")[1]) == 1


@pytest.mark.slow  # 14 s
def test_equal_time_is_bought_by_steps(world: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = replace(
        CONFIG, losses=("none", "map"), single_features=(), budgets=("steps", "time"), conditions=("exact", "few_rays")
    )
    folder = ablate(config, partial(town_of, world))
    rows = read_ablation_table(folder / "table.csv")
    assert [(row.map, row.loss, row.budget) for row in rows] == [
        (condition, loss, budget)
        for condition in ("exact", "few_rays")
        for loss in ("none", "map")
        for budget in config.budgets
    ]
    free, priced, costly, fewer = rows[:4]
    assert priced.steps == free.steps == 6
    assert priced.cell == free.cell
    bought = 6 * (free.train_cpu_s / free.steps) / (costly.train_cpu_s / costly.steps)
    assert fewer.steps == 2 * max(1, round(bought / 2))
    page = ablation.write_ablation_report(folder).read_text()
    assert "At equal time, with 30 labels" in page
    assert all((folder / "figures" / f"{name}.png").stat().st_size > 1000 for name in ("labels", "gain", "cost"))


def row(loss: str, p50: float, seed: int = 1, **other: object) -> AblationRow:
    values = dict.fromkeys(AblationRow.__dataclass_fields__) | {
        "loss": loss, "features": "" if loss == "none" else "rsrp+ta+aoa", "labels": 500, "seed": seed, "map": "exact",
        "rt_fraction": 0.1 if "rt" in loss else 0.0, "budget": "time", "p50_m": p50, "p95_m": 3 * p50, "r50": 1.0,
        "train_cpu_s": 10.0, "rt_cpu_s": 0.0, "evidence": "input", "truth": "paths", "steps": 100, "rt_batches": 0,
        "cell": f"{loss}-{seed}-{other.get('budget')}",
    }  # fmt: skip
    return AblationRow(**(values | other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("best", "said"), [(30.0, "The physics loss lowers p50 by 15 % or more"), (39.0, "The goal is not reached")]
)
def test_words_follow_from_the_table(tmp_path: Path, best: float, said: str) -> None:
    rows = [row(loss, p50, seed) for seed in (1, 2) for loss, p50 in (("none", 40.0), ("map", best), ("map+rt", 50.0))]
    rows += [row(loss, 40.0, budget="steps", train_cpu_s=cost) for loss, cost in (("map", 10.0), ("map+rt", 14.0))]
    (tmp_path / "cells").mkdir()
    for one in rows:
        np.savez(tmp_path / "cells" / f"{one.cell}.npz", error=np.full(9, one.p50_m, dtype=np.float32))
    write_ablation_table(tmp_path / "table.csv", rows)
    page = ablation.write_ablation_report(tmp_path).read_text()
    assert said in page
    assert "1.40 × one by lookup, **above** the goal" in page
    assert read_ablation_table(tmp_path / "table.csv")[1].gain_m_per_cpu_s == pytest.approx((40 - best) / 10)


def test_the_grid_varies_one_thing_at_a_time() -> None:
    every = list(variants(AblateConfig(seeds=2)))
    assert len(every) == len(set(every)) == 2 * 2 * (6 * 5 + 3 + 3 * 3)
    odd = [v for v in every if v.labels != 2000 and v.map != "exact"]
    assert not odd
    assert {v.rt_fraction for v in every if v.map == "few_rays"} == {0.0, 0.1}
    assert {v.features for v in every if v.loss == "map" and len(v.features) == 1} == {("rsrp",), ("ta",), ("aoa",)}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--losses map", ["losses must contain none"]),
        ("--budgets time", ["budgets must contain steps"]),
        ("--fractions 0", ["fractions must lie"]),
        ("--labels 7", ["labels is out of range"]),
        ("--labels 7000", ["labels is out of range"]),
        ("--conditions no_radio_map", ["needs a radio map"]),
        ("--tile florence@a,b", ["cannot read this tile"]),
        ("--maps.pixel 3", ["do:"]),
        ("--evidence perhaps", ["perhaps"]),
        ("--run a/b", ["not fit for a folder"]),
        ("--training.features rsrp rsrp", ["each feature once"]),
        ("--quick --seeds 0", ["seeds is too small"]),
    ],
)
def test_bad_input_is_refused_before_any_work(
    typed: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ablate", *typed.split()]) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in said), told
    assert not list(tmp_path.iterdir())
