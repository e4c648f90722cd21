"""Run every benchmark, print a table and write `runs/bench/bridge.json`: `python -m tests.bench [NAME …]`."""

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import fresh, frozen, lookup, maps, report, step

BENCHES: dict[str, Callable[[], dict[str, float]]] = {
    "fresh": fresh.run,
    "frozen": frozen.run,
    "maps": maps.run,
    "lookup": lookup.run,
    "step": step.run,
    "report": report.run,
}
# Which way a figure is to be read, and what it should be.
GOALS = {
    "fresh_positions_ratio": (">=", 30),
    "fresh_positions_ratio_256": (">=", 30),
    "median_gain_diff_db": ("<=", 0.1),
    "links_found_share": (">=", 0.99),
    "power_share": (">=", 0.98),
    "frozen_paths_ratio": (">=", 6),
    "map_time_ratio": ("<=", 1.5),
    "toa_error_pixels": ("<=", 1),
    "aoa_error_deg": ("<=", 5),
    "lookup_ratio": ("<=", 1.3),
    "step_ratio": ("<=", 1.25),
    "reports_per_s": (">=", 100),
    "phy_sys_ms_per_report": ("<=", 3),
}


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        sys.exit(f"unknown benchmarks {unknown}; known are {', '.join(BENCHES)}")
    console, figures = Console(), dict[str, float]()
    for name in names or BENCHES:
        console.print(f"bench: {name} …")
        figures |= BENCHES[name]()
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "drjit", "mitsuba", "sionna-rt")},
    }
    console.print(_table(figures), machine)
    target = Path("runs/bench/bridge.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")


def _table(figures: dict[str, float]) -> Table:
    table = Table("figure", "measured", "goal", "", title="bridge, beside stock Sionna")
    for name, value in figures.items():
        way, goal = GOALS.get(name, ("", None))
        verdict = "" if goal is None else "ok" if (value >= goal if way == ">=" else value <= goal) else "MISSED"
        table.add_row(name, f"{value:.4g}", "" if goal is None else f"{way} {goal}", verdict)
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
