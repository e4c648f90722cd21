"""The report of an evaluation: `table.md` beside `table.csv`, with pictures, goals and the guide's success table."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.figures import evaluation as figures
from explorer.figures.evaluation import TableRows, condition_name, label
from explorer.reports.evaluation_refinement import refinement_tables
from uel.errors import UelError
from uel.results.evaluation import ConditionResult, read_result

TableRow = Mapping[str, str]
REPEAT_COMMAND = "give the command again that made it: uel eval RUN --protocol NAME"
BELOW_LIMIT = "below the physical limit"
# (what, statistic, below what) of the guide's accuracy targets; metres.
ACCURACY_TARGETS = (
    ("vs. strongest cell: 50th percentile < 50 m", "p50_m", 50.0),
    ("vs. strongest cell: 95th percentile < 150 m", "p95_m", 150.0),
    ("vs. kNN: 50th percentile < 20 m", "p50_m", 20.0),
    ("vs. kNN: 95th percentile < 80 m", "p95_m", 80.0),
    ("absolute: 50th percentile < 15 m", "p50_m", 15.0),
    ("absolute: 67th percentile < 30 m", "p67_m", 30.0),
    ("absolute: 95th percentile < 100 m", "p95_m", 100.0),
    ("no catastrophes: errors over 500 m < 5 %", "over_500", 0.05),
)
LOCATOR_METHODS = ("locator", "locator_refined", "locator_retraced")
METHODS_WITH_GAIN_GOAL = (
    *LOCATOR_METHODS,
    "grid_bayes_corrected",
    "grid_bayes_retraced",
)  # of robust grid Bayes on the map as it was given
PROTOCOL_GOALS = "r50 ≤ 1.05, r95 ≤ 1.10, excess ≤ 0.05 nat, 90 % region covers 88 to 92 %"
TARGET_TIERS = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
TABLE_COLUMNS = ("p50_m", "p67_m", "p95_m", "mean_m", "r50", "r95", "excess_nll", "cover50", "cover90", "cpu_ms")


def write_evaluation_report(folder: Path) -> Path:
    """Write `table.md` and `figures/*.png` into an evaluation's folder; returns the path of the former.

    Raises `UelError` when a piece of it is missing or damaged.
    """
    folder = Path(folder)
    rows, notes = _table(folder), _notes(folder)
    cells = [read_result(folder / "cells" / name) for name in notes["cells"]]
    pictures = _pictures(rows, cells, notes)
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(folder / "figures" / f"{name}.png")
    path = folder / "table.md"
    path.write_text(markdown(rows, cells, notes, list(pictures)), encoding="utf-8")
    return path


def _table(folder: Path) -> list[dict[str, str]]:
    file = folder / "table.csv"
    if not file.is_file():
        raise UelError("no evaluation here", got=str(file), do=REPEAT_COMMAND)
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _notes(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "protocol.json").read_text())
    except (OSError, ValueError) as error:
        raise UelError(
            "this evaluation is not finished, or damaged", got=f"{folder}: {error}", do=REPEAT_COMMAND
        ) from error


# ---- rows ----------------------------------------------------------------------------------------------


def base_rows(rows: TableRows, notes: Mapping[str, Any], **changes: object) -> dict[str, TableRow]:
    """Rows by method of the base condition, but for what `changes` say; empty where that was not judged."""
    wanted = {**notes["base"], "track": "single", "carrier": f"{notes['base']['carrier']:g}", **changes}
    fits = lambda row: all(row[name] == str(value) for name, value in wanted.items())  # noqa: E731
    return {row["method"]: row for row in rows if fits(row)}


def verdict(ours: float, limit: float, goal: float) -> str:
    """pass, fail, or that no method can."""
    if ours < goal:
        return "pass"
    return "fail" if limit < goal else BELOW_LIMIT


# ---- text ----------------------------------------------------------------------------------------------


def markdown(
    rows: TableRows, cells: Sequence[ConditionResult], notes: Mapping[str, Any], pictures: Sequence[str]
) -> str:
    """The page."""
    show = lambda name, words: [f"![{words}](figures/{name}.png)"] if name in pictures else []  # noqa: E731
    parts = [
        f"# Evaluation `{notes['name']}` of `{notes['run']}`",
        _preface(rows, notes),
        "## The guide's success table\n\n" + target_table(rows, notes),
        "## Goals of the protocol\n\n" + goal_table(rows, notes),
        "## Base condition",
        *(_methods(rows, notes, truth, tier) for truth in ("map", "paths") for tier in _tiers(rows, notes, truth)),
        *show("cdf", "cumulative errors"),
        *show("calibration", "calibration"),
        "## By condition\n\nMedian error in metres; in brackets how it grows against the base, the limit's own growth "
        "beside it.\n\n" + condition_table(rows, notes),
        *show("ratios", "r50 by condition"),
        "## Refinement\n\n" + refinement_tables(cells, notes),
        "## Tracks\n\n" + track_table(rows),
        "## Where errors lie",
        *show("error_map", "errors by place"),
        *show("worst", "the worst fixes"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _preface(rows: TableRows, notes: Mapping[str, Any]) -> str:
    deployments = max(int(row["deployments"]) for row in rows)
    return (
        f"Tiles {', '.join(notes['tiles'])}; {deployments} deployments of masts in all, {notes['phones']} phones each; "
        "intervals are bootstraps over deployments (90 %). *Map truth*: reports are drawn from the exact map, and "
        "**the limit** (the grid posterior under the true map and the true model, whatever map the methods are given) "
        "cannot be beaten in mean error; whoever answers for one percentile alone may have that one lower. *Path "
        "truth*: reports are traced at the true place, and the grid posterior on the map with its error bar is a "
        "reference. r50 and r95 are percentiles over the limit's; excess is in nats over the limit's log-density at "
        "the truth. Every method gets the same reports, the same map and "
        f"{notes['fingerprints']} labelled reports: kNN searches them, each tunable number is chosen among at most "
        "eight values on them, and whoever puts the map right does so by them. Locators were trained elsewhere. All "
        "are told the rules of reporting (tier, K, dropout), none the fading's σ, of "
        "which 8 dB is the nominal value."
    )


def _tiers(rows: TableRows, notes: Mapping[str, Any], truth: str) -> list[str]:
    seen = dict.fromkeys(row["tier"] for row in rows if row["truth"] == truth)
    return [tier for tier in seen if base_rows(rows, notes, truth=truth, tier=tier)]


def _methods(rows: TableRows, notes: Mapping[str, Any], truth: str, tier: str) -> str:
    found = base_rows(rows, notes, truth=truth, tier=tier)
    return f"### {tier}, {truth} truth\n\n" + _markdown(["method", *(c.removesuffix("_m") for c in TABLE_COLUMNS)], [
        [label(method), _interval(row), *(_number(row[c]) for c in TABLE_COLUMNS[1:])] for method, row in found.items()
    ])  # fmt: skip


def _interval(row: TableRow) -> str:
    return f"{_number(row['p50_m'])} ({_number(row['p50_low_m'])} to {_number(row['p50_high_m'])})"


def target_table(rows: TableRows, notes: Mapping[str, Any]) -> str:
    """The guide's accuracy targets, by row and tier, on map truth; of refined fixes where they were judged."""
    tiers = [tier for tier in TARGET_TIERS if base_rows(rows, notes, truth="map", tier=tier)]
    lines = [
        [what, *(_target(rows, notes, tier, name, goal) for tier in tiers)] for what, name, goal in ACCURACY_TARGETS
    ]
    lines.append(["unseen cities: < 20 % worse than seen ones", *("not part of this protocol" for _ in tiers)])
    lines.append(["sparse: K = 3 < 30 % worse than K = 8", *(_growth(rows, notes, t, 0.30, {"k": "3"}) for t in tiers)])
    lines.append(["sparse: 1 report < 50 % worse than 20", *(_one_report(rows, tier) for tier in tiers)])
    return _markdown(["target", *tiers], lines)


