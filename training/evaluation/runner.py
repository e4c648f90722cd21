"""Run a protocol: every method on every condition and deployment, each stored when done, then one table."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.progress import larger_job
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import FieldState, UnitDone
from training.cache import StageCache
from training.evaluation import methods as evaluation_methods
from training.evaluation.cells import (
    EvaluationUnit,
    cell_file,
    cell_key,
    former_keys,
    locator_digests,
    locator_folders,
    remade_reason,
    work,
)
from training.evaluation.log_scenario import log_scenario
from training.evaluation.methods import EvaluationCase
from training.evaluation.protocol import EvalConfig, protocol_conditions
from training.evaluation.scenarios import EvaluationScenario, evaluation_scenarios
from training.evaluation.track_methods import TRACKS_PER_CALL, TrackEvaluationCase, track_methods
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, replace_file
from uel.estimation.estimates import GridEstimate
from uel.estimation.scoring import EstimationMethod, score
from uel.inference.run_folder import Run
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.simulator import Simulator
from uel.results.condition import Condition
from uel.results.evaluation import (
    ConditionResult,
    MethodScores,
    read_result,
    score_arrays,
    write_evaluation_table,
    write_result,
)

log = logging.getLogger(__name__)

PHONES_PER_CALL = 16  # phones located at once: the images of more do not fit a cache
TIMED_REPORTS = 9  # single reports whose CPU time is measured
TIMED_TRACKS = 3
TRUE_GEOMETRY_CONDITIONS = ("exact", "few_rays")  # map conditions with the true buildings and sites
WORST_PHONES = 4  # phones whose heatmaps are kept for the pictures


def run_protocol(config: EvalConfig, makers: Iterable[Callable[[], EvaluationScenario]] | None = None) -> Path:
    """Evaluate a run by a protocol and return the folder of its table; stored results are reused.

    `makers` make the scenarios, by default those of the ray tracer; engines with processes pickle them. Raises
    `UelError` if the run has no locator, `UnitError` where a condition could not be evaluated.

    Example:
        >>> from pathlib import Path
        >>> import training
        >>> folder = training.evaluate(training.EvalConfig(run=Path("runs/demo")))  # doctest: +SKIP
        >>> training.evaluate(training.EvalConfig(run=Path("runs/nothing")))
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    config = replace(config, run=Run.open(config.run).folder)  # of a sweep, its best run
    job = evaluation_job(config, _makers(config) if makers is None else makers)
    larger = None if config.log else larger_job("eval", config, "florence", len(job.units), work, str(config.run))
    make_all(job, "eval", config, "evaluating", reason=job.reason, larger=larger)
    if not config.is_partial:
        write_evaluation_table(job.folder / "table.csv", [read_result(unit.file) for unit in job.units], config.seed)
        _write_protocol(job, list(locator_folders(config)))
    return job.folder


def _makers(config: EvalConfig) -> list[Callable[[], EvaluationScenario]]:
    """Makers of the scenario of a measured log, or of those of drawn phones."""
    stage_cache = StageCache(data_folder())
    return [partial(log_scenario, config, stage_cache)] if config.log else evaluation_scenarios(config, stage_cache)


def evaluation_job(config: EvalConfig, makers: Iterable[Callable[[], EvaluationScenario]]) -> "EvaluationJob":
    """The units of a protocol. Raises `UelError` if the run, or one of `compare`, has no locator."""
    for folder in locator_folders(config).values():
        Locator.load(folder)
    folder, digests, makers, units = config.folder, locator_digests(config), tuple(makers), list[EvaluationUnit]()
    sizes = dict[str, float]()
    require_writable(folder / "cells", data_folder())
    for number, make_scenario in enumerate(makers):
        scenario = make_scenario()
        sizes[scenario.name] = scenario.tile.size
        for condition in protocol_conditions(scenario.config):
            key = cell_key(scenario, condition, digests)
            units.append(EvaluationUnit(number, condition, cell_file(folder / "cells", key), key))
    return EvaluationJob(config, makers, tuple(units), sizes)


