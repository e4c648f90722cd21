"""The report of an evaluation: `table.md` beside `table.csv`, with accuracy targets, goals and figures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.figures import evaluation as figures
from explorer.figures.evaluation import TableRows
from explorer.reports.evaluation_refinement import refinement_tables
from explorer.reports.evaluation_tables import (
    LOCATOR_METHODS,
    TARGET_TIERS,
    base_rows,
    condition_table,
    goal_table,
    interval_text,
    markdown_table,
    number_text,
    target_table,
    track_table,
)
from explorer.style import method_label, tier_label
from uel.core.io import replace_file
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.plots.axes import png_bytes
from uel.results.evaluation import BOOTSTRAP_BLOCK, ConditionResult, read_result

BLOCKS_TEXT = f"blocks of {BOOTSTRAP_BLOCK:g} m of the phones"
REPEAT_COMMAND = "repeat the evaluation: uel eval RUN --protocol NAME"
TABLE_COLUMNS = ("p50_m", "p67_m", "p95_m", "mean_m", "r50", "r95", "excess_nll", "cover50", "cover90", "cpu_ms")


def write_evaluation_report(folder: Path) -> Path:
    """Write `table.md` and `figures/*.png` into an evaluation's folder; returns the path of `table.md`.

    Raises `UelError` where a file of the evaluation is missing or damaged.
    """
    folder = Path(folder)
    rows, protocol = read_table(folder), read_protocol(folder)
    results = [read_result(folder / "cells" / name) for name in protocol["cells"]]
    drawn = _figures(rows, results, protocol)
    for name, figure in drawn.items():
        replace_file(folder / "figures" / f"{name}.png", png_bytes(figure))
    path = folder / "table.md"
    write = _log_markdown if _is_of_log(protocol) else markdown
    replace_file(path, write(rows, results, protocol, list(drawn)).encode())
    return path


def read_table(folder: Path) -> list[dict[str, str]]:
    file = folder / "table.csv"
    if not file.is_file():
        raise UelError("this evaluation has no table.csv", got=str(folder), do=REPEAT_COMMAND)
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_protocol(folder: Path) -> dict[str, Any]:
    try:
        return read_json_object(folder / "protocol.json")
    except UelError as error:
        raise UelError(
            "protocol.json of this evaluation is missing or damaged", got=f"{folder}: {error}", do=REPEAT_COMMAND
        ) from error


# ---- rows ----------------------------------------------------------------------------------------------


# ---- text ----------------------------------------------------------------------------------------------


def markdown(
    rows: TableRows, results: Sequence[ConditionResult], protocol: Mapping[str, Any], drawn: Sequence[str]
) -> str:
    """The report as Markdown."""

    def show(name, caption):
        return [f"![{caption}](figures/{name}.png)"] if name in drawn else []

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


def _is_of_log(protocol: Mapping[str, Any]) -> bool:
    return protocol["base"]["truth"] == "log"


def _log_markdown(
    rows: TableRows, results: Sequence[ConditionResult], protocol: Mapping[str, Any], drawn: Sequence[str]
) -> str:
    """The report of a measured log, which has no limit, as Markdown."""
    introduction = (
        f"Measured reports of `{protocol['log']}` on {', '.join(protocol['tiles'])}: each square block of the tile is "
        f"labelled or located as a whole. Every method gets the same reports, the same map, and at most "
        f"{protocol['fingerprints']} labelled reports: kNN searches them, each tunable number is chosen among at most "
        "eight values on them, and map corrections are fitted to them. The locator was trained on other tiles. The "
        f"true map is not known, and so there is no limit. Intervals are bootstraps over {BLOCKS_TEXT} (90 %). "
        "`rejected.csv` lists what could not be used of the log."
    )
    pictures = {"cdf": "distribution of errors", "calibration": "calibration", "error_map": "errors on the map"}
    return (
        "\n\n".join(
            [
                f"# Evaluation `{protocol['name']}` of `{protocol['run']}` on a measured log",
                introduction,
                *(_methods(rows, protocol, "log", tier) for tier in _tiers(rows, protocol, "log")),
                *(f"![{caption}](figures/{name}.png)" for name, caption in pictures.items() if name in drawn),
            ]
        )
        + "\n"
    )


def _introduction(rows: TableRows, protocol: Mapping[str, Any]) -> str:
    deployments = max(int(row["deployments"]) for row in rows)
    resampled = "deployments" if deployments > 1 else BLOCKS_TEXT
    return (
        f"Tiles {', '.join(protocol['tiles'])}; {deployments} deployments of sites in all, {protocol['phones']} phones "
        f"each; intervals are bootstraps over {resampled} (90 %). *Map truth*: reports are drawn from the exact map, "
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
        [method_label(method), interval_text(row), *(number_text(row[column]) for column in TABLE_COLUMNS[1:])]
        for method, row in by_method.items()
    ]
    header = ["method", *(column.removesuffix("_m") for column in TABLE_COLUMNS)]
    return f"### {tier_label(tier)}, {truth} truth\n\n" + markdown_table(header, lines)


# ---- pictures ------------------------------------------------------------------------------------------


def _figures(rows: TableRows, results: Sequence[ConditionResult], protocol: Mapping[str, Any]) -> dict[str, Any]:
    base = _base_results(results, protocol)
    last = list(base.values())[-1]
    size = protocol.get("sizes", {}).get(last[0].deployment, protocol["size"])  # a tile of one's own has another
    evaluated = {row["method"] for row in rows}
    compared = [
        m
        for m in ("grid_robust", "grid_bayes_corrected", *protocol["locators"], *LOCATOR_METHODS[1:])
        if m in evaluated
    ]
    pictures = {"cdf": figures.cdf_figure(base), "calibration": figures.calibration_figure(base)}
    if _is_of_log(protocol):
        return pictures | {"error_map": figures.error_map_figure(last[0], size, ["grid_bayes", "locator_refined"])}
    pictures |= {
        "ratios": figures.ratio_figure(rows, protocol["base"], compared),
        "error_map": figures.error_map_figure(last[0], size, ["limit", "locator"]),
    }
    if last[0].worst:
        pictures["worst"] = figures.worst_figure(last[0], size)
    return pictures


def _base_results(results: Sequence[ConditionResult], protocol: Mapping[str, Any]) -> dict[str, list[ConditionResult]]:
    """Results of the base condition on the first truth, by tier."""
    by_tier: dict[str, list[ConditionResult]] = {}
    for result in results:
        condition = vars(result.condition)
        if {**condition, "tier": ""} == {**protocol["base"], "tier": ""}:
            by_tier.setdefault(result.condition.tier, []).append(result)
    return {tier: by_tier[tier] for tier in by_tier if tier in TARGET_TIERS} or by_tier
