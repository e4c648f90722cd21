"""Log density of a run's fixes at the true positions of ray-traced phones: unrefined, refined on the map, and by rays.

The run is `runs/demo` (`uel demo`), the phones those of its traced test survey, which nothing was trained on. `map` and
`rays` refine every fix, as the explorer does, `locate_rays` the undecided ones, as `uel locate` does; `own_rays` are
rays without the map before them.
"""

import statistics
from dataclasses import replace
from pathlib import Path

import torch

import sim_bridge
from explorer.analysis.artefact_index import find_artefacts
from explorer.analysis.phone_trial import DrawnPhones, draw_phones
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.fix import Fix
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.refinement import PatchSortedMap, refine_fix
from uel.inference.run_folder import Run
from uel.radio.tracing_config import ACCURATE_TRACING
from uel.survey.dataset import Survey

RUN, DATA, PHONES = Path("runs/demo"), Path("data"), 200
PHONES_PER_LINE = 10  # of what is said while it runs
HYPOTHESES_PER_CALL = 8  # of the ray tracer: 32 at once take 4.5 GB


def run(count: int = PHONES) -> dict[str, float]:
    opened = Run.open(RUN)
    locator, maps = opened.locator, opened.maps
    model, rescoring = locator.measurement, RayRescoringConfig()
    phones, fine = _phones(opened, count), PatchSortedMap.of(maps, locator.config.patches)
    tracing = replace(ACCURATE_TRACING, backend=opened.deployment.backend, chunk=HYPOTHESES_PER_CALL)
    simulator = sim_bridge.open(opened.tile, opened.deployment.sites, tracing)
    density, error = dict[str, list[float]](), dict[str, list[float]]()
    for n in range(len(phones)):
        report, truth = phones.reports[n : n + 1], phones.position[n : n + 1]
        with torch.no_grad():
            fix = locator(report, maps)
            is_undecided = bool(fix.entropy() >= RefinementConfig().entropy)
            refined = refine_fix(fix, report, fine, model, RefinementConfig(entropy=0.0)).fix
            by_rays, own_rays = (
                rescore_with_rays(one, report, fine, maps, model, simulator, rescoring) for one in (refined, fix)
            )
        fixes: dict[str, Fix] = {"unrefined": fix, "map": refined, "rays": by_rays, "own_rays": own_rays}
        fixes["locate_rays"] = by_rays if is_undecided else fix
        for name, one in fixes.items():
            density.setdefault(name, []).append(float(one.log_density(truth)))
            error.setdefault(name, []).append(float((one.position - truth).norm()))
        if n % PHONES_PER_LINE == PHONES_PER_LINE - 1:
            print(n + 1, _figures(density, error), flush=True)
    return {"rescored_phones": float(len(phones)), **_figures(density, error)}


def _phones(opened: Run, count: int) -> DrawnPhones:
    """Of the traced survey of the run's own tile."""
    index = find_artefacts(RUN, DATA, RUN.parent)
    tile = index.tile(index.first_tile, index.run)
    assert tile is not None, "the tile of the run"
    folder, name = tile.surveys[0]
    deployment = replace(opened.deployment, survey=Survey.open(folder)[name])
    return draw_phones(deployment, opened.locator.measurement, count, seed=7)


def _figures(density: dict[str, list[float]], error: dict[str, list[float]]) -> dict[str, float]:
    """Mean log densities in nats of 1/m² and median errors in m by method, and what refinement gains in nats, with its
    standard error."""
    figures = {f"{name}_nats": statistics.fmean(values) for name, values in density.items()}
    figures |= {f"{name}_p50_m": statistics.median(values) for name, values in error.items()}
    for name in ("map", "rays", "own_rays", "locate_rays"):
        gains = [a - b for a, b in zip(density[name], density["unrefined"], strict=True)]
        figures[f"{name}_gain_nats"] = statistics.fmean(gains)
        figures[f"{name}_gain_error_nats"] = statistics.stdev(gains) / len(gains) ** 0.5
        figures[f"{name}_worst_gain_nats"] = min(gains)
    return figures