@dataclass(frozen=True, eq=False)
class EvaluationJob(FieldState):
    """An evaluation to be made: all conditions of a scenario after another, so that its maps stay in memory."""

    config: EvalConfig
    makers: tuple[Callable[[], EvaluationScenario], ...]
    units: tuple[EvaluationUnit, ...]
    sizes: Mapping[str, float]
    """m, sides of the tiles by the scenarios' names"""

    @property
    def folder(self) -> Path:
        return self.config.folder

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(len(self.units)),)

    def is_done(self, number: int) -> bool:
        return self.units[number].file.is_file()

    @cached_property
    def former_keys(self) -> list[dict[str, Any]]:
        """Keys of earlier cells, which are none of this job."""
        return former_keys(self.folder / "cells", {unit.file for unit in self.units})

    def reason(self, number: int) -> str:
        """Why a cell is made again; empty where this condition was never evaluated in this scenario."""
        return remade_reason(self.former_keys, self.units[number].key)

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return EvaluationWorker(self)


class EvaluationWorker:
    """Evaluates conditions in one process; keeps the locators, and the scenario that it used last."""

    def __init__(self, job: EvaluationJob) -> None:
        self.job = job
        self.locators = {name: Locator.load(folder) for name, folder in locator_folders(job.config).items()}
        self._open: tuple[int, EvaluationScenario] | None = None

    def __call__(self, number: int) -> UnitDone:
        """Evaluate a condition and write its file."""
        start, unit = time.perf_counter(), self.job.units[number]
        scenario = self._scenario(unit.scenario)
        write_result(unit.file, _evaluate_condition(scenario, unit.condition, self.locators), unit.key)
        text = f"{scenario.name} {_describe(unit.condition)}"
        log.debug("%s: %.1f s", text, time.perf_counter() - start)
        return UnitDone(number, text)

    def _scenario(self, number: int) -> EvaluationScenario:
        if self._open is None or self._open[0] != number:
            self._open = None  # frees the maps of the one before
            self._open = number, self.job.makers[number]()
        return self._open[1]


def _write_protocol(job: EvaluationJob, locators: list[str]) -> None:
    """Write what the report needs beside the table: which cells belong to it."""
    config = job.config
    protocol = {
        "run": str(config.run),
        "name": job.folder.name,
        "cells": [unit.file.name for unit in job.units],
        "tiles": list(config.tiles),
        "locators": locators,
        "phones": config.phones,
        "fingerprints": config.fingerprints,
        # The first condition; on a tile's own sites it is another than the configuration's.
        "base": asdict(job.units[0].condition),
        "size": config.size,
        "sizes": dict(job.sizes),
        **({"log": str(config.log)} if config.log else {}),
    }
    replace_file(job.folder / "protocol.json", as_json(protocol))


def _describe(condition: Condition) -> str:
    return f"{condition.truth} {condition.tier} {condition.map} {condition.motion_label}"


# ---- one condition in one scenario -------------------------------------------------------------------


def _evaluate_condition(
    scenario: EvaluationScenario, condition: Condition, locators: Mapping[str, Locator]
) -> ConditionResult:
    config = scenario.config
    generator = torch.Generator().manual_seed(config.seed + scenario.seed)

    def with_restorer(case: EvaluationCase) -> EvaluationCase:
        return replace(case, restorer=MapRestorer.load(config.run))

    with torch.no_grad():
        if condition.track >= 0:
            track_case = scenario.tracks(condition)
            scores, position = _track_scores(replace(track_case, case=with_restorer(track_case.case)), locators, config)
            return ConditionResult(condition, scenario.name, position.numpy(), scores, {})
        case = with_restorer(scenario.case(condition))
        plain = condition == _plain(condition, config)
        methods = evaluation_methods.single_report_methods(
            case, locators, controls=config.controls and plain and condition.map in ("exact", "no_radio_map")
        )
        methods |= evaluation_methods.refinement_methods(case, locators["locator"], config.refinement)
        if plain and config.input_ablation:
            methods |= evaluation_methods.input_ablation_methods(case, locators["locator"])
        if plain and config.fit_mast_heights and condition.map != "no_radio_map":
            methods |= evaluation_methods.retraced_map_methods(
                case, locators["locator"], config.refinement, scenario.map_factory(condition)
            )
        scores = {name: _score(name, method, case, generator) for name, method in methods.items()}
        if plain and config.rt and condition.map in TRUE_GEOMETRY_CONDITIONS:
            scores |= _ray_rescoring_scores(case, locators["locator"], config, scenario.simulator(condition), generator)
        worst_phones = _worst_phones(case, methods, scores, next(iter(locators))) if case.has_limit else {}
    return ConditionResult(condition, scenario.name, case.position.numpy(), scores, worst_phones)


