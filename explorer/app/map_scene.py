"""Maps that fill the window, in 3-D or as a plan, with a legend in them and a panel over them."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import streamlit as st

from explorer.app import map_files, webgl
from explorer.app.elements import controls, exports
from explorer.app.widgets import PageContext
from explorer.map_view import deck_gl, plan_2d
from explorer.map_view.deck_gl import Camera
from explorer.map_view.ground_image import Ground, Legend
from explorer.map_view.marks import MapMarks
from explorer.map_view.tile_gltf import BuildingColouring
from explorer.style import Theme, css_colour
from uel.geo.tile import Tile

# A scene and what lies over it. On narrow windows the panel stands below the map.
SCENE_STYLE = """<style>
[class*="st-key-scene"] {position: relative; --map-height: max(24rem, calc(100dvh - var(--below-map, 7.6rem)));}
[class*="st-key-scene"] .stElementContainer:has([data-testid="stDeckGlJsonChart"]),
[class*="st-key-scene"] [data-testid="stDeckGlJsonChart"] {height: var(--map-height) !important;}
[class*="st-key-scene"] [data-testid="stFullScreenFrame"]:has([data-testid="stDeckGlJsonChart"]) {height: 100%;}
[class*="st-key-panel"], [class*="st-key-legend"] {border-radius: 0.6rem; padding: 0.5rem 0.75rem; z-index: 3;
  border: 1px solid rgba(128,128,128,0.3); background: PAPER;}
[class*="st-key-legend"] {position: absolute; left: 0.6rem; bottom: 0.6rem; width: fit-content !important;
  max-width: min(30rem, calc(100% - 1.2rem)); pointer-events: none; gap: 0.15rem;}
[class*="st-key-scene"] [class*="-picture"] {position: absolute; left: 0.6rem; top: 0.6rem; z-index: 3;
  width: fit-content !important; background: PAPER; border-radius: 0.5rem;}
[class*="st-key-panel"] > * {flex-shrink: 0;}
@media (min-width: 1000px) {
  [class*="st-key-panel"] {position: absolute; right: 0.6rem; top: 0.6rem; width: 23.5rem !important;
    max-height: calc(100% - 1.2rem); overflow-y: auto; flex-wrap: nowrap;}
  [class*="st-key-legend"] {max-width: calc(100% - 26rem);}
}
@media (max-width: 999px) {
  [class*="st-key-scene"] {--map-height: max(20rem, 62dvh);}
  [class*="st-key-legend"] {position: static; max-width: 100%; width: 100% !important;}
}
</style>"""
OPAQUE_PERCENT, TRANSLUCENT_PERCENT = 100, 30  # of buildings, without and with something on the ground


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Options of maps that the visitor chose."""

    flat: bool
    opacity: float
    """of buildings"""
    camera: Camera
    colouring: BuildingColouring


@dataclass(frozen=True)
class Clicks:
    """What happens when a mark or the ground is clicked."""

    squares: bytes
    """rows of `map_files.click_squares`"""
    pick: Callable[[list[float], str], None]
    """called with the position in m and the title of what was clicked"""


@contextmanager
def scene(key: str, theme: Theme) -> Iterator[None]:
    """A place for a map with its legend and panel."""
    st.html(SCENE_STYLE.replace("PAPER", css_colour(theme.paper, 0.93)))
    with st.container(key=f"scene-{key}"):
        yield


def panel(key: str) -> Any:
    """A panel over the scene's right side."""
    return st.container(key=f"panel-{key}")


