"""Map: buildings, ground, radio map, masts, phones; and the rays to a place that is picked."""

from collections.abc import Sequence

import streamlit as st
import torch

from explorer.analysis import charts
from explorer.app import cache, widgets
from explorer.map_view import ground_image, radio_layers, ray_marks
from explorer.map_view import marks as view
from explorer.map_view.ground_image import Image, Legend
from explorer.style import RGB
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.radio.sites import Site, cells_of
from uel.survey.dataset import TileSurvey

CLICK_SQUARE_SIDE = 8.0  # m, side of the squares that a click picks
CLICK_HELP = "Click the ground or a phone: its rays are traced. Drag turns, the wheel zooms."
CLICK_HELP_2D = "Click a phone, or type a place at the side: its rays are traced. Drag moves, the wheel zooms."


def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "tile"):
        return
    assert context.tile is not None
    tile = cache.tile(context.tile.folder)
    maps, service = cache.tile_maps(context.tile) if context.tile.maps else (None, {})
    options = widgets.map_options()
    picture, legend, strong = _ground(context, tile, maps, service)
    survey, tracks = _survey(context)
    marks, said = _marks(tile, maps, survey, tracks, strong)
    at = _picked_place(tile, survey)
    found, seconds = (None, 0.0)
    left, right = st.columns([1.75, 1.0], gap="medium")
    with right:
        if at is not None and maps is not None:
            found, seconds = _traced(context, at)
        _told(context, maps, at, found, seconds)
        if found is not None and len(found.paths.power):
            widgets.show_chart(charts.delay_profile(*ray_marks.path_profile(found), context.theme), "profile")
    if at is not None:
        marks = marks + view.MapMarks(
            dots=[view.picked_dot(tile, at)], lines=ray_marks.ray_lines(found) if found else []
        )
    with left:
        click = (cache.outdoor_squares(context.tile.folder, CLICK_SQUARE_SIDE), CLICK_SQUARE_SIDE)
        tint = widgets.show_map(context, tile, picture, marks, options, key="map", at=at, click=click, pick=_pick)
        widgets.show_legends(legend, tint, Legend(title="marks", names=_names(strong, survey, tracks, at)))
        how = CLICK_HELP_2D if options.flat else CLICK_HELP
        st.caption(f"{said} {how}")


def _ground(
    context: widgets.PageContext, tile: Tile, maps: TileMaps | None, service: dict
) -> tuple[Image, Legend | None, int | None]:
    """The picture on the ground, its legend, and the cell that it is of."""
    base = cache.basemap(context.tile.folder, context.theme.name)  # type: ignore[union-attr]
    if maps is None:
        return base, None, None
    radio = maps.radio
    names = [*radio_layers.available_layers(radio, service), "best", "none"]
    titles = {name: layer.title for name, layer in radio_layers.RADIO_LAYERS.items()}
    titles |= {"best": "strongest cell", "none": "nothing"}
    with st.sidebar:
        name = widgets.select_option("Layer", "layer", names, lambda key: titles[key])
        cells = ["strongest", *(str(n) for n in range(len(radio.gain)))]
        cell = widgets.select_option("Cell", "cell", cells, lambda key: key if key == "strongest" else f"cell {key}")
    if name == "none":
        return base, None, None
    if name == "best":
        return *_strongest(base, maps), None
    number = None if cell == "strongest" else int(cell)
    values, known = radio_layers.layer_values(name, radio, service, number)
    layer = radio_layers.RADIO_LAYERS[name]
    legend = ground_image.legend_for(layer.title, layer.unit, layer.scale, values[known])
    return ground_image.paint_layer(base, values, known, legend), legend, number


def _strongest(base: Image, maps: TileMaps) -> tuple[Image, Legend]:
    best, known = radio_layers.strongest_cell(maps.radio).numpy(), maps.radio.known.any(0).numpy()
    count = len(maps.radio.gain)
    names = {
        f"cell {n}": ground_image.CATEGORY_COLOURS[n % len(ground_image.CATEGORY_COLOURS)] for n in range(min(count, 8))
    }
    return ground_image.paint_categories(base, best, known), Legend(title="strongest", names=names)


def _survey(context: widgets.PageContext) -> tuple[TileSurvey | None, bool]:
    """The survey whose phones are shown, and whether their tracks are."""
    assert context.tile is not None
    if not context.tile.surveys:
        return None, False
    with st.sidebar:
        if not st.toggle("Phones of the survey", value=True, key="phones", bind="query-params"):
            return None, False
        tracks = st.toggle("Their tracks", value=False, key="tracks", bind="query-params")
    return cache.survey(*context.tile.surveys[0]), tracks


