"""Run an ablation: every variant is trained and evaluated on one new tile, and stored when done."""

import io
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.ablation.config import AblateConfig, BudgetKind
from training.ablation.grid import Variant, variants
from training.ablation.scenario import PHONES_PER_CALL, AblationScenario, ablation_scenario
from training.cache import StageCache, digest
from training.locator.few_labels import FewLabelDataModule
from training.locator.fit import fit_with_data
from training.locator.setup import LocatorTrainingConfig
from uel.config import save
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.estimation.estimates import FixEstimate
from uel.estimation.scoring import error_summary, score
from uel.inference.run_folder import write_run
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
from uel.radio.sites import sites_to_json
from uel.results.ablation import AblationRow, write_ablation_table

log = logging.getLogger(__name__)

ABLATION_VERSION = 2  # raised when a loss or a score changes, so that variants are trained anew
GRID_FIELDS = (
    "run",
    "labels",
    "seeds",
    "first_seed",
    "losses",
    "fractions",
    "alone",
    "conditions",
    "budgets",
    "evidence",
)


def ablate(config: AblateConfig, scenario: AblationScenario | None = None) -> Path:
    """Train and evaluate every variant that is not stored yet, and return the folder of their table.

    A killed ablation resumes after the last whole epoch; the table is written after each variant. `scenario` is by
    default the one of the ray tracer.

    Example:
        >>> import training
        >>> folder = training.ablate(training.AblateConfig(run="mine"))  # doctest: +SKIP
        >>> training.AblateConfig(conditions=("no_radio_map",))  # there is no map to look up in
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    folder = Path("runs") / "ablate" / config.run
    folder.mkdir(parents=True, exist_ok=True)
    scenario = scenario or ablation_scenario(config, StageCache(data_folder()))
    save(config, folder / "config.yaml")
    budgets: list[BudgetKind] = sorted(config.budgets, key=lambda budget: budget != "steps")
    jobs: list[tuple[Variant, BudgetKind]] = [(variant, budget) for variant in variants(config) for budget in budgets]
    rows: list[AblationRow] = []
    with _one_thread():
        for number, (variant, budget) in enumerate(jobs, 1):
            log.info("%d of %d: %s", number, len(jobs), _describe(variant, budget))
            rows.append(_row(folder, config, scenario, variant, budget))
            write_ablation_table(folder / "table.csv", rows)
    return folder


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: several spin while they wait for each other, which would count as CPU time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _describe(variant: Variant, budget: str) -> str:
    features = "+".join(variant.features) or "no features"
    return (
        f"{variant.loss} {features} fraction {variant.rt_fraction:g} labels {variant.labels} {variant.map} "
        f"{variant.evidence} seed {variant.seed}, equal {budget}"
    )


# ---- one variant ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class VariantResult:
    """The errors of a trained variant on its test phones."""

    error: Float[Tensor, " phone"]
    line_of_sight: Bool[Tensor, " phone"]
    heard: Tensor
    """number of cells in each report"""
    facts: dict[str, Any]


def _row(
    folder: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant, budget: BudgetKind
) -> AblationRow:
    steps = config.training.steps if budget == "steps" else _affordable_steps(folder, config, scenario, variant)
    result = _train_variant(folder, config, scenario, variant, steps)
    name, facts = _cell_name(config, scenario, variant, steps), result.facts
    statistics = error_summary(result.error)
    few_cells, many_cells = result.heard <= 2, result.heard >= 5
    groups = {
        "los": result.line_of_sight,
        "nlos": ~result.line_of_sight,
        "cells12": few_cells,
        "cells34": ~few_cells & ~many_cells,
        "cells5": many_cells,
    }
    return AblationRow(
        loss=variant.loss,
        features="+".join(variant.features),
        rt_fraction=variant.rt_fraction,
        labels=variant.labels or config.pool,
        seed=variant.seed,
        map=variant.map,
        budget=budget,
        p50_m=statistics["p50_m"],
        p95_m=statistics["p95_m"],
        r50=statistics["p50_m"] / error_summary(scenario.limit)["p50_m"],
        train_cpu_s=facts["cpu_s"],
        rt_cpu_s=facts["rt_cpu_s"],
        evidence=variant.evidence,
        truth=config.truth,
        steps=facts["steps"],
        rt_batches=facts["rt_batches"],
        cell=name,
        **{f"p50_{group}_m": _median(result.error[in_group]) for group, in_group in groups.items()},
    )


def _median(error: Float[Tensor, " n"]) -> float | None:
    """The median, or None without phones."""
    return error_summary(error)["p50_m"] if len(error) else None


def _cell_name(config: AblateConfig, scenario: AblationScenario, variant: Variant, steps: int) -> str:
    key_fields = {name: value for name, value in asdict(config).items() if name not in GRID_FIELDS}
    key = {
        "version": ABLATION_VERSION,
        "variant": asdict(variant),
        "steps": steps,
        "config": key_fields,
        "tile": scenario.deployment.tile.fingerprint,
        "sites": sites_to_json(scenario.deployment.sites),
    }
    return digest(key)


def _affordable_steps(folder: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant) -> int:
    """Steps that cost as much as the whole training without physics loss; the cost of a step is measured once.

    Whole trainings of known length, so that the learning rate decays in each and a resumed one is the same.
    """
    without_physics = replace(variant, loss="none", features=(), rt_fraction=0.0)
    costs = [_cpu_s_per_step(folder, config, scenario, kind) for kind in (without_physics, variant)]
    epochs = config.training.epochs
    return epochs * max(1, round(config.training.steps_per_epoch * costs[0] / costs[1]))


def _cpu_s_per_step(folder: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant) -> float:
    """CPU seconds of a step of such trainings, measured in the first of them."""
    file = folder / "costs.json"
    costs = json.loads(file.read_text()) if file.is_file() else {}
    base = Variant(labels=config.labels[0], map=config.conditions[0])
    name = digest([variant.cost_key, _cell_name(config, scenario, base, 0)])
    if name not in costs:
        facts = _train_variant(folder, config, scenario, variant, config.training.steps).facts
        costs[name] = facts["cpu_s"] / facts["steps"]
        replace_file(file, as_json(costs))
    return costs[name]


def _train_variant(
    folder: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant, steps: int
) -> VariantResult:
    """Train and evaluate, or read the stored result."""
    name = _cell_name(config, scenario, variant, steps)
    file, work = folder / "cells" / f"{name}.npz", folder / "cells" / f"{name}.training"
    if not file.is_file():
        training_config = _training_config(config, variant, steps)
        unlabelled = config.unlabelled if variant.loss != "none" else 0
        data = FewLabelDataModule(training_config, scenario.assumed(variant.map), scenario.pool(variant), unlabelled)
        if training_config.training.uses_ray_tracer:
            scenario.warm_up(variant.map, training_config, data)
        locator, facts = fit_with_data(work, name, training_config, lambda: data)
        radio = folder / "radio" / variant.map
        write_run(folder / "cells" / name, locator, scenario.assumed(variant.map), "uel ablate", radio)
        _write(file, _score_locator(locator, scenario, variant), facts)
        shutil.rmtree(work)
    return _read(file)


def _training_config(config: AblateConfig, variant: Variant, steps: int) -> LocatorTrainingConfig:
    """The base's configuration with the variant's loss and `steps` steps, a multiple of the epochs."""
    optimization = replace(
        config.training,
        loss=variant.loss,
        features=variant.features or config.training.features,
        rt_fraction=variant.rt_fraction,
        steps_per_epoch=steps // config.training.epochs,
    )
    locator = replace(config.locator, evidence=variant.evidence)
    return LocatorTrainingConfig(
        seed=variant.seed,
        measurement=ObservationModel.from_parameters(config.measurement),
        locator=locator,
        training=optimization,
    )


def _score_locator(locator: Locator, scenario: AblationScenario, variant: Variant) -> dict[str, Tensor]:
    maps, (true_reports, truth) = scenario.assumed(variant.map).maps, scenario.test_phones
    reports = scenario.as_reported(true_reports, variant.map)
    scores = score(
        lambda part: FixEstimate(locator(part, maps)), reports, truth.position, reports_per_call=PHONES_PER_CALL
    )
    return {
        "error": scores.error,
        "line_of_sight": true_reports.at_serving(truth.los),
        "heard": true_reports.heard.sum(-1),
    }


def _write(file: Path, arrays: dict[str, Tensor], facts: dict[str, Any]) -> None:
    content = io.BytesIO()
    stored = {name: value.numpy() for name, value in arrays.items()} | {"facts": np.array(json.dumps(facts))}
    np.savez(content, **stored)  # type: ignore[arg-type]
    replace_file(file, content.getvalue())


def _read(file: Path) -> VariantResult:
    """The stored result. Raises `UelError` for a damaged file."""
    try:
        with np.load(file) as stored:
            arrays = {name: torch.from_numpy(stored[name]) for name in ("error", "line_of_sight", "heard")}
            return VariantResult(**arrays, facts=json.loads(str(stored["facts"])))
    except Exception as error:  # numpy raises what zip and its own format raise
        do = "delete it, then give the same command again"
        raise UelError("the stored result of a variant is damaged", got=f"{file}: {error}", do=do) from error
