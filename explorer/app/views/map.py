"""The Map page: buildings, ground, radio map, sites, phones, and the rays to a picked position."""

from collections.abc import Sequence

import streamlit as st
import torch

from explorer.analysis import charts
from explorer.app import cache, widgets
from explorer.app.plain_text import plain
from explorer.map_view import ground_image, ray_marks
from explorer.map_view import marks as map_marks
from explorer.map_view.ground_image import Image, Legend
from explorer.style import RGB
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.plots import radio_layers
from uel.radio.sites import Site, cells_of
from uel.survey.dataset import TileSurvey

CLICK_SQUARE_SIDE = 8.0  # m, side of the squares that a click picks
CLICK_HELP = "Click the ground or a phone to trace the rays to it. Drag to turn, use the wheel to zoom."
CLICK_HELP_2D = (
    "Click a phone, or type a position in the sidebar, to trace the rays to it. Drag to move, use the wheel to zoom."
)


def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "tile"):
        return
    assert context.tile is not None
    tile = cache.tile(context.tile.folder)
    maps, service = None, {}
    if context.tile.maps:
        maps, service = cache.deployment(context.tile).maps, cache.service_rasters(context.tile.maps[0])
    options = widgets.map_options()
    picture, legend, highlighted = _ground(context, tile, maps, service)
    survey, tracks = _survey(context)
    marks, caption = _marks(tile, maps, survey, tracks, highlighted)
    position = _picked_position(tile, survey)
    paths, seconds = (None, 0.0)
    left, right = st.columns([1.75, 1.0], gap="medium")
    with right:
        if position is not None and maps is not None:
            with widgets.show_errors():
                paths, seconds = _trace(context, position)
        _path_details(context, maps, position, paths, seconds)
        if paths is not None and len(paths.paths.power):
            widgets.show_chart(charts.delay_profile(*ray_marks.path_profile(paths), context.theme), "profile")
    if position is not None:
        marks = marks + map_marks.MapMarks(
            dots=[map_marks.picked_dot(tile, position)], lines=ray_marks.ray_lines(paths) if paths else []
        )
    with left:
        click = (cache.outdoor_squares(context.tile.folder, CLICK_SQUARE_SIDE), CLICK_SQUARE_SIDE)
        buildings_legend = widgets.show_map(
            context, tile, picture, marks, options, key="map", at=position, click=click, pick=_pick
        )
        mark_legend = Legend(title="marks", names=_names(highlighted, survey, tracks, position))
        widgets.show_legends(legend, buildings_legend, mark_legend)
        help_text = CLICK_HELP_2D if options.flat else CLICK_HELP
        st.caption(plain(f"{caption} {help_text}"))


def _ground(
    context: widgets.PageContext, tile: Tile, maps: TileMaps | None, service: dict
) -> tuple[Image, Legend | None, int | None]:
    """The picture on the ground, its legend, and the cell whose values it shows."""
    base = cache.basemap(context.tile.folder, context.theme.name)  # type: ignore[union-attr]
    if maps is None:
        return base, None, None
    radio = maps.radio
    names = [*radio_layers.available_layers(radio, service), "best", "none"]
    titles = {name: layer.title for name, layer in radio_layers.RADIO_LAYERS.items()}
    titles |= {"best": "strongest cell", "none": "none"}
    with st.sidebar:
        name = widgets.select_option("Layer", "layer", names, lambda key: titles[key])
        cells = ["strongest", *(str(n) for n in range(len(radio.gain)))]
        cell = widgets.select_option("Cell", "cell", cells, lambda key: key if key == "strongest" else f"cell {key}")
    if name == "none":
        return base, None, None
    if name == "best":
        return *_strongest(base, maps), None
    number = None if cell == "strongest" else int(cell)
    return *ground_image.paint_radio_layer(base, radio, service, name, number), number


def _strongest(base: Image, maps: TileMaps) -> tuple[Image, Legend]:
    best, known = radio_layers.strongest_cell(maps.radio).numpy(), maps.radio.known.any(0).numpy()
    count = len(maps.radio.gain)
    names = {
        f"cell {n}": ground_image.CATEGORY_COLOURS[n % len(ground_image.CATEGORY_COLOURS)] for n in range(min(count, 8))
    }
    return ground_image.paint_categories(base, best, known), Legend(title="strongest", names=names)


def _survey(context: widgets.PageContext) -> tuple[TileSurvey | None, bool]:
    """The survey whose phones are shown, if any, and whether tracks are shown."""
    assert context.tile is not None
    if not context.tile.surveys:
        return None, False
    with st.sidebar:
        if not st.toggle("Phones of the survey", value=True, key="phones", bind="query-params"):
            return None, False
        tracks = st.toggle("Their tracks", value=False, key="tracks", bind="query-params")
    return cache.survey(*context.tile.surveys[0]), tracks


def _marks(
    tile: Tile, maps: TileMaps | None, survey: TileSurvey | None, tracks: bool, highlighted: int | None
) -> tuple[map_marks.MapMarks, str]:
    """Marks of sites, phones and tracks, and a caption."""
    marks, caption = map_marks.site_marks(_sites(tile, maps), tile, highlighted), ""
    if survey is not None:
        dots, _, caption = map_marks.phone_dots(tile, survey.truth.position[survey.valid].numpy())
        marks, caption = map_marks.MapMarks(dots=[dots]) + marks, f"{caption}."
    if survey is not None and tracks:
        lines, track_caption = map_marks.survey_lines(tile, survey.truth.position, survey.valid)
        marks, caption = map_marks.MapMarks(lines=[lines]) + marks, f"{caption} {track_caption}."
    return marks, caption