def _marks(
    tile: Tile, maps: TileMaps | None, survey: TileSurvey | None, tracks: bool, strong: int | None
) -> tuple[view.MapMarks, str]:
    """Masts, phones and their tracks, and what to say of them."""
    marks, said = view.site_marks(_sites(tile, maps), tile, strong), ""
    if survey is not None:
        dots, _, said = view.phone_dots(tile, survey.truth.position[survey.valid].numpy())
        marks, said = view.MapMarks(dots=[dots]) + marks, f"{said}."
    if survey is not None and tracks:
        lines, more = view.survey_lines(tile, survey.truth.position, survey.valid)
        marks, said = view.MapMarks(lines=[lines]) + marks, f"{said} {more}."
    return marks, said


def _names(strong: int | None, survey: TileSurvey | None, tracks: bool, at: list[float] | None) -> dict[str, RGB]:
    """What the colours of marks mean; rays have those of the delay profile beside them."""
    names = (
        {"cells": view.VERMILION} if strong is None else {f"cell {strong}": view.VERMILION, "other cells": view.GREY}
    )
    names |= ({} if survey is None else {"phones": view.BLUE}) | ({"tracks": view.GREEN} if tracks else {})
    return names | ({} if at is None else {"picked place": view.TRUTH_COLOUR})


def _sites(tile: Tile, maps: TileMaps | None) -> tuple[Site, ...]:
    if maps is not None:
        return maps.radio.sites
    return tile.sites if (tile.folder / "sites.json").is_file() else ()


# ---- a place that is picked ----------------------------------------------------------------------------


def _pick(place: Sequence[float | None], told: str) -> None:
    if told.startswith("phone "):
        st.session_state["phone"], place = int(told.removeprefix("phone ")), [None, None]
    else:
        st.session_state["phone"] = None
    st.session_state["x"], st.session_state["y"] = place


def _picked_place(tile: Tile, survey: TileSurvey | None) -> list[float] | None:
    """Where rays go to; the address holds it, and it can be typed."""
    half = tile.size / 2
    with st.sidebar:
        st.markdown("**Picked place**")
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


def _traced(context: widgets.PageContext, at: list[float]):
    assert context.tile is not None
    tile, radio = str(context.tile.folder), str(context.tile.maps[0])
    return cache.trace_rays(tile, radio, round(at[0], 2), round(at[1], 2), cache.modified_time(context.tile.folder, "tile"))


def _told(context: widgets.PageContext, maps: TileMaps | None, at: list[float] | None, found, seconds: float) -> None:
    if maps is None:
        for what, command in context.tile.missing if context.tile else []:
            widgets.show_missing(what, command)
        return
    if at is None:
        _network(maps)
        return
    st.markdown(f"**{at[0]:.1f} m east, {at[1]:.1f} m north**".replace("-", "−"))
    strongest = ray_marks.strongest_traced(maps, found)
    widgets.show_cards(
        {
            "paths": (str(count := len(found.paths.power)), f"{min(count, ray_marks.MAX_PATHS)} drawn"),
            "traced in": (f"{seconds:.2f} s", "with search"),
            "strongest": ("–", "no cell")
            if strongest is None
            else (f"{strongest[1]:.0f} dBm".replace("-", "−"), f"cell {strongest[0]}"),
        },
        columns=3,
    )
    if not len(found.paths.power):
        inside = not bool(cache.tile(context.tile.folder).is_outdoor(torch.tensor(at)))  # type: ignore[union-attr]
        st.info("This place lies in a building. Pick one outdoors." if inside else "No ray was found to this place.")
        return
    widgets.show_table(ray_marks.cell_rows(maps, at, found))
    st.caption("What each cell would report: RSRP in dBm by the map and as traced, TA in steps, azimuth (az) in °.")


def _network(maps: TileMaps) -> None:
    """What there is, while nothing is picked."""
    radio = maps.radio
    carrier = cells_of(radio.sites)[0][1].carrier
    known = radio.known.any(0)
    widgets.show_cards(
        {
            "sites": (str(len(radio.sites)), f"{len(radio.gain)} cells"),
            "carrier": (f"{carrier.frequency / 1e9:g} GHz", f"{carrier.bandwidth / 1e6:g} MHz wide"),
            "pixel": (f"{radio.grid.pixel:g} m", f"{radio.grid.count} × {radio.grid.count}"),
            "covered": (f"{float(known[maps.prior > 0.5].float().mean()):.0%}", "of the outdoors"),
        },
        columns=2,
    )
    rows = [
        {"cell": n, "x": round(site.position[0], 1), "y": round(site.position[1], 1), "z": round(site.position[2], 1),
         "azimuth": cell.azimuth_deg, "tilt": cell.tilt_deg, "dBm": cell.power_dbm}
        for n, (site, cell) in enumerate(cells_of(radio.sites))
    ]  # fmt: skip
    widgets.show_table(rows)
    st.caption("Positions in metres from the tile's centre, angles in degrees.")
