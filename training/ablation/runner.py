"""Run an ablation: every variant is trained and evaluated on one new tile, and stored when done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.progress import larger_job
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import FieldState, UnitDone
from training.ablation.cells import cell_name, read_cell, write_cell
from training.ablation.config import AblateConfig, BudgetKind
from training.ablation.grid import Variant, variants, work
from training.ablation.scenario import PHONES_PER_CALL, AblationScenario, ablation_scenario
from training.cache import StageCache, digest
from training.locator.few_labels import FewLabelDataModule
from training.locator.fit import fit_with_data, is_training
from training.locator.setup import LocatorTrainingConfig
from uel.config import save
from uel.core.files.folder_names import run_folder
from uel.core.files.locks import folder_lock
from uel.core.files.own_folders import remove_own_folder
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, replace_file
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.estimation.estimates import FixEstimate
from uel.estimation.scoring import error_summary, score
from uel.inference.run_folder import write_run
from uel.measurement.model import ObservationModel
from uel.models.locator import Locator
from uel.results.ablation import AblationRow, write_ablation_table


def ablate(config: AblateConfig, open_scenario: Callable[[AblateConfig], AblationScenario] | None = None) -> Path:
    """Train and evaluate every variant that is not stored yet, and return the folder of their table.

    Trainings are units of work, those of equal steps first; a killed one resumes after its last whole epoch, and the
    table is written after each. `open_scenario` is by default that of the ray tracer; engines with processes pickle it.
    Raises `UnitError` where trainings failed.

    Example:
        >>> import training
        >>> folder = training.ablate(training.AblateConfig(run="mine"))  # doctest: +SKIP
        >>> training.AblateConfig(conditions=("no_radio_map",))  # there is no map to look up in
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    job = AblationJob(config, open_scenario or open_traced_scenario)
    require_writable(job.folder, data_folder())
    if not config.unit:  # the configuration of an array's tasks is the job's
        save(config, job.folder / "config.yaml")
    rows: dict[int, AblationRow] = {}

    def write_table(_: int = -1) -> None:
        """The rows of all finished trainings, in the order of the grid."""
        rows.update({number: job.row(number) for number in job.in_table if number not in rows and job.is_done(number)})
        write_ablation_table(job.folder / "table.csv", [rows[number] for number in job.in_table if number in rows])

    larger = larger_job("ablate", config, "florence", sum(map(len, job.phases)), work)
    make_all(job, "ablate", config, "trainings", None if config.unit else write_table, larger=larger)
    if not config.is_partial:
        write_table()
    return job.folder


def open_traced_scenario(config: AblateConfig) -> AblationScenario:
    """The scenario in the ray tracer; its stages are kept in the folder of generated data."""
    return ablation_scenario(config, StageCache(data_folder()))


