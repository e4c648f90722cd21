"""Run an ablation: every variant is trained on one new tile and judged there, each written down when done."""

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
from training.ablation.scenario import PHONES_PER_CALL, AblationDeployment, ablation_deployment
from training.cache import StageCache, digest
from training.data.deployment import Deployment
from training.locator.few_labels import FewLabelDataModule
from training.locator.fit import fit_with_data
from training.locator.setup import LocatorTrainingConfig
from uel.config import save
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.estimation.metrics import error_summary, position_error
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
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


def ablate(config: AblateConfig, town: AblationDeployment | None = None) -> Path:
    """Train and judge every variant that is not there yet, and return the folder of their table.

    Killed, the same call goes on after the last whole epoch; the table is written after each variant. `town` is the
    ray tracer's unless given.
    """
    folder = Path("runs") / "ablate" / config.run
    folder.mkdir(parents=True, exist_ok=True)
    town = town or ablation_deployment(config, StageCache(data_folder()))
    save(config, folder / "config.yaml")
    budgets: list[BudgetKind] = sorted(config.budgets, key=lambda budget: budget != "steps")
    jobs: list[tuple[Variant, BudgetKind]] = [(variant, budget) for variant in variants(config) for budget in budgets]
    rows: list[AblationRow] = []
    with _one_thread():
        for number, (variant, budget) in enumerate(jobs, 1):
            log.info("%d of %d: %s", number, len(jobs), _describe(variant, budget))
            rows.append(_row(folder, config, town, variant, budget))
            write_ablation_table(folder / "table.csv", rows)
    return folder


@contextmanager
def _one_thread() -> Iterator[None]:
    """Of PyTorch: several spin while they wait for each other, and that would count as CPU time."""
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
    """How a training came out on the phones that it is judged on."""

    error: Float[Tensor, " phone"]
    sight: Bool[Tensor, " phone"]
    heard: Tensor
    """cells in each report"""
    facts: dict[str, Any]


def _row(
    folder: Path, config: AblateConfig, town: AblationDeployment, variant: Variant, budget: BudgetKind
) -> AblationRow:
    steps = config.training.steps if budget == "steps" else _affordable_steps(folder, config, town, variant)
    trained = _train_variant(folder, config, town, variant, steps)
    name, facts = _cell_name(config, town, variant, steps), trained.facts
    statistics = error_summary(trained.error)
    few, many = trained.heard <= 2, trained.heard >= 5
    groups = {"los": trained.sight, "nlos": ~trained.sight, "cells12": few, "cells34": ~few & ~many, "cells5": many}
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
        r50=statistics["p50_m"] / float(town.limit.quantile(0.5)),
        train_cpu_s=facts["cpu_s"],
        rt_cpu_s=facts["rt_cpu_s"],
        evidence=variant.evidence,
        truth=config.truth,
        steps=facts["steps"],
        rt_batches=facts["rt_batches"],
        cell=name,
        **{f"p50_{group}_m": _median(trained.error[held]) for group, held in groups.items()},
    )


def _median(error: Float[Tensor, " n"]) -> float | None:
    """None of no phones."""
    return float(error.quantile(0.5)) if len(error) else None


def _cell_name(config: AblateConfig, town: AblationDeployment, variant: Variant, steps: int) -> str:
    rest = {name: value for name, value in asdict(config).items() if name not in GRID_FIELDS}
    key = {
        "ruler": ABLATION_VERSION,
        "variant": asdict(variant),
        "steps": steps,
        "config": rest,
        "tile": town.tile.fingerprint,
    }
    return digest(key)


def _affordable_steps(folder: Path, config: AblateConfig, town: AblationDeployment, variant: Variant) -> int:
    """Steps that cost what training without physics costs in all; what a step costs is measured once.

    Whole trainings of known length, so that the learning rate has come down in each, and a resumed one is the same.
    """
    free = replace(variant, loss="none", features=(), rt_fraction=0.0)
    costs = [_cpu_s_per_step(folder, config, town, kind) for kind in (free, variant)]
    epochs = config.training.epochs
    return epochs * max(1, round(config.training.steps_per_epoch * costs[0] / costs[1]))


