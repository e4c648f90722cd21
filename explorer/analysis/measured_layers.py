"""Layers of a measured network's tile: levels in its squares, their residuals, and errors of located phones."""

from collections.abc import Sequence

import numpy as np
import torch

from explorer.analysis.district import DistrictView
from explorer.map_view.ground_image import Legend
from explorer.map_view.marks import AreaMarks, on_ground
from explorer.style import QUANTITY_SCALES, apply_colour_map
from scenes.measured_networks.tile_network import JUDGED_FILE, read_tile_network
from uel.geo.tile import Tile
from uel.measurement.measured_network import MeasuredNetwork
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

MAX_SQUARES = 2000  # drawn at most, of those with a value; each takes 60 µs of WebGL in software
SQUARE_HEIGHT = 0.6  # m above the ground
RESIDUAL_LIMIT_DB = 20.0
LAYER_TITLES = {"level": "measured level", "residual": "measured level minus map", "errors": "position error of phones"}


def available_layers(tile: Tile, has_map: bool) -> dict[str, str]:
    """Titles of the layers that a measured network's tile has, by their names."""
    is_split = (tile.folder / JUDGED_FILE).is_file()
    return {
        name: title
        for name, title in LAYER_TITLES.items()
        if (name != "residual" or has_map) and (name != "errors" or is_split)
    }


def level_layer(tile: Tile, cell: int | None, limits: tuple[float, float] | None = None) -> tuple[AreaMarks, Legend]:
    """Measured levels in dBm of a cell, or of the strongest cell in each square; `limits` of their colours."""
    network = read_tile_network(tile)
    values, own = _levels(network, cell)
    return _squares(tile, network, values, own, "level", "RSRP", "dBm", "rsrp", limits or _limits(values))


def residual_layer(tile: Tile, radio: RadioMap, cell: int | None) -> tuple[AreaMarks, Legend]:
    """Measured levels minus the radio map's in dB, where the map knows the cell."""
    network = read_tile_network(tile)
    values, own = _levels(network, cell)
    position = network.position
    inside = radio.grid.contains(position)
    truth = radio.pixel_truth(torch.where(inside[:, None], position, 0.0))
    cells = torch.from_numpy(own)
    level = truth.gain_db.gather(1, cells[:, None])[:, 0] + reference_power_dbm(radio.sites)[cells]
    known = inside & truth.known.gather(1, cells[:, None])[:, 0]
    residual = np.where(known.numpy(), values - level.numpy(), np.nan)
    limits = (-RESIDUAL_LIMIT_DB, RESIDUAL_LIMIT_DB)
    return _squares(tile, network, residual, own, "residual", "measured minus map", "dB", "residual", limits)


def error_layer(tile: Tile, view: DistrictView) -> tuple[AreaMarks, Legend]:
    """Errors in m of the judged phones that the District page locates, where they were."""
    errors = view.errors.numpy()
    phones = view.judged.select(torch.arange(len(errors)))
    titles = [f"Judged phone {n}" for n in range(len(errors))]
    limits = (0.0, view.largest_usual_error)
    return _squares(tile, phones, errors, titles, "errors", "position error", "m", "position error", limits)


def _levels(network: MeasuredNetwork, cell: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Levels in dBm of squares, NaN where nothing was reported, and the cells that they are of."""
    levels = torch.where(network.is_reported, network.level_dbm, -torch.inf)
    own = levels.argmax(1) if cell is None else torch.full((len(network),), cell)
    values = levels.gather(1, own[:, None])[:, 0]
    return torch.where(values.isfinite(), values, torch.nan).numpy(), own.numpy()


def _limits(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.01, 0.99]) if len(known) else (0.0, 1.0)
    return float(low), float(max(high, low + 1.0))


def _squares(
    tile: Tile,
    network: MeasuredNetwork,
    values: np.ndarray,
    names: Sequence[str] | np.ndarray,
    name: str,
    title: str,
    unit: str,
    quantity: str,
    limits: tuple[float, float],
) -> tuple[AreaMarks, Legend]:
    """Coloured squares where values are known and on the tile, a random part of many."""
    position = network.position.numpy()
    inside = (np.abs(position) < tile.size / 2 - network.grid.pixel / 2).all(1)
    chosen = np.flatnonzero(np.isfinite(values) & inside)
    if len(chosen) > MAX_SQUARES:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MAX_SQUARES, replace=False))
    corner = 0.5 * network.grid.pixel * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    middle = on_ground(tile, position[chosen], SQUARE_HEIGHT)
    outline = np.column_stack([corner, np.zeros(4)])
    colours = apply_colour_map(values[chosen], QUANTITY_SCALES[quantity], *limits)
    texts = [
        f"{named if isinstance(named, str) else f'Cell {named}'}\n{title}: {value:.1f} {unit}"
        for named, value in zip((names[int(n)] for n in chosen), values[chosen], strict=True)
    ]
    areas = AreaMarks(
        name=name, label=title, points=[m + outline for m in middle],
        colours=[(int(r), int(g), int(b)) for r, g, b in colours], texts=texts,
    )  # fmt: skip
    return areas, Legend(title=title, unit=unit, scale=QUANTITY_SCALES[quantity], low=limits[0], high=limits[1])