def map_options(percent: int, cameras: Sequence[Camera] = tuple(get_args(Camera))) -> MapOptions:
    """Ask for options of maps; `percent` is the opacity of buildings unless another is chosen."""
    plan = webgl.is_missing()
    help_text = "The 2-D view needs no WebGL."
    view = controls.segments("View", "view", ["3-D", "2-D"], help=help_text, disabled=plan)
    if plan:
        st.caption("This browser has no WebGL 2: maps are shown in 2-D.")
    flat = plan or view == "2-D"  # where there is no camera, and buildings are grey
    kinds = list(get_args(BuildingColouring))
    camera = controls.select_option("Camera", "camera", list(cameras), disabled=flat)
    tint = controls.select_option("Buildings", "buildings", kinds, _colouring_label, disabled=flat)
    share = controls.slider("Building opacity in %", "opacity", 10, 100, percent, 10, disabled=flat)
    return MapOptions(flat=flat, opacity=share / 100, camera=camera, colouring=tint)  # type: ignore[arg-type]


def _colouring_label(kind: str) -> str:
    return kind if kind == "plain" else f"by {kind}"


def show_map(
    context: PageContext,
    tile: Tile,
    ground: Ground,
    marks: MapMarks,
    options: MapOptions,
    *,
    key: str,
    frame: Sequence[Sequence[float]] = (),
    legends: Sequence[Legend | None] = (),
    clicks: Clicks | None = None,
    has_panel: bool = True,
) -> None:
    """Show a map with its legends; a close camera shows the positions of `frame` (m), left of a panel."""
    assert context.tile is not None
    if options.flat:
        _show_plan(context, tile, ground, marks, key, clicks)
        _show_legends(key, legends)
        return
    turn = f"-{st.session_state.get('turn', 0)}"
    meshes, buildings_legend = map_files.scene_of(
        context.tile.folder, ground, options.colouring, context.theme.name, options.opacity, key
    )
    window = webgl.window()
    view = deck_gl.view_state(tile, options.camera, frame, window.zoom_step, has_panel and not window.is_narrow)
    deck = deck_gl.build_deck(meshes, marks, context.theme, view, turn)
    if clicks is not None:
        deck.layers.insert(1, deck_gl.clickable_squares(map_files.squares_url(clicks.squares, key), turn))
    st.pydeck_chart(
        deck, key=key, on_select=(lambda: _picked(key, clicks)) if clicks else "ignore",
        alt=f"Three-dimensional map of {context.tile.label}",
    )  # fmt: skip
    _show_legends(key, [*legends, buildings_legend])
    exports.map_picture_button(key, f"{key}-{context.tile.name}")


def _show_legends(key: str, legends: Sequence[Legend | None]) -> None:
    written = "".join(legend.html for legend in legends if legend is not None)
    if written:
        with st.container(key=f"legend-{key}"):
            st.html(written)


def _show_plan(
    context: PageContext, tile: Tile, ground: Ground, marks: MapMarks, key: str, clicks: Clicks | None
) -> None:
    chart = plan_2d.plan_figure(tile, ground.picture, marks, context.theme)
    st.plotly_chart(
        chart, key=f"{key}-flat", width="stretch", config=exports.chart_config(key) | {"scrollZoom": True},
        on_select=(lambda: _picked_flat(f"{key}-flat", clicks)) if clicks else "ignore", selection_mode="points",
    )  # fmt: skip


def _picked(key: str, clicks: Clicks) -> None:
    """Tell what was picked, and renew the layers: nothing stays selected or dimmed."""
    picked = st.session_state[key].selection["objects"]
    st.session_state["turn"] = st.session_state.get("turn", 0) + 1
    for rows in picked.values():
        for row in rows:
            if "p" in row:
                clicks.pick([float(v) for v in row["p"][:2]], str(row.get("title", "")))


def _picked_flat(key: str, clicks: Clicks) -> None:
    for point in st.session_state[key].selection["points"][:1]:
        if point.get("customdata"):
            title = str(point["customdata"][1]).partition("\n")[0]
            clicks.pick([float(point["x"]), float(point["y"])], title)


def frame_of(*positions: Sequence[float] | np.ndarray | None) -> list[list[float]]:
    """Positions in m that a camera frames, those that are known."""
    known = [np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in positions if p is not None]
    return [row for row in np.concatenate(known).tolist() if all(map(math.isfinite, row))] if known else []
