"""Methods and runs side by side: statistics of position errors, their differences, and the intervals of both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explorer.style import run_method_label
from uel.estimation.scoring import bootstrap
from uel.results.run_summary import MethodErrors

Statistic = Callable[[Tensor], float]
ErrorsByMethod = Mapping[tuple[str, str], MethodErrors]
"""by (run, method)"""
PERCENTILE_LABELS = {50: "half of the fixes", 67: "two of three", 95: "19 of 20"}
STATISTIC_LABELS = {
    "p50": "median (p50)", "p67": "67th percentile (p67)", "p95": "95th percentile (p95)", "mean": "mean error",
    "within": "fraction within the radius",
}  # fmt: skip
LOCATOR_METHOD, YARDSTICK_METHOD = "locator", "grid_bayes"


@dataclass(frozen=True)
class IntervalEstimate:
    """A number and the ends of its 90 % interval, which are None where phones of one block alone say it."""

    value: float
    low: float | None
    high: float | None

    def text(self, form: Callable[[float], str], sign: bool = False) -> str:
        """The number and its interval for readers, `1.2 [0.8, 1.9]`."""
        number = f"{'+' if sign and self.value > 0 else ''}{form(self.value)}"
        ends = "" if self.low is None or self.high is None else f" [{form(self.low)}, {form(self.high)}]"
        return (number + ends).replace("-", "−")


def statistic_of(name: str, radius: float) -> Statistic:
    """The function of errors (n) in m behind a key of `STATISTIC_LABELS`; `radius` is of "within", in m."""
    if name == "mean":
        return lambda error: float(error.mean())
    if name == "within":
        return lambda error: float((error <= radius).double().mean())
    return lambda error: float(error.quantile(int(name.removeprefix("p")) / 100))


def estimated(errors: MethodErrors, statistic: Statistic) -> IntervalEstimate:
    """A statistic of a method's errors with its interval."""
    return _with_interval(errors, errors.error, statistic)


def difference(errors: MethodErrors, other: MethodErrors, statistic: Statistic) -> IntervalEstimate | None:
    """A statistic minus that of another method, both of the same phones, which are drawn together; None where the
    phones are others, and so nothing can be compared.
    """
    if errors.position.shape != other.position.shape or not torch.equal(errors.position, other.position):
        return None
    pairs = torch.stack([errors.error, other.error], 1)
    return _with_interval(errors, pairs, lambda pair: statistic(pair[:, 0]) - statistic(pair[:, 1]))


def _with_interval(errors: MethodErrors, values: Tensor, statistic: Callable[[Tensor], float]) -> IntervalEstimate:
    parts = errors.parts(values)
    low, high = bootstrap(parts, statistic) if len(parts) > 1 else (None, None)
    return IntervalEstimate(statistic(values), low, high)


def percentile_rows(errors: ErrorsByMethod, truth: str, radius: float) -> list[dict[str, Any]]:
    """All statistics in m by run and method, with the fraction of fixes within `radius` m, for a table of a file."""
    rows = []
    for (run, method), of_method in errors.items():
        row: dict[str, Any] = {"run": run, "method": run_method_label(method, truth), "n": len(of_method.error)}
        for name in STATISTIC_LABELS:
            title = f"within {radius:g} m" if name == "within" else f"{name} m"
            found = estimated(of_method, statistic_of(name, radius))
            row |= {title: found.value, f"{title}, low": found.low, f"{title}, high": found.high}
        rows.append(row)
    return rows


def pivot_rows(errors: ErrorsByMethod, truth: str, name: str, radius: float) -> list[dict[str, str]]:
    """A row for each method and two columns for each run: a statistic, and its difference with its interval.

    The best method is on top. Methods of the first run are compared with its locator, those of other runs with the same
    method of the first.
    """
    statistic, form = statistic_of(name, radius), number_form(name)
    difference_form = _points if name == "within" else form
    runs = list(dict.fromkeys(run for run, _ in errors))
    rows = []
    for method in _best_first(errors, statistic, name == "within"):
        row = {"method": run_method_label(method, truth)}
        for run in runs:
            of_method = errors.get((run, method))
            base = errors.get((runs[0], LOCATOR_METHOD if run == runs[0] else method))
            against = "the locator" if run == runs[0] else runs[0]
            row[run if len(runs) > 1 else STATISTIC_LABELS[name]] = (
                "–" if of_method is None else form(statistic(of_method.error))
            )
            row[f"{run} against {against}" if len(runs) > 1 else f"against {against} [interval]"] = (
                "–" if of_method is base else _difference_text(of_method, base, statistic, difference_form)
            )
        rows.append(row)
    return rows


def _best_first(errors: ErrorsByMethod, statistic: Statistic, is_more_better: bool) -> list[str]:
    """Methods by a statistic of the first run that has them."""
    values: dict[str, float] = {}
    for (_, method), of_method in errors.items():
        values.setdefault(method, statistic(of_method.error))
    return sorted(values, key=lambda method: values[method], reverse=is_more_better)


def _difference_text(
    errors: MethodErrors | None, base: MethodErrors | None, statistic: Statistic, form: Callable[[float], str]
) -> str:
    if errors is None or base is None:
        return "–"
    found = difference(errors, base, statistic)
    return "other phones" if found is None else found.text(form, sign=True)


def _points(value: float) -> str:
    return f"{round(100 * value) + 0:d} points"


def number_form(name: str) -> Callable[[float], str]:
    """How numbers of a statistic are written."""
    return (lambda value: f"{value:.0%}") if name == "within" else (lambda value: f"{round(value, 1) + 0.0:.1f} m")


def locator_cards(errors: ErrorsByMethod, run: str, truth: str, radius: float) -> dict[str, tuple[str, str]]:
    """Cards of a run's locator as {name: (value, note)}: percentiles, and beside each that of grid Bayes."""
    locator, yardstick = errors.get((run, LOCATOR_METHOD)), errors.get((run, YARDSTICK_METHOD))
    if locator is None:
        return {}
    word = "limit" if truth == "map" else "reference"
    cards = {}
    for percent, label in PERCENTILE_LABELS.items():
        statistic, form = statistic_of(f"p{percent}", radius), number_form("p")
        beside = "" if yardstick is None else f"{word} {form(statistic(yardstick.error))}"
        cards[f"{label} (p{percent})"] = (f"≤ {form(statistic(locator.error))}", beside)
    within, form = statistic_of("within", radius), number_form("within")
    beside = "" if yardstick is None else f"{word} {form(within(yardstick.error))}"
    cards[f"within {radius:g} m"] = (estimated(locator, within).text(form).partition(" [")[0], beside)
    return cards
