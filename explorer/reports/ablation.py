"""The report of an ablation: `table.md` beside `table.csv`, with conclusions and figures."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from explorer.figures import ablation as figures
from explorer.figures.ablation import VariantGroup, group_variants, variant_label
from explorer.style import condition_label
from uel.core.io import replace_file
from uel.core.outside.array_files import read_array_fields
from uel.errors import UelError
from uel.estimation.scoring import bootstrap
from uel.plots.axes import png_bytes
from uel.results.ablation import AblationRow, read_ablation_table

FEW_LABELS = 2000  # labels at most: few
GAIN_GOAL = 0.15  # fraction by which the best physics loss should lower p50 there
MAX_STEP_COST = 1.25  # CPU time of a step with a tenth of batches traced, over that of lookup, at most
TRACED_FRACTION = 0.1
TABLE_HEADER = ("p50", "p95", "r50", "LoS", "NLoS", "1–2 cells", "3–4", "5+", "steps", "CPU s", "RT s", "m per CPU s")
LIKELY_REASONS = {
    "skip": (
        "This locator has the map's posterior before training (the evidence skips to its heatmap), so that a loss "
        "from the same map adds nothing; from labels it learns where the map is wrong."
    ),
    "input": (
        "This locator gets the map's evidence as an input and has to learn its weight. Labels teach the weight, "
        "too, and each label says more than an expected residual at a few candidate positions."
    ),
    "none": (
        "This locator gets only the serving cell's map: a physics loss can teach it no more than these inputs allow, "
        "and they hold no direction."
    ),
}


def write_ablation_report(folder: Path) -> Path:
    """Write `table.md` and `figures/*.png` into an ablation's folder; returns the path of `table.md`.

    Raises `UelError` where `table.csv` is missing or damaged.
    """
    folder = Path(folder)
    rows = read_ablation_table(folder / "table.csv")
    pictures = {
        "labels": figures.labels_figure(rows),
        "gain": figures.gain_figure(rows),
        "conditions": figures.conditions_figure(rows),
        "cost": figures.cost_figure(rows),
    }
    for name, figure in pictures.items():
        replace_file(folder / "figures" / f"{name}.png", png_bytes(figure))
    path = folder / "table.md"
    replace_file(path, markdown(folder, rows).encode())
    return path


def markdown(folder: Path, rows: Sequence[AblationRow]) -> str:
    """The report as Markdown."""
    parts = [f"# Ablation `{folder.name}`", _preface(rows), "## Conclusions", *conclusions(folder, rows)]
    parts += ["## Median error by labels", "![by labels](figures/labels.png)"]
    parts += ["![by map condition](figures/conditions.png)", "![gain over CPU time](figures/gain.png)"]
    parts += ["![cost of a step](figures/cost.png)", "## Table", _table(folder, rows)]
    return "\n\n".join(parts) + "\n"


def _preface(rows: Sequence[AblationRow]) -> str:
    seeds = len({row.seed for row in rows})
    truth = {
        "paths": "Phones are ray-traced at their true position; r50 is the median over that of the grid posterior on "
        "the true map with its error bar, a reference, not a bound.",
        "map": "Phones are drawn from the true map; r50 is the median over the limit's.",
    }[rows[0].truth]
    return (
        f"{len(rows)} trainings on one new tile, {seeds} seeds (each with its own labels, batches and network). "
        f"{truth} Losses: *none*; *map*, by lookup in the map that the locator gets; *rt*, ray tracing on a fraction "
        "of batches (each weighted by one over the fraction); *map+rt*, ray tracing on that fraction and lookup on the "
        "others; *hybrid*, the same with ray tracing where the heatmap's entropy or the map's error bar is highest. "
        "The physics loss is the expected negative log-likelihood of the report over the likeliest patches; phones "
        "without a label enter it, too. *Equal time*: as many steps as take the CPU time of training without physics. "
        "The ray tracer's city has the same errors as the map. Errors in metres, CPU time in seconds of all threads; "
        "intervals are bootstraps over seeds (90 %)."
    )


# ---- conclusions -----------------------------------------------------------------------------------------


def conclusions(folder: Path, rows: Sequence[AblationRow]) -> list[str]:
    """A paragraph for each locator: gain of the physics loss with few labels, of ray tracing over lookup, and cost."""
    paragraphs = []
    for evidence in dict.fromkeys(row.evidence for row in rows):
        selected = [row for row in rows if row.evidence == evidence]
        lines = [_physics_gain(folder, selected, evidence), *_tracing_gain(selected), _step_cost(selected)]
        paragraphs.append(f"**Evidence: {evidence}.** " + " ".join(filter(None, lines)))
    return paragraphs


def _physics_gain(folder: Path, rows: Sequence[AblationRow], evidence: str) -> str:
    """The best physics loss against none with few labels on the base map; equal time decides where it was run."""
    few = [row for row in rows if row.labels <= FEW_LABELS and row.map == rows[0].map]
    if not few:
        return f"No training had {FEW_LABELS} labels or fewer."
    by_budget = {b: _compared(folder, [row for row in few if row.budget == b]) for b in ("steps", "time")}
    by_budget = {budget: compared for budget, compared in by_budget.items() if compared}
    if not by_budget:
        return "Nothing to compare."
    words = [
        f"At equal {budget}, " + "; ".join(sentence for sentence, _ in compared) + "."
        for budget, compared in by_budget.items()
    ]
    won = max(gain for _, gain in list(by_budget.values())[-1]) >= GAIN_GOAL
    verdict = (
        f"The physics loss lowers p50 by {100 * GAIN_GOAL:.0f} % or more" if won else "**The goal is not reached**"
    )
    words.append(f"{verdict} (goal: {100 * GAIN_GOAL:.0f} %{' at equal time' if 'time' in by_budget else ''}).")
    words += [] if won else [_reason(few, evidence)]
    words += ["One seed cannot show the scatter of training."] if len({row.seed for row in few}) == 1 else []
    return " ".join(words)


def _reason(rows: Sequence[AblationRow], evidence: str) -> str:
    """The reason why a physics loss does not help, as far as the table shows it."""
    reference = float(np.mean([row.r50 for row in rows if row.loss == "none"]))
    if rows[0].truth == "paths" and reference < 1:
        return (
            f"The reason in this table: with labels alone the median is already {reference:.2f} of that of the grid "
            "posterior on the true map, so that a loss whose optimum is the map's posterior cannot improve it. Labels "
            "may teach how ray-traced phones differ from their pixel; this table does not test that."
        )
    return "A likely reason, which this table does not test: " + LIKELY_REASONS[evidence]


def _compared(folder: Path, rows: Sequence[AblationRow]) -> list[tuple[str, float]]:
    """The best physics loss against none, for each number of labels: a sentence, and the fraction by which p50 is
    lower."""
    compared = []
    for labels in sorted({row.labels for row in rows}):
        variants = group_variants(row for row in rows if row.labels == labels)
        without_physics = next((group for group in variants if group.loss == "none"), None)
        others = [group for group in variants if group.loss != "none"]
        if without_physics and (others := _with_all_seeds(others, without_physics)):
            best = min(others, key=lambda group: group.p50)
            gain, low, high = _median_reduction(folder, without_physics, best)
            sentence = (
                f"with {labels} labels the best is {variant_label(best.name)}: {best.p50:.1f} m against "
                f"{without_physics.p50:.1f} m without ({-100 * gain:+.0f} %, from {-100 * high:+.0f} to "
                f"{-100 * low:+.0f}; {_mean(best.rows, 'steps')} steps against {_mean(without_physics.rows, 'steps')})"
            )
            compared.append((sentence, gain))
    return compared


def _with_all_seeds(others: Sequence[VariantGroup], group: VariantGroup) -> list[VariantGroup]:
    """Variants trained with every seed of `group`: means over other seeds are not comparable."""
    seeds = {row.seed for row in group.rows}
    return [other for other in others if seeds <= {row.seed for row in other.rows}]


def _median_reduction(folder: Path, without_physics: VariantGroup, best: VariantGroup) -> tuple[float, float, float]:
    """The fraction by which p50 is lower, all seeds together, and its bootstrap interval over seeds."""
    error_pairs = [
        torch.stack([_errors(folder, a), _errors(folder, b)], 1)
        for a, b in zip(without_physics.rows, best.rows, strict=False)
        if a.seed == b.seed
    ]

    def reduction(e):
        return 1 - float(e[:, 1].quantile(0.5) / e[:, 0].quantile(0.5))

    if not error_pairs:
        return 1 - best.p50 / without_physics.p50, float("nan"), float("nan")
    return reduction(torch.cat(error_pairs)), *bootstrap(error_pairs, reduction)


def _errors(folder: Path, row: AblationRow) -> torch.Tensor:
    file = folder / "cells" / f"{row.cell}.npz"
    try:
        return torch.from_numpy(read_array_fields(file, ("error",))["error"])
    except (UelError, TypeError) as error:
        do = "repeat the ablation: uel ablate"
        raise UelError("a result of this ablation is missing or damaged", got=f"{file}: {error}", do=do) from error


def _tracing_gain(rows: Sequence[AblationRow]) -> list[str]:
    """The best loss with ray tracing against lookup on each map at equal steps, as a sentence."""
    comparisons = []
    for condition in dict.fromkeys(row.map for row in rows):
        selected = [row for row in rows if row.map == condition and row.budget == "steps"]
        variants = group_variants(row for row in selected if row.labels == rows[0].labels)
        lookup = next((g for g in variants if g.loss == "map" and "+" in g.features), None)
        lookup = lookup or next((g for g in variants if g.loss == "map"), None)
        traced = [g for g in variants if g.rt_fraction > 0]
        if lookup and (traced := _with_all_seeds(traced, lookup)):
            best = min(traced, key=lambda g: g.p50)
            name = condition_label(condition)
            comparisons.append(f"{name}: {variant_label(best.name)} {best.p50:.1f} m, lookup {lookup.p50:.1f} m")
    return (
        ["At equal steps, the best that traces against lookup: " + "; ".join(comparisons) + "."] if comparisons else []
    )


def _step_cost(rows: Sequence[AblationRow]) -> str:
    """A sentence on the CPU time of a step with a tenth of batches traced, over that of lookup."""
    variants = group_variants(row for row in rows if row.budget == "steps")
    lookup = [g for g in variants if g.loss == "map" and "+" in g.features] or [g for g in variants if g.loss == "map"]
    traced = [g for g in variants if g.loss == "map+rt" and g.rt_fraction == TRACED_FRACTION]
    if not lookup or not traced:
        return ""
    ratio = float(np.mean([g.step_s for g in traced]) / np.mean([g.step_s for g in lookup]))
    verdict = "within" if ratio <= MAX_STEP_COST else "**above**"
    return (
        f"A step with 10 % of batches traced costs {ratio:.2f} × one by lookup, {verdict} the goal of {MAX_STEP_COST}."
    )


# ---- table ---------------------------------------------------------------------------------------------


def _table(folder: Path, rows: Sequence[AblationRow]) -> str:
    """The Markdown table: a row for each variant, all seeds together."""
    header = ["evidence", "map", "labels", "equal", "loss", *TABLE_HEADER]
    lines = [f"| {' | '.join(header)} |", "|---|---|---:|---|---|" + "---:|" * len(TABLE_HEADER)]
    keys = product(*(dict.fromkeys(getattr(row, n) for row in rows) for n in ("evidence", "map", "labels", "budget")))
    for key in keys:
        selected = [row for row in rows if (row.evidence, row.map, row.labels, row.budget) == key]
        lines += [f"| {' | '.join([*map(str, key), *_cells(folder, group)])} |" for group in group_variants(selected)]
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