@dataclass(frozen=True, eq=False)
class AblationJob(FieldState):
    """Trainings of all variants, first of equal steps, then, where costs of a step are known, of equal CPU time."""

    config: AblateConfig
    open_scenario: Callable[[AblateConfig], AblationScenario]

    @property
    def folder(self) -> Path:
        return run_folder("ablate") / self.config.run  # a word, as the configuration has checked

    @cached_property
    def scenario(self) -> AblationScenario:
        """The tile and its phones."""
        return self.open_scenario(self.config)

    @cached_property
    def variants(self) -> list[Variant]:
        """All variants of the grid."""
        return list(variants(self.config))

    @property
    def phases(self) -> tuple[range, ...]:
        count = len(self.variants)
        return tuple(range(n * count, (n + 1) * count) for n in range(len(self.config.budgets)))

    @property
    def in_table(self) -> list[int]:
        """The units in the order of the table: a variant with equal steps, the same with equal time, the next."""
        return [unit for units in zip(*self.phases, strict=True) for unit in units]

    def variant(self, number: int) -> tuple[Variant, BudgetKind]:
        """The variant of a unit, and its budget."""
        count = len(self.variants)
        return self.variants[number % count], "steps" if number < count else "time"

    def steps(self, number: int) -> int | None:
        """Steps of a training; None for equal time as long as costs are not known.

        Of equal time are those that cost as much as the whole training without physics loss. Whole trainings of known
        length, so that the learning rate decays in each and a resumed one is the same.
        """
        (variant, budget), training = self.variant(number), self.config.training
        if budget == "steps":
            return training.steps
        without_physics = replace(variant, loss="none", features=(), rt_fraction=0.0)
        free, own = (self._cpu_s_per_step(kind) for kind in (without_physics, variant))
        if free is None or own is None:
            return None
        return training.epochs * max(1, round(training.steps_per_epoch * free / own))

    def _cpu_s_per_step(self, kind: Variant) -> float | None:
        """CPU seconds of a step of such trainings, measured once: in the first of them with equal steps."""
        base = Variant(labels=self.config.labels[0], map=self.config.conditions[0])
        name = digest([kind.cost_key, cell_name(self.config, self.scenario, base, 0)])
        file = self.folder / "costs.json"
        costs = read_json_object(file) if file.is_file() else {}
        if name not in costs:
            first = next(variant for variant in self.variants if variant.cost_key == kind.cost_key)
            cell = self._cell(first, self.config.training.steps)
            if not cell.is_file():
                return None
            facts = read_cell(cell).facts
            costs[name] = facts["cpu_s"] / facts["steps"]
            replace_file(file, as_json(costs))
        return costs[name]

    def _cell(self, variant: Variant, steps: int) -> Path:
        return self.folder / "cells" / f"{cell_name(self.config, self.scenario, variant, steps)}.npz"

    def is_done(self, number: int) -> bool:
        steps = self.steps(number)
        return steps is not None and self._cell(self.variant(number)[0], steps).is_file()

    def row(self, number: int) -> AblationRow:
        """The row of a finished training. Raises `UelError` for a damaged result."""
        (variant, budget), steps = self.variant(number), self.steps(number)
        assert steps is not None, "the row of a training that is not finished"
        return _row(self._cell(variant, steps), self.config, self.scenario, variant, budget)

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return self.make

    def make(self, number: int) -> UnitDone:
        """Train and evaluate a variant. Raises `UelError` for equal time before costs are known."""
        (variant, budget), steps = self.variant(number), self.steps(number)
        if steps is None:
            do = "make the units of equal steps first: the same command without --unit"
            raise UelError("equal time needs the costs of a step, which are not measured yet", got=number, do=do)
        with _one_thread():
            _train_variant(self._cell(variant, steps), self.config, self.scenario, variant, steps)
        return UnitDone(number, _describe(variant, budget))


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


def _row(
    cell: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant, budget: BudgetKind
) -> AblationRow:
    result = read_cell(cell)
    facts = result.facts
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
        cell=cell.stem,
        **{f"p50_{group}_m": _median(result.error[in_group]) for group, in_group in groups.items()},
    )


def _median(error: Float[Tensor, " n"]) -> float | None:
    """The median, or None without phones."""
    return error_summary(error)["p50_m"] if len(error) else None


def _train_variant(cell: Path, config: AblateConfig, scenario: AblationScenario, variant: Variant, steps: int) -> None:
    """Train and evaluate; the cell is written last."""
    work, run, radio = cell.with_suffix(".training"), cell.with_suffix(""), cell.parents[1] / "radio" / variant.map
    training_config = _training_config(config, variant, steps)
    unlabelled = config.unlabelled if variant.loss != "none" else 0
    data = FewLabelDataModule(training_config, scenario.assumed(variant.map), scenario.pool(variant), unlabelled)
    if training_config.training.uses_ray_tracer:
        scenario.warm_up(variant.map, training_config, data)
    locator, facts = fit_with_data(work, cell.stem, training_config, lambda: data)
    with folder_lock(radio):  # trainings of other processes share it
        write_run(run, locator, scenario.assumed(variant.map), "uel ablate", radio)
    write_cell(cell, _score_locator(locator, scenario, variant), facts)
    remove_own_folder(work, is_training, "training of a variant")


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
