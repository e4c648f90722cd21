"""The Map page: buildings, ground, radio map, sites, phones, measured levels, and the rays to a picked position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.analysis import measured_layers
from explorer.app import cache, map_files, map_scene, widgets
from explorer.app.elements import controls
from explorer.app.elements.address import addressed
from explorer.app.elements.terms import term_help
from explorer.app.map_files import NO_LAYER
from explorer.app.map_scene import Clicks
from explorer.app.plain_text import plain
from explorer.app.views import map_details
from explorer.map_view import marks as map_marks
from explorer.map_view import ray_marks
from explorer.map_view.ground_image import Ground, Legend
from explorer.style import PHONE_COLOUR, PICKED_COLOUR, RGB
from scenes.measured_networks.tile_network import is_network_tile
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.plots import radio_layers
from uel.radio.sites import Site, cells_of
from uel.survey.dataset import TileSurvey

CLICK_HELP = "Click the ground or a phone to trace the rays to it. Drag to turn, use the wheel to zoom."
CLICK_HELP_2D = (
    "Click a phone, or type a position in the sidebar, to trace the rays to it. Drag to move, use the wheel to zoom."
)
TRACED_KEY = "traced_rays"  # session key


@addressed
def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "tile"):
        return
    assert context.tile is not None
    tile, radio = cache.tile(context.tile.folder), next(iter(context.tile.maps), None)
    maps = cache.deployment(context.tile).maps if radio is not None else None
    with st.sidebar:
        st.markdown("**Layers**")
        layer, measured, cell = _layers(context, tile, maps)
        survey, tracks = _survey(context)
        position = _picked_position(tile, survey)
        st.markdown("**Scene**")
        is_covered = layer != NO_LAYER or measured != NO_LAYER
        percent = map_scene.TRANSLUCENT_PERCENT if is_covered else map_scene.OPAQUE_PERCENT
        options = map_scene.map_options(percent)
    ground, legend = _ground(context, layer, cell)
    marks, caption = _marks(tile, maps, survey, tracks)
    legends = [legend]
    if measured != NO_LAYER:
        limits = (legend.low, legend.high) if legend is not None and layer == "rsrp" else None
        areas, measured_legend = cache.measured_layer(context.tile.folder, radio, measured, cell, limits)
        marks, legends = map_marks.MapMarks(areas=[areas]) + marks, [*legends, measured_legend]
    if position is not None:
        marks = marks + map_marks.MapMarks(dots=[map_marks.picked_dot(tile, position)])
    rays = None if position is None or radio is None else RayRequest(context.tile.folder, radio, *position)
    paths, seconds = (None, 0.0) if rays is None or not rays.is_traced else rays.trace()
    if paths is not None:
        marks = marks + map_marks.MapMarks(lines=ray_marks.ray_lines(paths))
    with map_scene.scene("map", context.theme):
        map_scene.show_map(
            context, tile, ground, marks, options, key="map",
            frame=map_scene.frame_of(position),
            legends=[*legends, Legend(title="", names=_names(survey, position))],
            clicks=Clicks(map_files.click_squares(context.tile.folder, radio, layer, cell), _pick),
        )  # fmt: skip
        with map_scene.panel("map"), widgets.show_errors():
            if rays is not None and not rays.is_traced:  # the map is there while they are traced
                rays.trace()
                st.rerun()
            map_details.show_details(context, maps, position, paths, seconds)
            help_text = CLICK_HELP_2D if options.flat else CLICK_HELP
            st.caption(plain(f"{caption} {help_text}"))


@dataclass(frozen=True)
class RayRequest:
    """Rays to a position in m, traced once."""

    folder: Path
    radio: Path
    x: float
    y: float

    @property
    def is_traced(self) -> bool:
        """This visitor has the rays."""
        return st.session_state.get(TRACED_KEY) == self

    def trace(self) -> tuple[Any, float]:
        """The rays, and the time in s that they took."""
        traced = cache.trace_rays(self.folder, self.radio, round(self.x, 2), round(self.y, 2))
        st.session_state[TRACED_KEY] = self
        return traced


# ---- layers --------------------------------------------------------------------------------------------


def _layers(context: widgets.PageContext, tile: Tile, maps: TileMaps | None) -> tuple[str, str, int | None]:
    """The layer on the ground, that of measurements, and the cell whose values they show; None for the strongest."""
    assert context.tile is not None
    titles: dict[str, str] = {}
    measurements: dict[str, str] = {}
    if maps is not None:
        available = radio_layers.available_layers(maps.radio, cache.service_rasters(context.tile.maps[0]))
        titles = {name: radio_layers.RADIO_LAYERS[name].title for name in available}
        titles[map_files.STRONGEST_CELL] = "strongest cell"
    if is_network_tile(context.tile.folder):
        measurements = measured_layers.available_layers(tile, maps is not None)
    layer = _choose("Layer", "layer", titles)
    measured = _choose("Measurements", "measured", measurements)
    if not titles and not measurements:
        return NO_LAYER, NO_LAYER, None
    is_of_cells = layer not in (map_files.STRONGEST_CELL, NO_LAYER) or measured in ("level", "residual")
    cells = ["strongest", *map(str, range(len(cells_of(_sites(tile, maps)))))]
    cell = controls.select_option("Cell", "cell", cells, _cell_label, disabled=not is_of_cells)
    return layer, measured, int(cell) if cell != "strongest" and is_of_cells else None


def _choose(label: str, key: str, titles: Mapping[str, str]) -> str:
    """One of some layers, or none of them."""
    if not titles:
        return NO_LAYER
    names = {**titles, NO_LAYER: "none"}
    return controls.select_option(label, key, list(names), names.__getitem__, help=term_help("RSRP"))


def _cell_label(key: str) -> str:
    return key if key == "strongest" else f"cell {key}"


def _ground(context: widgets.PageContext, layer: str, cell: int | None) -> tuple[Ground, Legend | None]:
    assert context.tile is not None
    base = map_files.basemap(context.tile.folder, context.theme.name)
    if layer == NO_LAYER:
        return Ground(base), None
    overlay, legend = map_files.radio_layer(context.tile.folder, context.tile.maps[0], layer, cell)
    return Ground(base, overlay), legend


def _survey(context: widgets.PageContext) -> tuple[TileSurvey | None, bool]:
    """The survey whose phones are shown, if any, and whether tracks are shown."""
    assert context.tile is not None
    if not context.tile.surveys:
        return None, False
    if not controls.toggle("Phones of the survey", "phones", True):
        return None, False
    tracks = controls.toggle("Their tracks", "tracks", False)
    return cache.survey(*context.tile.surveys[0]), tracks


def _marks(
    tile: Tile, maps: TileMaps | None, survey: TileSurvey | None, tracks: bool
) -> tuple[map_marks.MapMarks, str]:
    """Marks of sites, phones and tracks, and a caption."""
    marks, caption = map_marks.site_marks(_sites(tile, maps), tile), ""
    if survey is not None:
        dots, _, caption = map_marks.phone_dots(tile, survey.truth.position[survey.valid].numpy())
        marks, caption = map_marks.MapMarks(dots=[dots]) + marks, f"{caption}."
    if survey is not None and tracks:
        lines, track_caption = map_marks.survey_lines(tile, survey.truth.position, survey.valid)
        marks, caption = map_marks.MapMarks(lines=[lines]) + marks, f"{caption} {track_caption}."
    return marks, caption


def _names(survey: TileSurvey | None, position: list[float] | None) -> dict[str, RGB] | None:
    """Colours of marks by name; cells have their own, and numbers."""
    names = {} if survey is None else {"phones": PHONE_COLOUR}
    return names | ({} if position is None else {"picked position": PICKED_COLOUR})


def _sites(tile: Tile, maps: TileMaps | None) -> tuple[Site, ...]:
    if maps is not None:
        return maps.radio.sites
    return tile.sites if (tile.folder / "sites.json").is_file() else ()


# ---- picked position ----------------------------------------------------------------------------------


def _pick(position: Sequence[float | None], title: str) -> None:
    if title.startswith("Phone "):
        st.session_state["phone"], position = int(title.removeprefix("Phone ")), [None, None]
    else:
        st.session_state["phone"] = None
    st.session_state["x"], st.session_state["y"] = position


def _picked_position(tile: Tile, survey: TileSurvey | None) -> list[float] | None:
    """The picked position in m, None without one; it can be typed, and the address keeps it."""
    half = tile.size / 2
    st.markdown("**Picked position**")
    left, right = st.columns(2)
    with left:
        x = controls.optional_number("East in m", "x", -half, half, 1.0)
    with right:
        y = controls.optional_number("North in m", "y", -half, half, 1.0)
    phone = None
    if survey is not None:
        phone = controls.optional_number("or phone number", "phone", 0, int(survey.valid.sum()) - 1, 1)
    if survey is not None and phone is not None:
        return survey.truth.position[survey.valid][int(phone)].tolist()
    return [float(x), float(y)] if x is not None and y is not None else None
