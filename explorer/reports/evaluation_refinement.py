"""Gain and cost of refinement, in the report of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.style import condition_label, method_label, tier_label
from uel.results.evaluation import ConditionResult, position_errors

ENTROPY_THRESHOLDS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # nats of the heatmap's entropy
REFINEMENT_METHODS = ("locator_refined", "locator_ray_rescored")
TABLE_NOTE = (
    "*Closed* is the fraction of the gap between locator and limit that a refinement closes (map truth; negative "
    "where it increases the error). Re-scoring by ray tracing is run on the first phones only, and is compared with "
    "the locator on the same phones. CPU is the time of one fix, the locator's part included. With wrong buildings or "
    "wrong sites a ray tracer would have the same errors as the map and could not correct it: it is not run there."
)
THRESHOLD_NOTE = (
    "\n\nThe same with a threshold: only fixes whose heatmap has at least this entropy are refined on the map.\n\n"
)


def refinement_tables(results: Sequence[ConditionResult], protocol: Mapping[str, Any]) -> str:
    """Two Markdown tables: gain and cost of each refinement method, and both by entropy threshold."""
    by_name = _base_conditions(results, protocol)
    gains = [
        row for name, some in by_name.items() for method in REFINEMENT_METHODS for row in _gain_rows(name, some, method)
    ]
    if not gains:
        return "Not evaluated."
    thresholds = [row for name, some in by_name.items() for row in _threshold_rows(name, some)]
    gain_header = ["condition", "method", "n", "p50", "of locator", "of limit", "closed", "p95", "of locator", "closed",
                   "NLL", "of locator", "closed", "CPU ms"]  # fmt: skip
    threshold_header = ["condition", "entropy at least", "refined", "p50", "p95", "mean", "NLL", "CPU ms"]
    return TABLE_NOTE + "\n\n" + _table(gain_header, gains) + THRESHOLD_NOTE + _table(threshold_header, thresholds)


def _base_conditions(
    results: Sequence[ConditionResult], protocol: Mapping[str, Any]
) -> dict[str, list[ConditionResult]]:
    """Results of single reports that differ from the base in truth, tier and map only, by name."""
    by_name: dict[str, list[ConditionResult]] = {}
    for result in results:
        condition = result.condition
        varied = {"truth": condition.truth, "tier": condition.tier, "map": condition.map}
        if vars(condition) == {**protocol["base"], **varied} and "locator_refined" in result.methods:
            by_name.setdefault(
                f"{condition.truth}, {tier_label(condition.tier)}, {condition_label(condition.map)}", []
            ).append(result)
    return by_name


def _gain_rows(name: str, results: Sequence[ConditionResult], method: str) -> list[list[str]]:
    """A row of the first table; none where that refinement was not evaluated."""
    evaluated = [result for result in results if method in result.methods]
    if not evaluated:
        return []
    errors = {
        m: _concatenate([position_errors(result, m).numpy()[: _count(result, method)] for result in evaluated])
        for m in ("locator", method, "limit")
    }
    exact = evaluated[0].condition.truth == "map"
    row = [name, method_label(method), str(len(errors[method]))]
    for percentile in (50, 95):
        refined, locator, limit = (float(np.percentile(errors[m], percentile)) for m in (method, "locator", "limit"))
        row += [_number(refined), _number(locator), *([_number(limit)] if percentile == 50 else []),
                _closed(refined, locator, limit, exact)]  # fmt: skip
    return [[*row, *_nll(evaluated, method, exact), _number(_cpu(evaluated, method))]]


def _nll(results: Sequence[ConditionResult], method: str, exact: bool) -> list[str]:
    """Mean negative log-density in nats, the locator's, and the closed fraction of the gap."""
    if any("nll" not in result.methods[method] for result in results):
        return ["–"] * 3
    refined, locator, limit = (
        float(np.mean(_concatenate([c.methods[m]["nll"][: _count(c, method)] for c in results]).astype(np.float64)))
        for m in (method, "locator", "limit")
    )
    return [f"{refined:.2f}", f"{locator:.2f}", _closed(refined, locator, limit, exact)]


def _threshold_rows(name: str, results: Sequence[ConditionResult]) -> list[list[str]]:
    """Rows of the second table: errors and CPU time at each entropy threshold."""

    def get(method, key):
        return _concatenate([result.methods[method][key] for result in results])

    entropy = get("locator", "entropy")
    errors_by_method = {
        m: _concatenate([position_errors(result, m).numpy() for result in results])
        for m in ("locator", "locator_refined")
    }
    lines = []
    for threshold in (*ENTROPY_THRESHOLDS, np.inf):
        refined = entropy >= threshold
        errors = np.where(refined, errors_by_method["locator_refined"], errors_by_method["locator"])
        nll = np.where(refined, get("locator_refined", "nll"), get("locator", "nll")).astype(np.float64)
        locator_cpu, refined_cpu = _cpu(results, "locator"), _cpu(results, "locator_refined")
        cost = locator_cpu + float(refined.mean()) * (refined_cpu - locator_cpu)
        words = "never" if np.isinf(threshold) else f"{threshold:g} nat"
        stats = (float(np.percentile(errors, 50)), float(np.percentile(errors, 95)), float(errors.mean()))
        fraction = f"{100 * refined.mean():.0f} %"
        lines.append([name, words, fraction, *map(_number, stats), f"{nll.mean():.2f}", _number(cost)])
    return lines


def _closed(refined: float, locator: float, limit: float, exact: bool) -> str:
    """Closed fraction of the gap to the limit; "–" where the gap is below a hundredth of the limit, which is noise."""
    if not exact or locator - limit < 0.01 * abs(limit):
        return "–"
    return f"{100 * (locator - refined) / (locator - limit):+.0f} %"


def _count(result: ConditionResult, method: str) -> int:
    return len(result.methods[method]["estimate"])


def _cpu(results: Sequence[ConditionResult], method: str) -> float:
    return float(np.median([result.methods[method]["cpu_ms"] for result in results]))


def _concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|---|" + "---:|" * (len(header) - 2)
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
