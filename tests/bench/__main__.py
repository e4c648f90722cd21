"""Run every benchmark: `python -m tests.bench [NAME …]`; tables, and `runs/bench/PART.json` for each part.

`log=5000`, `network=8` and `rescoring=1000` run these with so many reports, sites and phones instead of 100 000, 64
and 200.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import (
    atlas,
    explorer,
    fix,
    fresh,
    frozen,
    log,
    lookup,
    maps,
    memory,
    neighbours,
    network,
    report,
    rescoring,
    step,
    survey,
)

BENCHES: dict[str, dict[str, Callable[..., dict[str, float]]]] = {
    "bridge": {"fresh": fresh.run, "frozen": frozen.run, "maps": maps.run, "lookup": lookup.run, "step": step.run},
    "atlas": {"power": atlas.run_power, "whole": atlas.run_whole, "growth": atlas.run_growth},
    "locator": {"fix": fix.run, "log": log.run},
    "rescoring": {"rescoring": rescoring.run},
    "explorer": {"explorer": explorer.run},
    "network": {"network": network.run},
    "survey": {"report": report.run, "survey": survey.run},
    "memory": {"memory": memory.run},
    "sharing": {"neighbours": neighbours.run},
}
SIZED = ("log", "network", "rescoring")  # benchmarks that take a size
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
    "whole_cpu_ms_per_link": ("<=", 2),
    "whole_ms_per_link": ("<=", 1),
    "whole_ratio": (">=", 30),
    "whole_places_share": (">=", 0.97),
    "whole_power_share": (">=", 0.98),
    "whole_peak_gib": ("<=", 6),
    "power_peak_gib": ("<=", 6),
    **{f"{growth.name}_peak_gib": ("<=", 6) for growth in atlas.GROWTH},
    "fix_cpu_ms": ("<=", 20),
    "network_map_s_per_cell": ("<=", 5),
    "network_atlas_s_per_cell": ("<=", 3),
    "gradient_peak_gb": ("<=", 6),
    "search_peak_gb": ("<=", 6),
    "radio_map_peak_gb": ("<=", 6),
    "network_fix_ms": ("<=", 500),
    "network_peak_gib": ("<=", 8),
    "log_reports_per_s": (">=", 100),
    "log_memory_gb": ("<=", 1.0),
    "first_chart_s": ("<=", 3),
    "first_map_s": ("<=", 4),
    "slider_s": ("<=", 0.5),
    "page_switch_s": ("<=", 1),
    "rays_gain_nats": (">=", 0),
    "locate_rays_gain_nats": (">=", 0),
    "munich_reports_per_s": (">=", 100),
    "reports_per_s": (">=", 100),
    "phy_sys_ms_per_report": ("<=", 3),
    "read_reports_per_s": (">=", 50_000),
    "two_workers_ratio": (">=", 1.7),
    "beside_a_busy_process_ratio": ("<=", 2.2),
    "help_cpu_s": ("<=", 0.7),
}


def main(arguments: list[str]) -> None:
    known = [name for benches in BENCHES.values() for name in benches]
    sizes = {name: (int(size),) if size else () for name, _, size in (a.partition("=") for a in arguments)}
    if unknown := sorted(set(sizes) - set(known)):
        sys.exit(f"unknown benchmarks {unknown}; known are {', '.join(known)}")
    if sized := sorted(name for name, size in sizes.items() if size and name not in SIZED):
        sys.exit(f"benchmarks without a size: {sized}; those with one are {', '.join(SIZED)}")
    console = Console()
    for part, benches in BENCHES.items():
        figures = dict[str, float]()
        for name in (name for name in benches if name in (sizes or known)):
            console.print(f"bench: {name} …")
            figures |= benches[name](*sizes.get(name, ()))
        if figures:
            console.print(_table(part, figures), _machine())
            _write(part, figures)


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "drjit", "mitsuba", "sionna-rt")},
    }


def _write(part: str, figures: dict[str, float]) -> None:
    target = Path("runs/bench") / f"{part}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": _machine(), "figures": figures}, indent=1) + "\n")


def _table(part: str, figures: dict[str, float]) -> Table:
    table = Table("figure", "measured", "goal", "", title=part)
    for name, value in figures.items():
        way, goal = GOALS.get(name, ("", None))
        verdict = "" if goal is None else "ok" if (value >= goal if way == ">=" else value <= goal) else "MISSED"
        table.add_row(name, f"{value:.4g}", "" if goal is None else f"{way} {goal}", verdict)
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