def _target(rows: TableRows, notes: Mapping[str, Any], tier: str, name: str, goal: float) -> str:
    found = base_rows(rows, notes, truth="map", tier=tier)
    ours, limit = (float(found[method][name]) for method in (_answer(found), "limit"))
    unit = (lambda v: f"{100 * v:.1f} %") if name.startswith("over") else (lambda v: f"{v:.1f} m")
    return f"**{verdict(ours, limit, goal)}**: {unit(ours)}, limit {unit(limit)}"


def _growth(rows: TableRows, notes: Mapping[str, Any], tier: str, goal: float, changes: Mapping[str, object]) -> str:
    base = base_rows(rows, notes, truth="map", tier=tier)
    other = base_rows(rows, notes, truth="map", tier=tier, **changes)
    if not other:
        return "not judged"
    ours = _answer(base)
    return _compared(_ratio(other[ours], base[ours]), _ratio(other["limit"], base["limit"]), goal)


def _answer(found: Mapping[str, TableRow]) -> str:
    """The method that a user meets: second thoughts included, where they were judged."""
    return "locator_refined" if "locator_refined" in found else "locator"


def _one_report(rows: TableRows, tier: str) -> str:
    """The last report alone against the whole track, of the fastest phones."""
    plain = {"truth": "map", "tier": tier, "map": "exact"}
    moving = [
        row
        for row in rows
        if row["track"] not in ("single", "0 m/s") and all(row[name] == value for name, value in plain.items())
    ]
    if not moving:
        return "not judged"
    fastest = max(moving, key=lambda row: float(row["track"].split()[0]))["track"]
    found = {row["method"]: row for row in moving if row["track"] == fastest}
    ours, limit = (_ratio(found[f"{m}_last"], found[m]) for m in (_answer(found), "limit"))
    return _compared(ours, limit, 0.50)