def _names(
    highlighted: int | None, survey: TileSurvey | None, tracks: bool, position: list[float] | None
) -> dict[str, RGB]:
    """Colours of marks by name; rays have the colours of the delay profile beside them."""
    names = (
        {"cells": map_marks.VERMILION}
        if highlighted is None
        else {f"cell {highlighted}": map_marks.VERMILION, "other cells": map_marks.GREY}
    )
    names |= ({} if survey is None else {"phones": map_marks.BLUE}) | ({"tracks": map_marks.GREEN} if tracks else {})
    return names | ({} if position is None else {"picked position": map_marks.TRUTH_COLOUR})


def _sites(tile: Tile, maps: TileMaps | None) -> tuple[Site, ...]:
    if maps is not None:
        return maps.radio.sites
    return tile.sites if tile.has_sites else ()


# ---- picked position ----------------------------------------------------------------------------------


def _pick(position: Sequence[float | None], text: str) -> None:
    if text.startswith("phone "):
        st.session_state["phone"], position = int(text.removeprefix("phone ")), [None, None]
    else:
        st.session_state["phone"] = None
    st.session_state["x"], st.session_state["y"] = position


def _picked_position(tile: Tile, survey: TileSurvey | None) -> list[float] | None:
    """The picked position in m, None without one; it can be typed, and the address keeps it."""
    half = tile.size / 2
    with st.sidebar:
        st.markdown("**Picked position**")
        left, right = st.columns(2)
        span = {"min_value": -half, "max_value": half, "value": None, "step": 1.0, "bind": "query-params"}
        x = left.number_input("East in m", key="x", **span)
        y = right.number_input("North in m", key="y", **span)
        phone = None
        if survey is not None:
            last = int(survey.valid.sum()) - 1
            phone = st.number_input(
                "or phone number", min_value=0, max_value=last, value=None, step=1, key="phone", bind="query-params"
            )
    if survey is not None and phone is not None:
        return survey.truth.position[survey.valid][int(phone)].tolist()
    return [float(x), float(y)] if x is not None and y is not None else None


def _trace(context: widgets.PageContext, position: list[float]):
    assert context.tile is not None
    x, y = (round(value, 2) for value in position)
    return cache.trace_rays(context.tile.folder, context.tile.maps[0], x, y)


def _path_details(
    context: widgets.PageContext, maps: TileMaps | None, position: list[float] | None, paths, seconds: float
) -> None:
    if maps is None:
        for what, command in context.tile.missing if context.tile else []:
            widgets.show_missing(what, command)
        return
    if position is None or paths is None:
        _network_details(maps)
        return
    st.markdown(f"**{position[0]:.1f} m east, {position[1]:.1f} m north**".replace("-", "−"))
    strongest = ray_marks.strongest_traced(maps, paths)
    widgets.show_cards(
        {
            "paths": (str(count := len(paths.paths.power)), f"{min(count, ray_marks.MAX_PATHS)} drawn"),
            "time": (f"{seconds:.2f} s", "search and tracing"),
            "strongest": ("–", "no cell")
            if strongest is None
            else (f"{strongest[1]:.0f} dBm".replace("-", "−"), f"cell {strongest[0]}"),
        },
        columns=3,
    )
    if not len(paths.paths.power):
        inside = not bool(cache.tile(context.tile.folder).is_outdoor(torch.tensor(position)))  # type: ignore[union-attr]
        st.info(
            "This position is inside a building. Pick one outdoors."
            if inside
            else "No path to this position was found."
        )
        return
    widgets.show_table(ray_marks.cell_rows(maps, position, paths), "cells at this position")
    st.caption(
        "Values of each cell at this position: RSRP in dBm from the map and from traced paths, TA in steps, "
        "azimuth (az) in °."
    )


def _network_details(maps: TileMaps) -> None:
    """Show the network while no position is picked."""
    radio = maps.radio
    carrier = cells_of(radio.sites)[0][1].carrier
    known = radio.known.any(0)
    widgets.show_cards(
        {
            "sites": (str(len(radio.sites)), f"{len(radio.gain)} cells"),
            "carrier": (f"{carrier.frequency / 1e9:g} GHz", f"{carrier.bandwidth / 1e6:g} MHz wide"),
            "pixel": (f"{radio.grid.pixel:g} m", f"{radio.grid.count} × {radio.grid.count}"),
            "covered": (f"{float(known[maps.prior > 0.5].float().mean()):.0%}", "of outdoor area"),
        },
        columns=2,
    )
    rows = [
        {"cell": n, "x": round(site.position[0], 1), "y": round(site.position[1], 1), "z": round(site.position[2], 1),
         "azimuth": cell.azimuth_deg, "tilt": cell.tilt_deg, "dBm": cell.power_dbm, **cell.identity}
        for n, (site, cell) in enumerate(cells_of(radio.sites))
    ]  # fmt: skip
    widgets.show_table(rows, "cells")
    st.caption("Positions in metres from the tile's centre, angles in degrees.")
