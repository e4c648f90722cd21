"""Traced paths to a position: lines on the map, a delay profile, and a table beside the radio map."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from explorer.map_view.marks import LineMarks
from explorer.style import cell_colour
from uel.core.constants import SPEED_OF_LIGHT, timing_advance_step
from uel.core.units import to_db
from uel.geo.tile_maps import TileMaps
from uel.plots.radio_layers import monte_carlo_error_db
from uel.radio.radio_map import RadioMap

ERRORS_WITHIN = 2.0  # Monte-Carlo standard errors within which map and trace agree
LEAST_DIFFERENCE_DB = 1.0
MAX_PATHS = 40  # paths that are drawn at most, of all cells together
LEVEL_COLUMNS = ("cell", "map dBm", "traced dBm", "difference dB", "likely reason")
PATH_COLUMNS = ("cell", "paths", "LoS", "TA", "azimuth")
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
            colours=[cell_colour(cell) for cell in cells],
            texts=[path_text(rays.paths, row) for row in rows],
            width=2.6,
            pickable=True,
        )
    ]


def path_text(paths: Any, row: int) -> str:
    """The cell, interactions, gain and delay of a path as text."""
    gain, delay = float(to_db(paths.power[row])), float(paths.delay[row]) * 1e9
    kinds = [f"{int(n)} × {name}" for n, name in zip(paths.interactions[row], INTERACTION_LABELS, strict=True) if n]
    return f"Path of cell {int(paths.source[row])}\n{', '.join(kinds) or 'direct'}\n{gain:.1f} dB, {delay:.0f} ns"


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
    """A row for each cell at a position (x, y in m): the map's level, the traced one, their difference, and its likely
    reason."""
    place = torch.tensor([at])
    mapped = maps.radio.pixel_truth(place)
    gain, delay, sight = rays.paths.gain()[0], rays.paths.first_arrival()[0], rays.paths.has_direct_path()[0]
    count = rays.paths.count()[0]
    carrier = maps.radio.sites[0].cells[0].carrier
    step = timing_advance_step(carrier.subcarrier_spacing)
    rows = []
    for cell, power in enumerate(maps.power_dbm.tolist()):
        in_map = float(mapped.gain_db[0, cell]) + power if mapped.known[0, cell] else None
        traced = float(to_db(gain[cell])) + power if gain[cell] > 0 else None
        difference = None if in_map is None or traced is None else traced - in_map
        is_sight_equal = bool(mapped.los[0, cell]) == bool(sight[cell])
        rows.append(
            {
                "cell": cell,
                "map dBm": _rounded(in_map),
                "traced dBm": _rounded(traced),
                "difference dB": _rounded(difference),
                "likely reason": difference_reason(in_map, traced, is_sight_equal, _pixel(maps.radio, place, cell)),
                "paths": int(count[cell]),
                "LoS": bool(sight[cell]),
                "TA": None if traced is None else int(float(delay[cell]) * SPEED_OF_LIGHT / step),
                "azimuth": round(float(mapped.azimuth_deg[0, cell])),
            }
        )
    return rows


@dataclass(frozen=True)
class MapPixel:
    """What the map says of a gain in one of its pixels."""

    error_db: float
    """Monte-Carlo standard error"""
    spread_db: float
    """range of the levels of the pixel and its eight neighbours"""
    side: float
    """m"""


def _pixel(radio: RadioMap, place: Float[Tensor, "1 2"], cell: int) -> MapPixel:
    row, column = (int(index) for index in radio.grid.pixel_of(place))
    around = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    levels = radio.level_db[cell][around][radio.known[cell][around]]
    spread = float(levels.max() - levels.min()) if len(levels) else 0.0
    return MapPixel(float(monte_carlo_error_db(radio)[cell, row, column]), spread, radio.grid.pixel)


def difference_reason(in_map: float | None, traced: float | None, is_sight_equal: bool, pixel: MapPixel) -> str:
    """Why the traced level of a cell at a position (dBm) is not the map's, as far as the map itself tells."""
    if in_map is None and traced is None:
        return "neither reaches this place"
    if in_map is None:
        return "no ray of the map met this pixel"
    if traced is None:
        return "the search found no path"
    difference = abs(traced - in_map)
    if difference <= max(ERRORS_WITHIN * pixel.error_db, LEAST_DIFFERENCE_DB):
        is_known = math.isfinite(pixel.error_db)
        return "within the map's Monte-Carlo error" if is_known else "few rays of the map met this pixel"
    if not is_sight_equal:
        return f"line of sight changes within {pixel.side:g} m"
    if difference <= pixel.spread_db:
        return f"the map is a mean over {pixel.side:g} m, levels nearby span {pixel.spread_db:.0f} dB"
    return "paths that the search missed" if traced < in_map else "paths that the map's rays missed"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
