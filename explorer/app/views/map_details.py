"""The panel over the map: the network, or the paths to a picked position beside what the map says there."""

from typing import Any

import streamlit as st
import torch

from explorer.analysis import charts
from explorer.app import cache, widgets
from explorer.map_view import ray_marks
from uel.geo.tile_maps import TileMaps
from uel.plots import radio_layers
from uel.radio.sites import cells_of


def show_details(
    context: widgets.PageContext, maps: TileMaps | None, position: list[float] | None, paths: Any, seconds: float
) -> None:
    """Show traced paths to a position in m, the network without one, or what has to be made first."""
    if maps is None:
        for what, command in context.tile.missing if context.tile else []:
            widgets.show_missing(what, command)
        return
    if position is None or paths is None:
        _network(maps)
        return
    _paths(context, maps, position, paths, seconds)


def _paths(context: widgets.PageContext, maps: TileMaps, position: list[float], paths: Any, seconds: float) -> None:
    st.markdown(f"**{position[0]:.1f} m east, {position[1]:.1f} m north**".replace("-", "−"))
    strongest = ray_marks.strongest_traced(maps, paths)
    count = len(paths.paths.power)
    level = ("–", "no cell") if strongest is None else (f"{strongest[1]:.0f} dBm", f"cell {strongest[0]}")
    cards = {
        "paths": (str(count), f"{min(count, ray_marks.MAX_PATHS)} drawn"),
        "time": (f"{seconds:.2f} s", "search and tracing"),
        "strongest": (level[0].replace("-", "−"), level[1]),
    }
    widgets.show_cards(cards, columns=3)
    if not count:
        if cache.tile(context.tile.folder).is_outdoor(torch.tensor(position)):  # type: ignore[union-attr]
            st.info("No path to this position was found.")
        else:
            st.info("This position is inside a building. Pick one outdoors.")
        return
    every = ray_marks.cell_rows(maps, position, paths)
    rows = [row for row in every if row["map dBm"] is not None or row["traced dBm"] is not None]
    widgets.show_table([{name: row[name] for name in ray_marks.LEVEL_COLUMNS} for row in rows], "map and trace")
    st.caption("RSRP from the map and from traced paths, their difference and its likely reason.")
    if len(rows) < len(every):
        st.caption(f"{len(every) - len(rows):d} cells reach this place neither in the map nor by a path.")
    widgets.show_chart(charts.delay_profile(*ray_marks.path_profile(paths), context.theme), "profile")
    widgets.show_table([{name: row[name] for name in ray_marks.PATH_COLUMNS} for row in rows], "paths of cells")
    st.caption("Paths of each cell; TA in steps, azimuth at the cell in °.")


def _network(maps: TileMaps) -> None:
    """Show the network while no position is picked."""
    radio = maps.radio
    carrier = cells_of(radio.sites)[0][1].carrier
    covered = radio_layers.is_covered(radio)[maps.prior > 0.5].float().mean()
    level = f"{radio_layers.reported_level_dbm(radio):.0f} dBm".replace("-", "−")
    widgets.show_cards(
        {
            "sites": (str(len(radio.sites)), f"{len(radio.gain)} cells"),
            "carrier": (f"{carrier.frequency / 1e9:g} GHz", f"{carrier.bandwidth / 1e6:g} MHz wide"),
            "pixel": (f"{radio.grid.pixel:g} m", f"{radio.grid.count} × {radio.grid.count}"),
            "covered": (f"{float(covered):.0%}", f"of outdoor area: a phone reports a cell, {level} or more"),
        },
        columns=2,
    )
    rows = [
        {"cell": n, "x": round(site.position[0], 1), "y": round(site.position[1], 1), "z": round(site.position[2], 1),
         "azimuth": cell.azimuth_deg, "tilt": cell.tilt_deg, "dBm": cell.power_dbm, **cell.identity}
        for n, (site, cell) in enumerate(cells_of(radio.sites))
    ]  # fmt: skip
    with st.expander("Cells"):
        widgets.show_table(rows, "cells")
        st.caption("Positions in metres from the tile's centre, angles in degrees.")