def _ray_rescoring_scores(
    case: EvaluationCase, locator: Locator, config: EvalConfig, simulator: Simulator, generator: torch.Generator
) -> MethodScores:
    """Scores of ray-traced re-scoring, for the first phones."""
    first_phones = replace(
        case,
        reports=case.reports[: config.rt],
        position=case.position[: config.rt],
        true_reports=case.true_reports[: config.rt],
    )
    methods = evaluation_methods.ray_rescoring_methods(case, locator, config.refinement, config.rescoring, simulator)
    return {name: _score(name, method, first_phones, generator, timed=TIMED_TRACKS) for name, method in methods.items()}


def _plain(condition: Condition, config: EvalConfig) -> Condition:
    """The base with this condition's truth, tier and map: controls are run there."""
    base = next(c for c in protocol_conditions(config) if c.truth == condition.truth)
    return replace(base, tier=condition.tier, map=condition.map)


def _score(
    name: str, method: EstimationMethod, case: EvaluationCase, generator: torch.Generator, timed: int = TIMED_REPORTS
) -> dict[str, np.ndarray]:
    reports = case.true_reports if name == "limit" else case.reports
    scores = score(
        method,
        reports,
        case.position,
        reports_per_call=PHONES_PER_CALL,
        generator=generator,
        timed_reports=timed,
    )
    return score_arrays(scores)


def _track_scores(
    track_case: TrackEvaluationCase, locators: Mapping[str, Locator], config: EvalConfig
) -> tuple[MethodScores, Tensor]:
    """Scores of methods for whole tracks, and of those for their last reports alone."""
    generator = torch.Generator().manual_seed(config.seed)
    case, scores = track_case.case, MethodScores()
    for name, method in track_methods(track_case, locators, config.refinement, config.seed).items():
        tracks = track_case.true_tracks if name == "limit" else track_case.tracks
        scores[name] = score_arrays(
            score(
                method,
                tracks,
                tracks.position,
                reports_per_call=TRACKS_PER_CALL,
                generator=generator,
                timed_reports=TIMED_TRACKS,
            )
        )
    single_methods = evaluation_methods.single_report_methods(case, locators, controls=False)
    single_methods |= evaluation_methods.refinement_methods(case, locators["locator"], config.refinement)
    for name, method in single_methods.items():
        scores[f"{name}_last"] = _score(name, method, case, generator)
    return scores, case.position


def _worst_phones(
    case: EvaluationCase, methods: Mapping[str, EstimationMethod], scores: MethodScores, name: str
) -> dict[str, np.ndarray]:
    """The phones with the largest errors of a locator: both heatmaps, positions, and the serving cell."""
    error = np.linalg.norm(scores[name]["estimate"] - case.position.numpy(), axis=1)
    index = torch.from_numpy(np.argsort(-error)[:WORST_PHONES].copy())
    reports: Reports = case.reports[index]
    fix, limit = methods[name](reports), methods["limit"](case.true_reports[index])
    assert isinstance(limit, GridEstimate)
    heatmap = fix.fix.log_heatmap.exp()  # type: ignore[attr-defined]
    side = round(heatmap.shape[1] ** 0.5)
    return {
        "heatmap": heatmap.view(-1, side, side).numpy().astype(np.float16),
        "limit": limit.probability.numpy().astype(np.float16),
        "truth": case.position[index].numpy(),
        "estimate": fix.position.numpy(),
        "limit_estimate": limit.position.numpy(),
        "serving": reports.serving.numpy(),
        "sites": np.array([site.position for site in case.maps.radio.sites]),
    }
