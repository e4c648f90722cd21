"""What second thoughts about fixes gain and cost, in the report of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.figures.evaluation import label
from uel.results.evaluation import ConditionResult, position_errors

ENTROPY_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # nats of the heatmap's entropy
REFINEMENT_METHODS = ("locator_refined", "locator_ray_rescored")
TABLE_NOTE = (
    "*Closed* is the share of what separates the locator from the limit that a refinement closes (map truth; negative "
    "where it makes things worse). `re-scored by rays` answers for the first phones alone, and is compared with the "
    "locator on these. CPU is of one fix in all, the locator's own part in it. Under wrong_buildings and wrong_sites a "
    "ray tracer would have the same wrong buildings or masts as the map and could not correct it: it is not asked there."
)
TRIGGER_NOTE = "\n\nThe same with a trigger: only fixes whose heatmap has so much entropy are refined on the map.\n\n"


def refinement_tables(cells: Sequence[ConditionResult], notes: Mapping[str, Any]) -> str:
    """Two tables in Markdown: gain and cost of each kind of refinement, and what a trigger on entropy would leave."""
    found = _plain(cells, notes)
    gains = [line for name, mine in found.items() for kind in REFINEMENT_METHODS for line in _gain(name, mine, kind)]
    if not gains:
        return "Not judged."
    levels = [line for name, mine in found.items() for line in _levels(name, mine)]
    header = ["condition", "method", "n", "p50", "of locator", "of limit", "closed", "p95", "of locator", "closed",
              "NLL", "of locator", "closed", "CPU ms"]  # fmt: skip
    trigger = ["condition", "entropy from", "refined", "p50", "p95", "mean", "NLL", "CPU ms"]
    return TABLE_NOTE + "\n\n" + _table(header, gains) + TRIGGER_NOTE + _table(trigger, levels)


def _plain(cells: Sequence[ConditionResult], notes: Mapping[str, Any]) -> dict[str, list[ConditionResult]]:
    """Cells of single reports whose truth, tier and map alone differ from the base, by name."""
    found: dict[str, list[ConditionResult]] = {}
    for cell in cells:
        said = cell.condition
        told = {"truth": said.truth, "tier": said.tier, "map": said.map}
        if vars(said) == {**notes["base"], **told} and "locator_refined" in cell.methods:
            found.setdefault(f"{said.truth} {said.tier} {said.map}", []).append(cell)
    return found


def _gain(name: str, cells: Sequence[ConditionResult], kind: str) -> list[list[str]]:
    """A line of the first table, if that refinement was judged."""
    mine = [cell for cell in cells if kind in cell.methods]
    if not mine:
        return []
    same = lambda cell, method: position_errors(cell, method).numpy()[: _count(cell, kind)]  # noqa: E731
    errors = {method: _joined([same(cell, method) for cell in mine]) for method in ("locator", kind, "limit")}
    exact = mine[0].condition.truth == "map"
    line = [name, label(kind), str(len(errors[kind]))]
    for percentile in (50, 95):
        ours, plain, limit = (float(np.percentile(errors[m], percentile)) for m in (kind, "locator", "limit"))
        line += [_number(ours), _number(plain), *([_number(limit)] if percentile == 50 else []),
                 _closed(ours, plain, limit, exact)]  # fmt: skip
    return [[*line, *_nll(mine, kind, exact), _number(_cpu(mine, kind))]]


def _nll(cells: Sequence[ConditionResult], kind: str, exact: bool) -> list[str]:
    """Mean negative log-density in nats, the locator's, and what is closed."""
    if any("nll" not in cell.methods[kind] for cell in cells):
        return ["–"] * 3
    ours, plain, limit = (
        float(np.mean(_joined([c.methods[m]["nll"][: _count(c, kind)] for c in cells]).astype(np.float64)))
        for m in (kind, "locator", "limit")
    )
    return [f"{ours:.2f}", f"{plain:.2f}", _closed(ours, plain, limit, exact)]


def _levels(name: str, cells: Sequence[ConditionResult]) -> list[list[str]]:
    """Lines of the second table: what each trigger leaves of errors and time."""
    get = lambda method, key: _joined([cell.methods[method][key] for cell in cells])  # noqa: E731
    entropy = get("locator", "entropy")
    error = {m: _joined([position_errors(cell, m).numpy() for cell in cells]) for m in ("locator", "locator_refined")}
    lines = []
    for level in (*ENTROPY_LEVELS, np.inf):
        asked = entropy >= level
        both = np.where(asked, error["locator_refined"], error["locator"])
        nll = np.where(asked, get("locator_refined", "nll"), get("locator", "nll")).astype(np.float64)
        plain, cpu = _cpu(cells, "locator"), _cpu(cells, "locator_refined")
        cost = plain + float(asked.mean()) * (cpu - plain)
        words = "never" if np.isinf(level) else f"{level:g} nat"
        stats = (float(np.percentile(both, 50)), float(np.percentile(both, 95)), float(both.mean()))
        share = f"{100 * asked.mean():.0f} %"
        lines.append([name, words, share, *map(_number, stats), f"{nll.mean():.2f}", _number(cost)])
    return lines


def _closed(ours: float, plain: float, limit: float, exact: bool) -> str:
    """Where they are apart at all: a gap of less than a hundredth of the limit is noise."""
    if not exact or plain - limit < 0.01 * abs(limit):
        return "–"
    return f"{100 * (plain - ours) / (plain - limit):+.0f} %"


def _count(cell: ConditionResult, method: str) -> int:
    return len(cell.methods[method]["estimate"])


def _cpu(cells: Sequence[ConditionResult], method: str) -> float:
    return float(np.median([cell.methods[method]["cpu_ms"] for cell in cells]))


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|---|" + "---:|" * (len(header) - 2)
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
