"""Run a protocol: every method on every condition and deployment, each stored when done, then one table."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from training.cache import StageCache, digest
from training.evaluation import methods as evaluation_methods
from training.evaluation.methods import EvaluationCase
from training.evaluation.protocol import EvalConfig, protocol_conditions
from training.evaluation.scenarios import EvaluationScenario, evaluation_scenarios
from training.evaluation.track_methods import TRACKS_PER_CALL, TrackEvaluationCase, track_methods
from uel.core.io import as_json, data_folder, replace_file
from uel.errors import UelError
from uel.estimation.estimates import GridEstimate
from uel.estimation.scoring import EstimationMethod, score
from uel.measurement.reports import Reports
from uel.models.config import RESTORER_FILE as RESTORER
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.simulator import Simulator
from uel.radio.sites import sites_to_json
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

EVALUATION_VERSION = 16  # raised when a method or a score changes, so that cells are evaluated anew
PHONES_PER_CALL = 16  # phones located at once: the images of more do not fit a cache
TIMED_REPORTS = 9  # single reports whose CPU time is measured
TIMED_TRACKS = 3
TRUE_GEOMETRY_CONDITIONS = ("exact", "few_rays")  # map conditions with the true buildings and sites
WORST_PHONES = 4  # phones whose heatmaps are kept for the pictures


def run_protocol(config: EvalConfig, makers: Iterable[Callable[[], EvaluationScenario]] | None = None) -> Path:
    """Evaluate a run by a protocol and return the folder of its table; stored results are reused.

    `makers` make the scenarios, by default those of the ray tracer. Raises `UelError` if the run has no locator.

    Example:
        >>> from pathlib import Path
        >>> import training
        >>> folder = training.evaluate(training.EvalConfig(run=Path("runs/demo")))  # doctest: +SKIP
        >>> training.evaluate(training.EvalConfig(run=Path("runs/nothing")))
        Traceback (most recent call last):
            ...
        uel.errors.UelError: ...
    """
    locators, locator_digests = _locators(config)
    folder = config.run / "eval" / config.name
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    makers = list(evaluation_scenarios(config, StageCache(data_folder())) if makers is None else makers)
    files = list[Path]()
    with Progress(transient=True) as progress:
        task = progress.add_task("evaluating", total=len(makers) * len(list(protocol_conditions(config))))
        for make_scenario in makers:
            scenario = make_scenario()
            for condition in protocol_conditions(scenario.config):
                progress.update(task, description=f"{scenario.name} {_describe(condition)}")
                files.append(_condition_file(folder / "cells", scenario, condition, locators, locator_digests))
                progress.advance(task)
    write_evaluation_table(folder / "table.csv", [read_result(file) for file in files], config.seed)
    _write_protocol(folder, config, files, list(locators))
    return folder


def _locators(config: EvalConfig) -> tuple[dict[str, Locator], dict[str, str]]:
    """The locators of the run and of `--compare` by name, and digests of their files."""
    folders = {"locator": config.run} | {folder.name: folder for folder in config.compare}
    if len(folders) <= len(config.compare):
        got = ", ".join(str(folder) for folder in config.compare)
        raise UelError(
            "two folders of --compare have the same name, or the name locator", got=got, do="rename a folder"
        )
    locators = {name: Locator.load(folder) for name, folder in folders.items()}
    locator_digests = {name: _file_digest(folder / "locator.pt") for name, folder in folders.items()}
    if (config.run / RESTORER).is_file():
        locator_digests[RESTORER] = _file_digest(config.run / RESTORER)
    return locators, locator_digests


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _write_protocol(folder: Path, config: EvalConfig, files: list[Path], locators: list[str]) -> None:
    """Write what the report needs beside the table: which cells belong to it."""
    protocol = {
        "run": str(config.run),
        "name": config.name,
        "cells": [file.name for file in files],
        "tiles": list(config.tiles),
        "locators": locators,
        "phones": config.phones,
        "fingerprints": config.fingerprints,
        "base": asdict(next(protocol_conditions(config))),
        "size": config.size,
    }
    replace_file(folder / "protocol.json", as_json(protocol))


def _describe(condition: Condition) -> str:
    return f"{condition.truth} {condition.tier} {condition.map} {condition.motion_label}"


# ---- one condition on one deployment -------------------------------------------------------------------


def _condition_file(
    folder: Path,
    scenario: EvaluationScenario,
    condition: Condition,
    locators: Mapping[str, Locator],
    locator_digests: Mapping[str, str],
) -> Path:
    """The file of a condition in a scenario, made or reused."""
    config = scenario.config
    key = {
        "version": EVALUATION_VERSION,
        "condition": asdict(condition),
        "deployment": scenario.name,
        "tiles": dict.fromkeys(config.carriers, scenario.tile.fingerprint),
        "locators": locator_digests,
        "config": {k: v for k, v in asdict(config).items() if k not in _FIELDS_OUTSIDE_KEY}
        | dict.fromkeys(_GRID_FIELDS),
    }
    if scenario.own_sites:
        key["sites"] = sites_to_json(scenario.own_sites)
    file = folder / f"{digest(key)}.npz"
    if not file.is_file():
        start = time.perf_counter()
        write_result(file, _evaluate_condition(scenario, condition, locators))
        log.debug("%s %s: %.1f s", scenario.name, _describe(condition), time.perf_counter() - start)
    return file


# A cell does not depend on the other conditions; its own condition and locators are in its key by themselves.
_FIELDS_OUTSIDE_KEY = ("run", "compare", "name", "deployments", "track_maps")
_GRID_FIELDS = (
    "tiles", "truths", "tiers", "axis_tiers", "map_tiers", "sigmas", "correlations", "cells", "dropouts", "conditions",
    "carriers", "speeds",
)  # fmt: skip


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
            case, locators, controls=plain and condition.map in ("exact", "no_radio_map")
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
        worst_phones = _worst_phones(case, methods, scores, next(iter(locators)))
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
