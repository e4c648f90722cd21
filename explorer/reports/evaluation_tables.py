"""Tables of an evaluation in Markdown: accuracy targets, goals, conditions, tracks."""

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.figures.evaluation import TableRows, condition_name
from explorer.style import condition_label, method_label, tier_label

TableRow = Mapping[str, str]
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


def base_rows(rows: TableRows, protocol: Mapping[str, Any], **changes: object) -> dict[str, TableRow]:
    """Rows of the base condition with some fields changed, by method; empty where it was not evaluated."""
    wanted = {**protocol["base"], "track": "single", "carrier": f"{protocol['base']['carrier']:g}", **changes}

    def fits(row):
        return all(row[name] == str(value) for name, value in wanted.items())

    return {row["method"]: row for row in rows if fits(row)}


def verdict(ours: float, limit: float, goal: float) -> str:
    """Whether an error meets its goal: "pass", "fail", or `BELOW_LIMIT` where the limit misses the goal, too."""
    if ours < goal:
        return "pass"
    return "fail" if limit < goal else BELOW_LIMIT


def interval_text(row: TableRow) -> str:
    return f"{number_text(row['p50_m'])} ({number_text(row['p50_low_m'])} to {number_text(row['p50_high_m'])})"


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
    return markdown_table(["target", *map(tier_label, tiers)], lines)


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
    return markdown_table(["goal", "result"], lines)


def _checks(row: TableRow) -> list[str]:
    """Each of `PROTOCOL_GOALS` with its value and pass or fail."""
    values = {name: float(row[name]) for name in ("r50", "r95", "excess_nll", "cover90")}
    passed = (
        values["r50"] <= 1.05,
        values["r95"] <= 1.10,
        values["excess_nll"] <= 0.05,
        0.88 <= values["cover90"] <= 0.92,
    )
    return [
        f"{n} {number_text(row[n])}: {'pass' if passes else 'fail'}" for n, passes in zip(values, passed, strict=True)
    ]


def _gain(by_method: Mapping[str, TableRow], method: str) -> str:
    return "; ".join(f"{p} {_compared_with_robust(by_method, method, f'{p}_m')}" for p in ("p50", "p95"))


def _compared_with_robust(by_method: Mapping[str, TableRow], method: str, name: str) -> str:
    error, limit, robust = (float(by_method[m][name]) for m in (method, "limit", "grid_robust"))

    def gain(value):
        return f"{100 * (value / robust - 1):+.0f} %"

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
    return markdown_table(["truth", "condition", *map(method_label, methods)], lines)


def _with_growth(row: TableRow, base: TableRow | None) -> str:
    value = number_text(row["p50_m"])
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
            errors = [number_text(by_method[method][c]) for c in ("p50_m", "p95_m", "r50", "r95")]
            lines.append([*condition, method_label(method), *errors, number_text(last["p50_m"])])
    note = (
        "Fading is correlated along a track, so that its reports are not independent. The limit of a standing phone is "
        "exact. The limit of a moving phone is a particle filter that knows the map, the motion model and the fading "
        "model, and carries the fading of each particle: an approximation from above. All methods share one motion "
        "filter. Each combines the reports of a track in the way that does best on labelled tracks: the likelihood of "
        "each report to some exponent, or, for methods with a map, a likelihood with fading correlated along the way."
    )
    header = ["truth", "tier", "map", "speed", "method", "p50", "p95", "r50", "r95", "p50 of the last report"]
    return note + "\n\n" + markdown_table(header, lines)


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def number_text(value: str) -> str:
    if not value:
        return "–"
    number = float(value)
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"
