"""Figures of an ablation: error by labels and by map condition, gain over CPU time, cost of a step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explorer.style import condition_label
from uel.plots.axes import new_figure
from uel.results.ablation import AblationRow

# Okabe and Ito's palette: no physics black, lookup blue, ray tracing in warm colours.
LOSS_COLOURS = {"none": "#000000", "map": "#0072B2", "rt": "#D55E00", "map+rt": "#E69F00", "hybrid": "#009E73"}
LOSS_MARKERS = {"none": "o", "map": "s", "rt": "^", "map+rt": "D", "hybrid": "v"}
LEGEND_ENTRY_INCHES, LEGEND_LINE_INCHES = 2.1, 0.17  # width of a legend's entry and height of its line
LOSS_LABELS = {
    "none": "no physics",
    "map": "map",
    "rt": "ray tracing",
    "map+rt": "map + ray tracing",
    "hybrid": "hybrid",
}


@dataclass(frozen=True)
class VariantGroup:
    """Trainings that differ in their seeds only."""

    loss: str
    features: str
    rt_fraction: float
    rows: tuple[AblationRow, ...]

    @property
    def name(self) -> tuple[str, str, float]:
        return self.loss, self.features, self.rt_fraction

    @property
    def p50(self) -> float:
        """m, mean over seeds."""
        return float(np.mean([row.p50_m for row in self.rows]))

    @property
    def step_s(self) -> float:
        """CPU seconds of a step, median over seeds."""
        return float(np.median([row.train_cpu_s / row.steps for row in self.rows]))


def group_variants(rows: Iterable[AblationRow]) -> list[VariantGroup]:
    """Rows grouped by loss, features and traced fraction, in the order of the table."""
    rows_by_name: dict[tuple[str, str, float], list[AblationRow]] = {}
    for row in rows:
        rows_by_name.setdefault((row.loss, row.features, row.rt_fraction), []).append(row)
    return [
        VariantGroup(*name, tuple(sorted(members, key=lambda row: row.seed))) for name, members in rows_by_name.items()
    ]


def variant_label(name: tuple[str, str, float]) -> str:
    """The name of a loss for readers: "map + ray tracing 10 %", "map, ta alone"."""
    loss, features, fraction = name
    percent = f" {100 * fraction:g} %" if fraction else ""
    only = f", {features} alone" if features and "+" not in features else ""
    return LOSS_LABELS.get(loss, loss) + percent + only


def _panels(rows: Sequence[AblationRow], title: str) -> tuple[Figure, list[tuple[str, Axes]]]:
    """A figure with a panel for each kind of evidence."""
    evidence_kinds = list(dict.fromkeys(row.evidence for row in rows))
    figure = new_figure(max(5.0 * len(evidence_kinds) + 0.4, 6.4), 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(evidence_kinds)))  # type: ignore[call-overload]
    for evidence, ax in zip(evidence_kinds, axes, strict=True):
        ax.set_title(f"evidence: {evidence}", fontsize=10)
        ax.grid(alpha=0.3, linewidth=0.5)
    figure.suptitle(title, fontsize=11)
    return figure, list(zip(evidence_kinds, axes, strict=True))


def _legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Draw one legend for all panels."""
    handles = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    if handles:
        columns = int(figure.get_figwidth() / LEGEND_ENTRY_INCHES)
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE_INCHES * -(-len(handles) // columns))
        layout = {"loc": "outside lower center", "ncols": columns, "fontsize": 8, "frameon": False}
        figure.legend(list(handles.values()), list(handles), **layout)


def _budget(rows: Sequence[AblationRow]) -> str:
    return "time" if any(row.budget == "time" for row in rows) else "steps"


def _without_partial_variants(rows: Iterable[AblationRow], fraction: float) -> list[AblationRow]:
    """Rows of all features and of the base fraction."""
    kept = [row for row in rows if row.rt_fraction in (0.0, fraction)]
    return [row for row in kept if "+" in row.features or row.loss == "none" or _only_feature(kept, row)]


def _only_feature(rows: Sequence[AblationRow], row: AblationRow) -> bool:
    return not any("+" in other.features for other in rows if other.loss == row.loss)


def base_fraction(rows: Sequence[AblationRow]) -> float:
    """The fraction of traced batches that most trainings have; 0 where none traces."""
    traced = [row.rt_fraction for row in rows if row.rt_fraction > 0]
    return max(dict.fromkeys(traced), key=traced.count) if traced else 0.0


def labels_figure(rows: Sequence[AblationRow]) -> Figure:
    """Median error by number of labels, a line for each loss, on the base map."""
    budget = _budget(rows)
    figure, panels = _panels(rows, f"Median error by labels, {condition_label(rows[0].map)}, equal {budget}")
    for evidence, ax in panels:
        selected = [r for r in rows if r.evidence == evidence and r.map == rows[0].map and r.budget == budget]
        for group in group_variants(_without_partial_variants(selected, base_fraction(rows))):
            counts = sorted({row.labels for row in group.rows})
            values = [[row.p50_m for row in group.rows if row.labels == count] for count in counts]
            mean = np.array([np.mean(v) for v in values])
            interval = np.array([[m - min(v), max(v) - m] for m, v in zip(mean, values, strict=True)]).T
            ax.errorbar(
                counts, mean, yerr=interval, color=LOSS_COLOURS.get(group.loss), marker=LOSS_MARKERS.get(group.loss),
                markersize=5, linewidth=1.4, capsize=2, label=variant_label(group.name),
            )  # fmt: skip
        ax.set(xscale="log", xlabel="labelled phones", ylabel="p50 in m (bars: range over seeds)")
        counts = sorted({row.labels for row in rows})
        ax.set_xticks(counts, [str(count) for count in counts])
        ax.minorticks_off()
    _legend(figure, (ax for _, ax in panels))
    return figure


def conditions_figure(rows: Sequence[AblationRow]) -> Figure:
    """Median error by map condition, a bar for each loss."""
    budget, labels = _budget(rows), rows[0].labels
    figure, panels = _panels(rows, f"Median error by map condition, {labels} labels, equal {budget}")
    names = list(dict.fromkeys(row.map for row in rows))
    for evidence, ax in panels:
        selected = [r for r in rows if r.evidence == evidence and r.labels == labels and r.budget == budget]
        variants = group_variants(_without_partial_variants(selected, base_fraction(rows)))
        for number, group in enumerate(variants):
            width = 0.8 / len(variants)
            values_by_position = [
                (index, [r.p50_m for r in group.rows if r.map == name]) for index, name in enumerate(names)
            ]
            bars = [
                (index + width * (number - (len(variants) - 1) / 2), float(np.mean(v)))
                for index, v in values_by_position
                if v
            ]
            ax.bar(
                [x for x, _ in bars], [y for _, y in bars], width, color=LOSS_COLOURS.get(group.loss),
                label=variant_label(group.name),
            )  # fmt: skip
        ax.set(xticks=range(len(names)), xticklabels=list(map(condition_label, names)), ylabel="p50 in m")
    _legend(figure, (ax for _, ax in panels))
    return figure


def gain_figure(rows: Sequence[AblationRow]) -> Figure:
    """Median error over CPU seconds of training, a dot for each training in the base condition."""
    figure, panels = _panels(rows, f"Error over CPU time, {condition_label(rows[0].map)}, {rows[0].labels} labels")
    for evidence, ax in panels:
        selected = [r for r in rows if (r.evidence, r.map, r.labels) == (evidence, rows[0].map, rows[0].labels)]
        for group in group_variants(selected):
            for budget, face in (("steps", LOSS_COLOURS.get(group.loss)), ("time", "none")):
                members = [row for row in group.rows if row.budget == budget]
                ax.scatter(
                    [row.train_cpu_s for row in members], [row.p50_m for row in members],
                    s=22 + 160 * group.rt_fraction, marker=LOSS_MARKERS.get(group.loss), facecolor=face,
                    edgecolor=LOSS_COLOURS.get(group.loss), alpha=0.85,
                    label=variant_label(group.name) if budget == "steps" else None,
                )  # fmt: skip
        ax.set(xlabel="CPU s of training (filled: equal steps, open: equal time)", ylabel="p50 in m")
    _legend(figure, (ax for _, ax in panels))
    return figure


def cost_figure(rows: Sequence[AblationRow]) -> Figure:
    """CPU time of a step by loss, with the ray tracer's part."""
    figure, panels = _panels(rows, "CPU time of a step")
    for evidence, ax in panels:
        variants = group_variants(
            r for r in rows if r.evidence == evidence and r.budget == "steps" and r.map == rows[0].map
        )
        traced = [1000 * float(np.median([row.rt_cpu_s / row.steps for row in group.rows])) for group in variants]
        rest = [1000 * group.step_s - rt for group, rt in zip(variants, traced, strict=True)]
        y = range(len(variants))
        ax.barh(y, rest, color="#999999", label="network, map")
        ax.barh(y, traced, left=rest, color="#D55E00", label="ray tracer")
        ax.set(yticks=y, yticklabels=[variant_label(group.name) for group in variants], xlabel="CPU ms per step")
        ax.tick_params(axis="y", labelsize=8)
        ax.invert_yaxis()
    _legend(figure, (ax for _, ax in panels))
    return figure