def _ratio(worse: TableRow, base: TableRow) -> float:
    return float(worse["p50_m"]) / float(base["p50_m"]) - 1


def _compared(ours: float, limit: float, goal: float) -> str:
    return f"**{verdict(ours, limit, goal)}**: {100 * ours:+.0f} %, limit {100 * limit:+.0f} %"


def goal_table(rows: TableRows, notes: Mapping[str, Any]) -> str:
    """PROTOCOL's own goals: near the limit on the exact map, ahead of robust grid Bayes on wrong ones.

    Of fixes as the locator gives them and, where they were, refined on the map or on one traced anew.
    """
    lines = []
    for tier in TARGET_TIERS:
        found = base_rows(rows, notes, truth="map", tier=tier)
        lines += [
            [f"{tier}, exact, {label(m)}: {PROTOCOL_GOALS}", "; ".join(_checks(found[m]))]
            for m in LOCATOR_METHODS
            if m in found
        ]
    for condition in ("few_rays", "wrong_buildings", "wrong_sites"):
        for tier in TARGET_TIERS:
            found = base_rows(rows, notes, truth="map", tier=tier, map=condition)
            ahead = f"{tier}, {condition}, {{}}: 20 % better than robust grid Bayes"
            lines += [[ahead.format(label(m)), _gain(found, m)] for m in METHODS_WITH_GAIN_GOAL if m in found]
    return _markdown(["goal", "found"], lines)


def _checks(row: TableRow) -> list[str]:
    """What `PROTOCOL_GOALS` says, goal by goal."""
    values = {name: float(row[name]) for name in ("r50", "r95", "excess_nll", "cover90")}
    ok = (values["r50"] <= 1.05, values["r95"] <= 1.10, values["excess_nll"] <= 0.05, 0.88 <= values["cover90"] <= 0.92)
    return [f"{n} {_number(row[n])}: {'pass' if fine else 'fail'}" for n, fine in zip(values, ok, strict=True)]


def _gain(found: Mapping[str, TableRow], method: str) -> str:
    return "; ".join(f"{p} {_ahead(found, method, f'{p}_m')}" for p in ("p50", "p95"))


