"""The report of an evaluation on measured networks: `table.csv`, `comparisons.csv`, `table.md` and figures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from explorer.figures import measured_networks as figures
from uel.core.io import replace_file
from uel.plots.axes import png_bytes
from uel.results.measured_evaluation import (
    COMPARISON_COLUMNS,
    MEAN_NAME,
    TABLE_COLUMNS,
    MeasuredResult,
    MeasuredTable,
    Row,
)


def write_measured_report(folder: Path) -> Path:
    """Write tables and `figures/*.png` into the folder of an evaluation; returns the path of `table.md`.

    Raises `UelError` where a file of the evaluation is missing or damaged.
    """
    result = MeasuredResult.load(folder)
    table = MeasuredTable.of(result)
    for name, figure in figures.measured_figures(result, table.rows).items():
        replace_file(folder / "figures" / f"{name}.png", png_bytes(figure))
    replace_file(folder / "table.csv", _csv(TABLE_COLUMNS, table.rows))
    replace_file(folder / "comparisons.csv", _csv(COMPARISON_COLUMNS, table.comparisons))
    replace_file(folder / "table.md", _markdown(table.rows, table.comparisons).encode())
    return folder / "table.md"


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{v:.4g}" if isinstance(v := row[name], float) else v for name in columns])
    return stream.getvalue().encode()


def _markdown(rows: Sequence[Row], comparisons: Sequence[Row]) -> str:
    """Median and 95th percentile of each method by label budget, means of districts first."""
    lines = ["# Errors on measured networks", ""]
    districts = dict.fromkeys(row["district"] for row in rows)
    for district in [MEAN_NAME, *(name for name in districts if name != MEAN_NAME)]:
        own = [row for row in rows if row["district"] == district]
        budgets = sorted({int(row["labels"]) for row in own})
        lines += [f"## {district}", "", "p50 [90 % interval] / p95 in m, cover of 90 % regions", ""]
        lines += ["| method | " + " | ".join(f"{budget} labels" for budget in budgets) + " |"]
        lines += ["|---" * (1 + len(budgets)) + "|"]
        for method in dict.fromkeys(row["method"] for row in own):
            by_budget = {row["labels"]: _entry(row) for row in own if row["method"] == method}
            lines.append(f"| {method} | " + " | ".join(by_budget.get(budget, "") for budget in budgets) + " |")
        lines.append("")
    lines += ["## Medians compared", "", "| method | rival | labels | below the rival's | 90 % interval |"]
    lines += ["|---|---|---|---|---|"]
    for row in comparisons:
        interval = f"{row['low_percent']:.0f} to {row['high_percent']:.0f} %"
        better = f"{row['better_percent']:.0f} %"
        lines.append(f"| {row['method']} | {row['rival']} | {row['labels']} | {better} | {interval} |")
    return "\n".join(lines) + "\n"


def _entry(row: Row) -> str:
    cover = f", {100 * row['cover_90']:.0f} %" if isinstance(row["cover_90"], float) else ""
    return f"{row['p50_m']:.1f} [{row['p50_low_m']:.1f}, {row['p50_high_m']:.1f}] / {row['p95_m']:.0f}{cover}"
