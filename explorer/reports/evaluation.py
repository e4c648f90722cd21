"""The report of an evaluation: `table.md` beside `table.csv`, with accuracy targets, goals and figures."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.figures import evaluation as figures
from explorer.figures.evaluation import TableRows, condition_name
from explorer.reports.evaluation_refinement import refinement_tables
from explorer.style import condition_label, method_label, tier_label
from uel.errors import UelError
from uel.results.evaluation import ConditionResult, read_result

TableRow = Mapping[str, str]
REPEAT_COMMAND = "repeat the evaluation: uel eval RUN --protocol NAME"
BELOW_LIMIT = "below the physical limit"
# Accuracy targets of EVALUATION.md: (text, statistic, upper limit in m or as a fraction).
ACCURACY_TARGETS = (
    ("against cell ID: 50th percentile < 50 m", "p50_m", 50.0),
    ("against cell ID: 95th percentile < 150 m", "p95_m", 150.0),
    ("against kNN: 50th percentile < 20 m", "p50_m", 20.0),
    ("against kNN: 95th percentile < 80 m", "p95_m", 80.0),
    ("absolute: 50th percentile < 15 m", "p50_m", 15.0),
    ("absolute: 67th percentile < 30 m", "p67_m", 30.0),
    ("absolute: 95th percentile < 100 m", "p95_m", 100.0),
    ("outliers: errors over 500 m < 5 %", "over_500", 0.05),
)
LOCATOR_METHODS = ("locator", "locator_refined", "locator_retraced")
METHODS_WITH_GAIN_GOAL = (
    *LOCATOR_METHODS,
    "grid_bayes_corrected",
    "grid_bayes_retraced",
)  # against robust grid Bayes on the map before correction
PROTOCOL_GOALS = "r50 ≤ 1.05, r95 ≤ 1.10, excess ≤ 0.05 nat, 90 % region covers 88 to 92 %"
TARGET_TIERS = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
TABLE_COLUMNS = ("p50_m", "p67_m", "p95_m", "mean_m", "r50", "r95", "excess_nll", "cover50", "cover90", "cpu_ms")


def write_evaluation_report(folder: Path) -> Path:
    """Write `table.md` and `figures/*.png` into an evaluation's folder; returns the path of `table.md`.

    Raises `UelError` where a file of the evaluation is missing or damaged.
    """
    folder = Path(folder)
    rows, protocol = read_table(folder), read_protocol(folder)
    results = [read_result(folder / "cells" / name) for name in protocol["cells"]]
    drawn = _figures(rows, results, protocol)
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / "figures" / f"{name}.png")
    path = folder / "table.md"
    path.write_text(markdown(rows, results, protocol, list(drawn)), encoding="utf-8")
    return path


def read_table(folder: Path) -> list[dict[str, str]]:
    file = folder / "table.csv"
    if not file.is_file():
        raise UelError("this evaluation has no table.csv", got=str(folder), do=REPEAT_COMMAND)
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_protocol(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "protocol.json").read_text())
    except (OSError, ValueError) as error:
        raise UelError(
            "protocol.json of this evaluation is missing or damaged", got=f"{folder}: {error}", do=REPEAT_COMMAND
        ) from error


# ---- rows ----------------------------------------------------------------------------------------------


def base_rows(rows: TableRows, protocol: Mapping[str, Any], **changes: object) -> dict[str, TableRow]:
    """Rows of the base condition with some fields changed, by method; empty where it was not evaluated."""
    wanted = {**protocol["base"], "track": "single", "carrier": f"{protocol['base']['carrier']:g}", **changes}
    fits = lambda row: all(row[name] == str(value) for name, value in wanted.items())  # noqa: E731
    return {row["method"]: row for row in rows if fits(row)}


def verdict(ours: float, limit: float, goal: float) -> str:
    """Whether an error meets its goal: "pass", "fail", or `BELOW_LIMIT` where the limit misses the goal, too."""
    if ours < goal:
        return "pass"
    return "fail" if limit < goal else BELOW_LIMIT


# ---- text ----------------------------------------------------------------------------------------------


def markdown(
    rows: TableRows, results: Sequence[ConditionResult], protocol: Mapping[str, Any], drawn: Sequence[str]
) -> str:
    """The report as Markdown."""
    show = lambda name, caption: [f"![{caption}](figures/{name}.png)"] if name in drawn else []  # noqa: E731
    parts = [
        f"# Evaluation `{protocol['name']}` of `{protocol['run']}`",
        _introduction(rows, protocol),
        "## Accuracy targets\n\n" + target_table(rows, protocol),
        "## Goals of the protocol\n\n" + goal_table(rows, protocol),
        "## Base condition",
        *(
            _methods(rows, protocol, truth, tier)
            for truth in ("map", "paths")
            for tier in _tiers(rows, protocol, truth)
        ),
        *show("cdf", "distribution of errors"),
        *show("calibration", "calibration"),
        "## By condition\n\nMedian error in m; in brackets the growth against the base condition.\n\n"
        + condition_table(rows, protocol),
        *show("ratios", "r50 by condition"),
        "## Refinement\n\n" + refinement_tables(results, protocol),
        "## Tracks\n\n" + track_table(rows),
        "## Error map and worst fixes",
        *show("error_map", "errors on the map"),
        *show("worst", "the worst fixes"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(rows: TableRows, protocol: Mapping[str, Any]) -> str:
    deployments = max(int(row["deployments"]) for row in rows)
    return (
        f"Tiles {', '.join(protocol['tiles'])}; {deployments} deployments of sites in all, {protocol['phones']} phones "
        "each; intervals are bootstraps over deployments (90 %). *Map truth*: reports are drawn from the exact map, "
        "and no method can beat the mean error of **the limit** (the grid posterior under the true map and the true "
        "observation model, whatever map the methods are given); a method may still have a lower percentile. *Path "
        "truth*: reports are ray-traced at the true position, and the grid posterior on the map with its error bar is "
        "a reference. r50 and r95 are a method's median and 95th percentile over the limit's; excess is the negative "
        "log-density at the true position above the limit's, in nats. Every method gets the same reports, the same "
        f"map and {protocol['fingerprints']} labelled reports: kNN searches them, each tunable number is chosen among "
        "at most eight values on them, and map corrections are fitted to them. Locators were trained on other tiles. "
        "All methods know the rules of reporting (tier, K, dropout); none knows the standard deviation of the fading, "
        "whose nominal value is 8 dB."
    )


def _tiers(rows: TableRows, protocol: Mapping[str, Any], truth: str) -> list[str]:
    seen = dict.fromkeys(row["tier"] for row in rows if row["truth"] == truth)
    return [tier for tier in seen if base_rows(rows, protocol, truth=truth, tier=tier)]


def _methods(rows: TableRows, protocol: Mapping[str, Any], truth: str, tier: str) -> str:
    by_method = base_rows(rows, protocol, truth=truth, tier=tier)
    lines = [
        [method_label(method), _interval(row), *(_number(row[column]) for column in TABLE_COLUMNS[1:])]
        for method, row in by_method.items()
    ]
    header = ["method", *(column.removesuffix("_m") for column in TABLE_COLUMNS)]
    return f"### {tier_label(tier)}, {truth} truth\n\n" + _markdown(header, lines)


def _interval(row: TableRow) -> str:
    return f"{_number(row['p50_m'])} ({_number(row['p50_low_m'])} to {_number(row['p50_high_m'])})"


def target_table(rows: TableRows, protocol: Mapping[str, Any]) -> str:
    """Accuracy targets by tier on map truth, for the refined locator where it was evaluated, as a Markdown table."""
    tiers = [tier for tier in TARGET_TIERS if base_rows(rows, protocol, truth="map", tier=tier)]
    lines = [
        [what, *(_target(rows, protocol, tier, name, goal) for tier in tiers)] for what, name, goal in ACCURACY_TARGETS
    ]
    lines.append(["unseen cities: < 20 % worse than seen ones", *("not evaluated by this protocol" for _ in tiers)])
    lines.append(
        ["3 cells reported: < 30 % worse than 8", *(_growth(rows, protocol, t, 0.30, {"k": "3"}) for t in tiers)]
    )
    lines.append(["1 report of a track: < 50 % worse than 20", *(_one_report(rows, tier) for tier in tiers)])
    return _markdown(["target", *map(tier_label, tiers)], lines)


def _target(rows: TableRows, protocol: Mapping[str, Any], tier: str, name: str, goal: float) -> str:
    by_method = base_rows(rows, protocol, truth="map", tier=tier)
    error, limit = (float(by_method[method][name]) for method in (final_method(by_method), "limit"))
    unit = (lambda v: f"{100 * v:.1f} %") if name.startswith("over") else (lambda v: f"{v:.1f} m")
    return f"**{verdict(error, limit, goal)}**: {unit(error)}, limit {unit(limit)}"


def _growth(rows: TableRows, protocol: Mapping[str, Any], tier: str, goal: float, changes: Mapping[str, object]) -> str:
    base = base_rows(rows, protocol, truth="map", tier=tier)
    other = base_rows(rows, protocol, truth="map", tier=tier, **changes)
    if not other:
        return "not evaluated"
    method = final_method(base)
    return _compared(_ratio(other[method], base[method]), _ratio(other["limit"], base["limit"]), goal)


def final_method(by_method: Mapping[str, TableRow]) -> str:
    """The method that users get: the refined locator where it was evaluated, else the locator."""
    return "locator_refined" if "locator_refined" in by_method else "locator"


def _one_report(rows: TableRows, tier: str) -> str:
    """Growth of the median error from the whole track to its last report, for the fastest phones."""
    wanted = {"truth": "map", "tier": tier, "map": "exact"}
    moving = [
        row
        for row in rows
        if row["track"] not in ("single", "0 m/s") and all(row[name] == value for name, value in wanted.items())
    ]
    if not moving:
        return "not evaluated"
    fastest = max(moving, key=lambda row: float(row["track"].split()[0]))["track"]
    by_method = {row["method"]: row for row in moving if row["track"] == fastest}
    growth, limit = (_ratio(by_method[f"{m}_last"], by_method[m]) for m in (final_method(by_method), "limit"))
    return _compared(growth, limit, 0.50)


def _ratio(worse: TableRow, base: TableRow) -> float:
    return float(worse["p50_m"]) / float(base["p50_m"]) - 1


def _compared(growth: float, limit: float, goal: float) -> str:
    return f"**{verdict(growth, limit, goal)}**: {100 * growth:+.0f} %, limit {100 * limit:+.0f} %"


def goal_table(rows: TableRows, protocol: Mapping[str, Any]) -> str:
    """Goals of EVALUATION.md as a Markdown table: near the limit on the exact map, better than robust grid Bayes on
    wrong maps; for the locator, and for its refined and retraced variants where they were evaluated.
    """
    lines = []
    for tier in TARGET_TIERS:
        by_method = base_rows(rows, protocol, truth="map", tier=tier)
        lines += [
            [f"{tier_label(tier)}, exact map, {method_label(m)}: {PROTOCOL_GOALS}", "; ".join(_checks(by_method[m]))]
            for m in LOCATOR_METHODS
            if m in by_method
        ]
    for condition in ("few_rays", "wrong_buildings", "wrong_sites"):
        for tier in TARGET_TIERS:
            by_method = base_rows(rows, protocol, truth="map", tier=tier, map=condition)
            text = f"{tier_label(tier)}, {condition_label(condition)}, {{}}: 20 % better than robust grid Bayes"
            lines += [
                [text.format(method_label(m)), _gain(by_method, m)] for m in METHODS_WITH_GAIN_GOAL if m in by_method
            ]
    return _markdown(["goal", "result"], lines)


def _checks(row: TableRow) -> list[str]:
    """Each of `PROTOCOL_GOALS` with its value and pass or fail."""
    values = {name: float(row[name]) for name in ("r50", "r95", "excess_nll", "cover90")}
    passed = (
        values["r50"] <= 1.05,
        values["r95"] <= 1.10,
        values["excess_nll"] <= 0.05,
        0.88 <= values["cover90"] <= 0.92,
    )
    return [f"{n} {_number(row[n])}: {'pass' if passes else 'fail'}" for n, passes in zip(values, passed, strict=True)]


def _gain(by_method: Mapping[str, TableRow], method: str) -> str:
    return "; ".join(f"{p} {_compared_with_robust(by_method, method, f'{p}_m')}" for p in ("p50", "p95"))


def _compared_with_robust(by_method: Mapping[str, TableRow], method: str, name: str) -> str:
    error, limit, robust = (float(by_method[m][name]) for m in (method, "limit", "grid_robust"))
    gain = lambda value: f"{100 * (value / robust - 1):+.0f} %"  # noqa: E731
    return f"**{verdict(error, limit, 0.8 * robust)}** {gain(error)}, limit {gain(limit)}"


def condition_table(rows: TableRows, protocol: Mapping[str, Any]) -> str:
    """Median errors of single reports by condition, with growth against the base, as a Markdown table."""
    evaluated = {row["method"] for row in rows if row["track"] == "single"}
    methods = [
        m for m in ("limit", *protocol["locators"], "locator_refined", "grid_robust", "knn_survey") if m in evaluated
    ]
    lines = []
    for truth in ("map", "paths"):
        selected = [row for row in rows if row["truth"] == truth and row["track"] == "single"]
        for name in dict.fromkeys(condition_name(row, protocol["base"]) for row in selected):
            by_method = {row["method"]: row for row in selected if condition_name(row, protocol["base"]) == name}
            base = base_rows(rows, protocol, truth=truth, tier=by_method["limit"]["tier"])
            lines.append([truth, name, *(_with_growth(by_method[m], base.get(m)) for m in methods)])
    return _markdown(["truth", "condition", *map(method_label, methods)], lines)


def _with_growth(row: TableRow, base: TableRow | None) -> str:
    value = _number(row["p50_m"])
    return value if base is None or base is row else f"{value} ({100 * _ratio(row, base):+.0f} %)"


def track_table(rows: TableRows) -> str:
    """Errors of whole tracks beside those of their last reports, as a Markdown table with a note."""
    selected = [row for row in rows if row["track"] != "single"]
    if not selected:
        return "Not evaluated."
    lines = []
    columns = ("truth", "tier", "map", "track")
    for key in dict.fromkeys(tuple(row[c] for c in columns) for row in selected):
        truth, tier, map_name, speed = key
        by_method = {row["method"]: row for row in selected if tuple(row[c] for c in columns) == key}
        for method in (m for m in by_method if f"{m}_last" in by_method or m == "particle_filter"):
            last = by_method.get(f"{method}_last", by_method["grid_robust_last"])
            condition = [truth, tier_label(tier), condition_label(map_name), speed]
            errors = [_number(by_method[method][c]) for c in ("p50_m", "p95_m", "r50", "r95")]
            lines.append([*condition, method_label(method), *errors, _number(last["p50_m"])])
    note = (
        "Fading is correlated along a track, so that its reports are not independent. The limit of a standing phone is "
        "exact. The limit of a moving phone is a particle filter that knows the map, the motion model and the fading "
        "model, and carries the fading of each particle: an approximation from above. All methods share one motion "
        "filter. Each combines the reports of a track in the way that does best on labelled tracks: the likelihood of "
        "each report to some exponent, or, for methods with a map, a likelihood with fading correlated along the way."
    )
    header = ["truth", "tier", "map", "speed", "method", "p50", "p95", "r50", "r95", "p50 of the last report"]
    return note + "\n\n" + _markdown(header, lines)


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _number(value: str) -> str:
    if not value:
        return "–"
    number = float(value)
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


# ---- pictures ------------------------------------------------------------------------------------------


def _figures(rows: TableRows, results: Sequence[ConditionResult], protocol: Mapping[str, Any]) -> dict[str, Any]:
    base = _base_results(results, protocol)
    last = list(base.values())[-1]
    evaluated = {row["method"] for row in rows}
    compared = [
        m
        for m in ("grid_robust", "grid_bayes_corrected", *protocol["locators"], *LOCATOR_METHODS[1:])
        if m in evaluated
    ]
    pictures = {
        "cdf": figures.cdf_figure(base),
        "calibration": figures.calibration_figure(base),
        "ratios": figures.ratio_figure(rows, protocol["base"], compared),
        "error_map": figures.error_map_figure(last[0], protocol["size"], ["limit", "locator"]),
    }
    if last[0].worst:
        pictures["worst"] = figures.worst_figure(last[0], protocol["size"])
    return pictures


def _base_results(results: Sequence[ConditionResult], protocol: Mapping[str, Any]) -> dict[str, list[ConditionResult]]:
    """Results of the base condition on the first truth, by tier."""
    by_tier: dict[str, list[ConditionResult]] = {}
    for result in results:
        condition = vars(result.condition)
        if {**condition, "tier": ""} == {**protocol["base"], "tier": ""}:
            by_tier.setdefault(result.condition.tier, []).append(result)
    return {tier: by_tier[tier] for tier in by_tier if tier in TARGET_TIERS} or by_tier
