"""The report of a radio map: `report.png` with values of the strongest cell of each pixel, and their error."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.io import replace_file
from uel.core.units import to_db
from uel.plots.axes import draw_sites, draw_values, map_axes, new_figure, png_bytes, scale_bar
from uel.plots.radio_layers import strongest_cell
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sinr import MIN_REPORTED_SINR_DB, weakest_level_dbm


def write_map_report(folder: Path) -> Path:
    """Write `report.png` into a radio map's folder unless it exists; returns its path.

    Raises `UelError` where the map is missing or damaged.
    """
    target = folder / "report.png"
    if not target.is_file():
        replace_file(target, png_bytes(map_figure(radio_map_io.load(folder), radio_map_io.read_service(folder))))
    return target


def map_figure(radio: RadioMap, service: dict[str, Tensor]) -> Figure:
    """RSRP, SINR, throughput, error, excess delay and delay spread of the strongest cell of each pixel."""
    best = strongest_cell(radio)[None]
    known = radio.known.any(0).numpy()
    figure = new_figure(15.0, 9.0)
    panels = _panels(radio, service)
    for ax, (title, values, colours, unit, least) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        shown = values.gather(0, best)[0].numpy()
        draw_values(ax, shown, known, radio.grid.size, colours=colours, label=unit, least=least)
        draw_sites(ax, radio.sites, radio.grid.size)
        map_axes(ax, radio.grid.size, title)
    scale_bar(figure.axes[0], radio.grid.size)
    figure.suptitle("the strongest cell of each pixel (hatched: no path from any cell)", fontsize=12)
    return figure


def _panels(radio: RadioMap, service: dict[str, Tensor]) -> list[tuple[str, Tensor, str, str, float]]:
    """Title, values, colours, unit and lower end of the colours of each panel."""
    assert radio.channels is not None
    excess = (radio.channels.first_arrival - radio.delay) * SPEED_OF_LIGHT
    return [
        ("RSRP", radio.rsrp_dbm, "viridis", "dBm", weakest_level_dbm(radio.sites)),
        ("SINR", service["sinr_db"], "viridis", "dB", MIN_REPORTED_SINR_DB),
        ("throughput", service["throughput"] / 1e6, "viridis", "Mbit/s", 0.0),
        ("Monte-Carlo error", to_db(1 + radio.relative_error), "magma", "dB", 0.0),
        ("excess of the first arrival", torch.where(radio.known, excess, 0.0).clamp(min=0), "magma", "m", 0.0),
        ("delay spread", radio.channels.delay_spread * 1e9, "magma", "ns", 0.0),
    ]
