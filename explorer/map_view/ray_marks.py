"""Traced paths to a position: lines on the map, a delay profile, and a table beside the radio map."""

from typing import Any

import numpy as np
import torch

from explorer.map_view.marks import LineMarks
from explorer.style import CATEGORY_COLOURS
from uel.core.constants import SPEED_OF_LIGHT, timing_advance_step
from uel.core.units import to_db
from uel.geo.tile_maps import TileMaps

MAX_PATHS = 40  # paths that are drawn at most, of all cells together
INTERACTION_LABELS = ("reflected", "through walls", "diffracted", "scattered")


def strongest_rows(rays: Any) -> list[int]:
    """Rows of the paths that are drawn: the strongest ones."""
    return rays.paths.power.argsort(descending=True)[:MAX_PATHS].tolist()


def ray_lines(rays: Any) -> list[LineMarks]:
    """The strongest paths, coloured by cell; `rays` is a `sim_bridge.paths.polylines.PathPolylines` of one place."""
    rows = strongest_rows(rays)
    if not rows:
        return []
    cells = [int(rays.paths.source[row]) for row in rows]
    return [
        LineMarks(
            name="rays",
            label="rays",
            points=[rays.line(row).numpy() for row in rows],
            colours=[CATEGORY_COLOURS[cell % len(CATEGORY_COLOURS)] for cell in cells],
            texts=[path_text(rays.paths, row) for row in rows],
            width=1.8,
        )
    ]


def path_text(paths: Any, row: int) -> str:
    """The cell, interactions, gain and delay of a path as text."""
    gain, delay = float(to_db(paths.power[row])), float(paths.delay[row]) * 1e9
    kinds = [f"{int(n)} × {name}" for n, name in zip(paths.interactions[row], INTERACTION_LABELS, strict=True) if n]
    return f"cell {int(paths.source[row])}: {', '.join(kinds) or 'direct'}\n{gain:.1f} dB, {delay:.0f} ns"


def path_profile(rays: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Delay in ns, gain in dB and cell of each drawn path."""
    rows = torch.tensor(strongest_rows(rays), dtype=torch.long)
    paths = rays.paths
    return (paths.delay[rows] * 1e9).numpy(), to_db(paths.power[rows]).numpy(), paths.source[rows].numpy()


def strongest_traced(maps: TileMaps, rays: Any) -> tuple[int, float] | None:
    """The cell with the most traced power, and its RSRP in dBm."""
    gain = rays.paths.gain()[0]
    if not bool((gain > 0).any()):
        return None
    level = torch.where(gain > 0, to_db(gain.clamp(min=1e-30)) + maps.power_dbm, -torch.inf)
    return int(level.argmax()), float(level.max())


def cell_rows(maps: TileMaps, at: list[float], rays: Any) -> list[dict[str, Any]]:
    """A row of map and traced values for each cell at a position (x, y in m)."""
    mapped = maps.radio.pixel_truth(torch.tensor([at]))
    gain, delay, sight = rays.paths.gain()[0], rays.paths.first_arrival()[0], rays.paths.has_direct_path()[0]
    count = rays.paths.count()[0]
    carrier = maps.radio.sites[0].cells[0].carrier
    step = timing_advance_step(carrier.subcarrier_spacing)
    rows = []
    for cell, power in enumerate(maps.power_dbm.tolist()):
        found = bool(gain[cell] > 0)
        rows.append(
            {
                "cell": cell,
                "map": round(float(mapped.gain_db[0, cell]) + power, 1) if mapped.known[0, cell] else None,
                "traced": round(float(to_db(gain[cell])) + power, 1) if found else None,
                "paths": int(count[cell]),
                "LoS": bool(sight[cell]),
                "TA": int(float(delay[cell]) * SPEED_OF_LIGHT / step) if found else None,
                "az": round(float(mapped.azimuth_deg[0, cell])),
            }
        )
    return rows