def _cpu_s_per_step(folder: Path, config: AblateConfig, town: AblationDeployment, variant: Variant) -> float:
    """CPU seconds of a step of such trainings: those of the first one that was made."""
    file = folder / "costs.json"
    costs = json.loads(file.read_text()) if file.is_file() else {}
    base = Variant(labels=config.labels[0], map=config.conditions[0])
    name = digest([variant.kind, _cell_name(config, town, base, 0)])
    if name not in costs:
        facts = _train_variant(folder, config, town, variant, config.training.steps).facts
        costs[name] = facts["cpu_s"] / facts["steps"]
        replace_file(file, as_json(costs))
    return costs[name]


def _train_variant(
    folder: Path, config: AblateConfig, town: AblationDeployment, variant: Variant, steps: int
) -> VariantResult:
    """Train and judge, or read what was written down."""
    name = _cell_name(config, town, variant, steps)
    file, work = folder / "cells" / f"{name}.npz", folder / "cells" / name
    if not file.is_file():
        recipe = _training_config(config, variant, steps)
        unlabelled = config.unlabelled if variant.loss != "none" else 0
        data = FewLabelDataModule(recipe, town.world(variant.map), town.pool(variant), unlabelled)
        if recipe.training.uses_ray_tracer:
            town.warm(variant.map, recipe, data)
        locator, facts = fit_with_data(work, name, recipe, lambda: data)
        _write(file, _score_locator(locator, town, variant), facts)
        shutil.rmtree(work)
    return _read(file)


def _training_config(config: AblateConfig, variant: Variant, steps: int) -> LocatorTrainingConfig:
    """The base's, with the variant's loss and `steps` steps, a multiple of the epochs."""
    plan = replace(
        config.training,
        loss=variant.loss,
        features=variant.features or config.training.features,
        rt_fraction=variant.rt_fraction,
        steps_per_epoch=steps // config.training.epochs,
    )
    locator = replace(config.locator, evidence=variant.evidence)
    return LocatorTrainingConfig(
        seed=variant.seed, measurement=ObservationModel.of(config.measurement), locator=locator, training=plan
    )


def _score_locator(locator: Locator, town: AblationDeployment, variant: Variant) -> dict[str, Tensor]:
    maps, (true, truth) = town.world(variant.map).maps, town.judged
    said = Deployment(town.tile, town.true, None, variants={variant.map: maps}).as_reported(true, variant.map)
    errors = []
    with torch.no_grad():
        for start in range(0, len(true), PHONES_PER_CALL):
            part = slice(start, start + PHONES_PER_CALL)
            errors.append(position_error(locator(said[part], maps).position, truth.position[part]))
    return {"error": torch.cat(errors), "sight": true.at_serving(truth.los), "heard": true.heard.sum(-1)}


def _write(file: Path, arrays: dict[str, Tensor], facts: dict[str, Any]) -> None:
    content = io.BytesIO()
    stored = {name: value.numpy() for name, value in arrays.items()} | {"facts": np.array(json.dumps(facts))}
    np.savez(content, **stored)  # type: ignore[arg-type]
    replace_file(file, content.getvalue())


def _read(file: Path) -> VariantResult:
    """Raises `UelError` for a file that is damaged."""
    try:
        with np.load(file) as stored:
            arrays = {name: torch.from_numpy(stored[name]) for name in ("error", "sight", "heard")}
            return VariantResult(**arrays, facts=json.loads(str(stored["facts"])))
    except Exception as error:  # numpy raises what zip and its own format raise
        do = "delete it, then give the same command again"
        raise UelError("this part of an ablation is damaged", got=f"{file}: {error}", do=do) from error