def _ahead(found: Mapping[str, TableRow], method: str, name: str) -> str:
    ours, limit, robust = (float(found[m][name]) for m in (method, "limit", "grid_robust"))
    gain = lambda value: f"{100 * (value / robust - 1):+.0f} %"  # noqa: E731
    return f"**{verdict(ours, limit, 0.8 * robust)}** {gain(ours)}, limit {gain(limit)}"


def condition_table(rows: TableRows, notes: Mapping[str, Any]) -> str:
    """Every condition of single reports against the base of its tier and truth."""
    judged = {row["method"] for row in rows if row["track"] == "single"}
    methods = [m for m in ("limit", *notes["locators"], "locator_refined", "grid_robust", "knn_survey") if m in judged]
    lines = []
    for truth in ("map", "paths"):
        mine = [row for row in rows if row["truth"] == truth and row["track"] == "single"]
        for name in dict.fromkeys(condition_name(row, notes["base"]) for row in mine):
            found = {row["method"]: row for row in mine if condition_name(row, notes["base"]) == name}
            base = base_rows(rows, notes, truth=truth, tier=found["limit"]["tier"])
            lines.append([truth, name, *(_grown(found[m], base.get(m)) for m in methods)])
    return _markdown(["truth", "condition", *map(label, methods)], lines)


def _grown(row: TableRow, base: TableRow | None) -> str:
    value = _number(row["p50_m"])
    return value if base is None or base is row else f"{value} ({100 * _ratio(row, base):+.0f} %)"


def track_table(rows: TableRows) -> str:
    """Whole tracks beside their last reports."""
    mine = [row for row in rows if row["track"] != "single"]
    if not mine:
        return "Not judged."
    lines = []
    columns = ("truth", "tier", "map", "track")
    for key in dict.fromkeys(tuple(row[c] for c in columns) for row in mine):
        found = {row["method"]: row for row in mine if tuple(row[c] for c in columns) == key}
        for method in (m for m in found if f"{m}_last" in found or m == "particle_filter"):
            last = found.get(f"{method}_last", found["grid_robust_last"])
            lines.append([*key, label(method), *(_number(found[method][c]) for c in ("p50_m", "p95_m", "r50", "r95")),
                          _number(last["p50_m"])])  # fmt: skip
    note = (
        "Fading is correlated along a track, so that reports are no independent evidence. The limit of a standing "
        "phone is exact: its levels say once what they say. That of a moving one is a particle filter that knows the "
        "map, the law of motion and of fading, and carries each particle's fading: an approximation, from above. "
        "Methods go through one filter of motion and read reports in the way that does best on labelled tracks: each "
        "report's evidence to some power, or, where they have a map, by levels whose fading goes along with the phone."
    )
    header = ["truth", "tier", "map", "speed", "method", "p50", "p95", "r50", "r95", "p50 of the last report alone"]
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


def _pictures(rows: TableRows, cells: Sequence[ConditionResult], notes: Mapping[str, Any]) -> dict[str, Any]:
    base = _base_cells(cells, notes)
    last = list(base.values())[-1]
    judged = {row["method"] for row in rows}
    compared = [
        m for m in ("grid_robust", "grid_bayes_corrected", *notes["locators"], *LOCATOR_METHODS[1:]) if m in judged
    ]
    pictures = {
        "cdf": figures.cdf_figure(base),
        "calibration": figures.calibration_figure(base),
        "ratios": figures.ratio_figure(rows, notes["base"], compared),
        "error_map": figures.error_map_figure(last[0], notes["size"], ["limit", "locator"]),
    }
    if last[0].worst:
        pictures["worst"] = figures.worst_figure(last[0], notes["size"])
    return pictures


def _base_cells(cells: Sequence[ConditionResult], notes: Mapping[str, Any]) -> dict[str, list[ConditionResult]]:
    """Cells of the base condition on the first truth, by tier."""
    found: dict[str, list[ConditionResult]] = {}
    for cell in cells:
        said = vars(cell.condition)
        if {**said, "tier": ""} == {**notes["base"], "tier": ""}:
            found.setdefault(cell.condition.tier, []).append(cell)
    return {tier: found[tier] for tier in found if tier in TARGET_TIERS} or found
