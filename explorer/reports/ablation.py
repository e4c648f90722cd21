"""The report of an ablation: `table.md` beside `table.csv`, with pictures, and what follows from the table in words."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from explorer.figures import ablation as figures
from explorer.figures.ablation import VariantGroup, group_variants, variant_label
from uel.errors import UelError
from uel.estimation.metrics import bootstrap
from uel.results.ablation import AblationRow, read_ablation_table

FEW_LABELS = 2000  # labels: what few are
GAIN_GOAL = 0.15  # share by which the best physics loss should lower p50 there
MAX_STEP_COST = 1.25  # times a lookup's CPU time that a tenth of traced batches may cost
TRACED_FRACTION = 0.1
TABLE_HEADER = ("p50", "p95", "r50", "LoS", "NLoS", "1–2 cells", "3–4", "5+", "steps", "CPU s", "RT s", "m per CPU s")
LIKELY_REASONS = {
    "skip": (
        "This locator holds the map's posterior before it is trained (the evidence skips to its heatmap), so that a "
        "loss that asks the same map tells it nothing new; what it learns from labels is where the map is wrong."
    ),
    "input": (
        "This locator sees the map's evidence and has to learn what it is worth: the labels teach it that, too, and "
        "with far more signal a phone than an expected residual at a few candidates has, which is blind to all others."
    ),
    "none": (
        "This locator is told nothing of what the map says about a report but the serving cell's map: a physics loss "
        "can only teach it what these inputs allow, and no direction is among them."
    ),
}


def write_ablation_report(folder: Path) -> Path:
    """Write `table.md` and `figures/*.png` into an ablation's folder; returns the path of the former.

    Raises `UelError` where the table is absent or damaged.
    """
    folder = Path(folder)
    rows = read_ablation_table(folder / "table.csv")
    pictures = {
        "labels": figures.labels_figure(rows),
        "gain": figures.gain_figure(rows),
        "conditions": figures.conditions_figure(rows),
        "cost": figures.cost_figure(rows),
    }
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(folder / "figures" / f"{name}.png")
    path = folder / "table.md"
    path.write_text(markdown(folder, rows), encoding="utf-8")
    return path


def markdown(folder: Path, rows: Sequence[AblationRow]) -> str:
    """The page."""
    parts = [f"# Ablation `{folder.name}`", _preface(rows), "## What follows", *conclusions(folder, rows)]
    parts += ["## Median error by labels", "![by labels](figures/labels.png)"]
    parts += ["![by map condition](figures/conditions.png)", "![gain over CPU time](figures/gain.png)"]
    parts += ["![cost of a step](figures/cost.png)", "## Table", _table(folder, rows)]
    return "\n\n".join(parts) + "\n"


def _preface(rows: Sequence[AblationRow]) -> str:
    seeds = len({row.seed for row in rows})
    truth = {
        "paths": "Phones are ray-traced at their true place; r50 is the median over that of the grid posterior on the "
        "true map with its error bar, a reference that can be beaten.",
        "map": "Phones are drawn from the true map; r50 is the median over the limit's.",
    }[rows[0].truth]
    return (
        f"{len(rows)} trainings on one new tile, {seeds} seeds (labels, batches and network of their own). {truth} "
        "Losses: *none*; *map*, by lookup in the map that the locator is given; *rt*, ray tracing on a share of "
        "batches (each weighted by one over the share); *map+rt*, ray tracing on that share and lookup on the others; "
        "*hybrid*, the same with that share where the heatmap's entropy or the map's error bar is highest. The physics "
        "loss is the expectation over the likeliest patches of the report's negative log-likelihood there; phones "
        "without a label join it. *Equal time*: as many steps as cost what training without physics costs. The "
        "ray tracer's city is as wrong as the map. Errors in metres, CPU time in seconds of all threads; intervals "
        "are bootstraps over seeds (90 %)."
    )


# ---- what follows --------------------------------------------------------------------------------------


def conclusions(folder: Path, rows: Sequence[AblationRow]) -> list[str]:
    """Of each locator: whether physics pays with few labels, by tracing more than by lookup, and what that costs."""
    told = []
    for evidence in dict.fromkeys(row.evidence for row in rows):
        mine = [row for row in rows if row.evidence == evidence]
        lines = [_physics(folder, mine, evidence), *_traced(mine), _price(mine)]
        told.append(f"**Evidence: {evidence}.** " + " ".join(filter(None, lines)))
    return told


def _physics(folder: Path, rows: Sequence[AblationRow], evidence: str) -> str:
    """The best physics loss against none, few labels, exact map, at every budget; equal time judges if it was run."""
    few = [row for row in rows if row.labels <= FEW_LABELS and row.map == rows[0].map]
    if not few:
        return f"No training had {FEW_LABELS} labels or fewer."
    told = {b: _compared(folder, [row for row in few if row.budget == b]) for b in ("steps", "time")}
    told = {budget: found for budget, found in told.items() if found}
    if not told:
        return "Nothing to compare."
    words = [f"At equal {budget}, " + "; ".join(said for said, _ in found) + "." for budget, found in told.items()]
    won = max(gain for _, gain in list(told.values())[-1]) >= GAIN_GOAL
    verdict = f"Physics lowers p50 by {100 * GAIN_GOAL:.0f} % or more" if won else "**It does not reach the goal**"
    words.append(f"{verdict} (goal: {100 * GAIN_GOAL:.0f} %{' at equal time' if 'time' in told else ''}).")
    words += [] if won else [_why(few, evidence)]
    words += ["One seed tells nothing of chance."] if len({row.seed for row in few}) == 1 else []
    return " ".join(words)


def _why(rows: Sequence[AblationRow], evidence: str) -> str:
    """What the table itself tells of why physics does not help, and what it does not test."""
    reference = float(np.mean([row.r50 for row in rows if row.loss == "none"]))
    if rows[0].truth == "paths" and reference < 1:
        return (
            f"What this table tells of why: with labels alone the median is already {reference:.2f} of that of the "
            "grid posterior on the true map, so that a loss whose best answer is the map's has no way to teach more. "
            "That labels teach how ray-traced phones differ from their pixel is a guess, which it does not test."
        )
    return "A likely reason, which this table does not test: " + LIKELY_REASONS[evidence]


def _compared(folder: Path, rows: Sequence[AblationRow]) -> list[tuple[str, float]]:
    """For every number of labels: the best physics loss against none in words, and by what share p50 is lower."""
    found = []
    for labels in sorted({row.labels for row in rows}):
        by = group_variants(row for row in rows if row.labels == labels)
        free = next((group for group in by if group.loss == "none"), None)
        others = [group for group in by if group.loss != "none"]
        if free and (others := _as_often(others, free)):
            best = min(others, key=lambda group: group.p50)
            gain, low, high = _lowered(folder, free, best)
            said = (
                f"with {labels} labels the best is {variant_label(best.name)}: {best.p50:.1f} m against {free.p50:.1f} m "
                f"without ({-100 * gain:+.0f} %, from {-100 * high:+.0f} to {-100 * low:+.0f}; "
                f"{_mean(best.rows, 'steps')} steps against {_mean(free.rows, 'steps')})"
            )
            found.append((said, gain))
    return found


def _as_often(others: Sequence[VariantGroup], group: VariantGroup) -> list[VariantGroup]:
    """Those that were trained with every seed of a group: of others a mean says nothing beside its."""
    seeds = {row.seed for row in group.rows}
    return [other for other in others if seeds <= {row.seed for row in other.rows}]


def _lowered(folder: Path, free: VariantGroup, best: VariantGroup) -> tuple[float, float, float]:
    """By what share p50 is lower, all seeds together, and its interval over seeds."""
    both = [
        torch.stack([_errors(folder, a), _errors(folder, b)], 1)
        for a, b in zip(free.rows, best.rows, strict=False)
        if a.seed == b.seed
    ]
    lower = lambda e: 1 - float(e[:, 1].quantile(0.5) / e[:, 0].quantile(0.5))  # noqa: E731
    if not both:
        return 1 - best.p50 / free.p50, float("nan"), float("nan")
    return lower(torch.cat(both)), *bootstrap(both, lower)


def _errors(folder: Path, row: AblationRow) -> torch.Tensor:
    file = folder / "cells" / f"{row.cell}.npz"
    try:
        with np.load(file) as stored:
            return torch.from_numpy(stored["error"])
    except Exception as error:  # numpy raises what zip and its own format raise
        do = "give the command again that made it: uel ablate"
        raise UelError("a part of this ablation is missing or damaged", got=f"{file}: {error}", do=do) from error


def _traced(rows: Sequence[AblationRow]) -> list[str]:
    """Under each map: the best loss that traces against lookup, at equal steps."""
    told = []
    for condition in dict.fromkeys(row.map for row in rows):
        here = [row for row in rows if row.map == condition and row.budget == "steps" and row.labels == rows[0].labels]
        by = group_variants(here)
        lookup = next((g for g in by if g.loss == "map" and "+" in g.features), None)
        lookup = lookup or next((g for g in by if g.loss == "map"), None)
        traced = [g for g in by if g.rt_fraction > 0]
        if lookup and (traced := _as_often(traced, lookup)):
            best = min(traced, key=lambda g: g.p50)
            told.append(f"{condition}: {variant_label(best.name)} {best.p50:.1f} m, lookup {lookup.p50:.1f} m")
    return ["At equal steps, the best that traces against lookup: " + "; ".join(told) + "."] if told else []


def _price(rows: Sequence[AblationRow]) -> str:
    """CPU time of a step with a tenth of batches traced over that of lookup."""
    here = group_variants(row for row in rows if row.budget == "steps")
    lookup = [g for g in here if g.loss == "map" and "+" in g.features] or [g for g in here if g.loss == "map"]
    tenth = [g for g in here if g.loss == "map+rt" and g.rt_fraction == TRACED_FRACTION]
    if not lookup or not tenth:
        return ""
    ratio = float(np.mean([g.step_s for g in tenth]) / np.mean([g.step_s for g in lookup]))
    verdict = "within" if ratio <= MAX_STEP_COST else "**above**"
    return (
        f"A step with 10 % of batches traced costs {ratio:.2f} × one by lookup, {verdict} the goal of {MAX_STEP_COST}."
    )


# ---- table ---------------------------------------------------------------------------------------------


def _table(folder: Path, rows: Sequence[AblationRow]) -> str:
    """A line for each kind of training, seeds together."""
    header = ["evidence", "map", "labels", "equal", "loss", *TABLE_HEADER]
    lines = [f"| {' | '.join(header)} |", "|---|---|---:|---|---|" + "---:|" * len(TABLE_HEADER)]
    keys = product(*(dict.fromkeys(getattr(row, n) for row in rows) for n in ("evidence", "map", "labels", "budget")))
    for key in keys:
        mine = [row for row in rows if (row.evidence, row.map, row.labels, row.budget) == key]
        lines += [f"| {' | '.join([*map(str, key), *_cells(folder, group)])} |" for group in group_variants(mine)]
    return "\n".join(lines)


def _cells(folder: Path, group: VariantGroup) -> list[str]:
    errors = [_errors(folder, row) for row in group.rows]
    low, high = bootstrap(errors, lambda e: float(e.quantile(0.5)))
    names = ("p95_m", "r50", "p50_los_m", "p50_nlos_m", "p50_cells12_m", "p50_cells34_m", "p50_cells5_m")
    rest = [*names, "steps", "train_cpu_s", "rt_cpu_s", "gain_m_per_cpu_s"]
    return [
        variant_label(group.name),
        f"{group.p50:.1f} ({low:.1f} to {high:.1f})",
        *(_mean(group.rows, n) for n in rest),
    ]


def _mean(rows: Iterable[AblationRow], name: str) -> str:
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    if not values:
        return "–"
    mean = float(np.mean(values))
    return f"{mean:.0f}" if abs(mean) >= 100 else f"{mean:.1f}" if abs(mean) >= 10 else f"{mean:.3g}"
