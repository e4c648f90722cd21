"""Elements that pages share: choice of tile and run, maps in 3-D and 2-D, cards, tables, hints."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import streamlit as st

from explorer.analysis.artefact_index import MAKE_COMMANDS, ArtefactIndex, TileArtefacts
from explorer.app import cache, webgl
from explorer.app.elements import exports
from explorer.app.elements.terms import with_meaning
from explorer.app.plain_text import code_block, plain
from explorer.map_view import deck_gl, plan_2d, tile_gltf
from explorer.map_view.ground_image import Image, Legend
from explorer.map_view.marks import MapMarks
from explorer.map_view.tile_gltf import BuildingColouring
from explorer.style import Theme, theme_of
from uel.deprecated_names import current_code
from uel.errors import UelError
from uel.geo.tile import Tile

MAP_HEIGHT = 560
SHORT_TEXT_LENGTH = 10  # letters of a text in a table that is not broken


@dataclass(frozen=True)
class PageContext:
    """The tile, run and theme that the visitor chose."""

    index: ArtefactIndex
    tile: TileArtefacts | None
    run: Path | None
    theme: Theme


def page_context() -> PageContext:
    """Ask for tile and run in the sidebar; `?place=…&run=…` in the address chooses them, too."""
    index = cache.artefacts()
    with st.sidebar:
        labels = {tile.name: tile.label for tile in index.tiles}
        name = _chosen("Place", "place", list(labels), index.first_tile, labels.__getitem__)
        run_name = _chosen("Run", "run", [run.name for run in index.runs], index.run.name if index.run else "")
        exports.copy_link_button()
    run = next((run for run in index.runs if run.name == run_name), None)
    return PageContext(index, index.tile(name or "", run), run, theme_of(st.context.theme.type))


def _chosen(label: str, key: str, names: list[str], first: str, form: Callable[[str], str] = str) -> str | None:
    if not names:
        return None
    return select_option(label, key, sorted(names, key=lambda name: name != first), form)


def select_option(
    label: str,
    key: str,
    names: Sequence[str],
    form: Callable[[str], str] = str,
    **more: Any,
) -> str:
    """Ask for one of `names` in the sidebar; the address keeps the name (Streamlit's own binding keeps the label).

    Links with codes of older versions are understood. `more` goes to Streamlit's element.
    """
    asked = st.query_params.get(key)
    asked = current_code(key, asked)
    wanted = st.session_state.get(key, asked)
    st.session_state[key] = wanted if wanted in names else names[0]
    chosen = st.selectbox(label, list(names), key=key, format_func=form, **more)
    if chosen == names[0]:
        st.query_params.pop(key, None)
    elif chosen != asked:
        st.query_params[key] = chosen
    return chosen


@contextmanager
def show_errors() -> Iterator[None]:
    """Show errors of users and of damaged files on the page."""
    try:
        yield
    except UelError as error:
        what, *more = str(error).splitlines()
        st.error("\n\n".join([f"**{plain(what)}**", *map(plain, more)]))
    except OSError as error:  # removed while the page was open
        st.error(f"**a file cannot be read**\n\ngot: {plain(error)}\n\ndo: reload the page, and check the folder")


def show_missing(what: str, command: str) -> None:
    """Say that something is missing, with the command that makes it."""
    st.info(f"There is no {plain(what)} yet. This command makes it:\n\n{code_block(command)}")


def require_artefacts(context: PageContext, kind: str) -> bool:
    """Whether there is a tile, with a radio map unless `kind` is "tile", and a run if it is "run"; shows what is
    missing."""
    if context.tile is None:
        show_missing("tile", MAKE_COMMANDS["tile"])
        return False
    if kind == "tile":
        return True
    if not context.tile.maps:
        show_missing(
            f"radio map of {context.tile.name}",
            context.tile.missing[-1][1] if context.tile.missing else MAKE_COMMANDS["map"],
        )
        return False
    if kind == "run" and context.run is None:
        show_missing("trained run", MAKE_COMMANDS["run"])
        return False
    return True


def show_cards(values: Mapping[str, tuple[str, str]], columns: int = 0, links: Mapping[str, str] | None = None) -> None:
    """Show values in boxes, as {name: (value, note)}; 0 columns: as many as fit; `links`: addresses by name."""
    boxes = "".join(_card(name, value, more, (links or {}).get(name)) for name, (value, more) in values.items())
    style = f" style='grid-template-columns: repeat({columns}, 1fr)'" if columns else ""
    st.html(f"<div class='cards'{style}>{boxes}</div>")


def _card(name: str, value: str, more: str, link: str | None) -> str:
    title = html.escape(name) if link else with_meaning(name)
    inside = (
        f"<div class='name'>{title}</div><div class='value'>{html.escape(value)}</div>"
        f"<div class='more'>{html.escape(more)}</div>"
    )
    if link is None:
        return f"<div class='card'>{inside}</div>"
    return f"<a class='card' target='_self' href='{html.escape(link, quote=True)}'>{inside}</a>"


def show_table(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Show rows that all have the same keys; words break before anything is cut. They can be saved as `name`.csv."""
    heads = "".join(f"<th>{with_meaning(title)}</th>" for title in rows[0])
    lines = ["".join(_table_cell(value) for value in row.values()) for row in rows]
    st.html(f"<table class='rows'><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")
    exports.show_csv_button(rows, name)


def _table_cell(value: Any) -> str:
    """Numbers and short texts stay on one line."""
    text = _written(value)
    kind = " class='short'" if len(text) < SHORT_TEXT_LENGTH else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def show_facts(values: Mapping[str, Any], code: bool = False) -> None:
    """Show names and values below each other; `code`: values are commands."""
    kind = " class='code'" if code else ""
    lines = [
        f"<td>{html.escape(name)}</td><td{kind}>{html.escape(_written(value))}</td>" for name, value in values.items()
    ]
    st.html(f"<table class='rows facts'>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value).replace("-", "−") if isinstance(value, int | float) else str(value)


def show_legends(*shown: Legend | None) -> None:
    """Show legends below a map; None is skipped."""
    written = "".join(legend.html for legend in shown if legend is not None)
    if written:
        st.html(written)


def show_chart(figure: Any, key: str) -> None:
    """Show a chart as wide as the page; it can be saved as `key`.png."""
    st.plotly_chart(figure, key=key, width="stretch", config=exports.chart_config(key))


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Options of maps that the visitor chose."""

    flat: bool
    opacity: float
    """of buildings"""
    camera: deck_gl.Camera
    colouring: BuildingColouring


def map_options(opacity: float = 1.0) -> MapOptions:
    """Ask for options of maps in the sidebar; `opacity` of buildings is the page's default."""
    kinds = list(get_args(BuildingColouring))
    with st.sidebar:
        plan = webgl.is_missing()
        shown = st.segmented_control(
            "View", ["3-D", "2-D"], default="3-D", key="view", bind="query-params", help="The 2-D view needs no WebGL.",
            disabled=plan,
        )  # fmt: skip
        if plan:
            st.caption("This browser has no WebGL 2: maps are shown in 2-D.")
        flat = plan or shown == "2-D"  # where there is no camera, and buildings are grey
        camera = select_option("Camera", "camera", list(deck_gl.CAMERA_VIEWS), disabled=flat)
        tint = select_option(
            "Buildings", "buildings", kinds, lambda kind: kind if kind == "plain" else f"by {kind}", disabled=flat
        )
        percent = st.slider(
            "Building opacity in %", 10, 100, round(100 * opacity), 10, key="opacity", bind="query-params",
            disabled=flat,
        )  # fmt: skip
    return MapOptions(flat=flat, opacity=percent / 100, camera=camera, colouring=tint)  # type: ignore[arg-type]


def show_map(
    context: PageContext,
    tile: Tile,
    ground: Image,
    marks: MapMarks,
    options: MapOptions,
    *,
    key: str,
    at: Sequence[float] | None = None,
    click: tuple[np.ndarray, float] | None = None,
    pick: Callable[[list[float], str], None] | None = None,
) -> Legend | None:
    """Show a map; returns the legend of its buildings.

    `click` holds centres (n, 2) in m of squares that can be picked, and their side in m; `pick` is called with the
    position and the text of what was picked.
    """
    assert context.tile is not None
    if options.flat:
        chart = plan_2d.plan_figure(tile, ground, marks, context.theme)
        st.plotly_chart(
            chart, key=f"{key}-flat", width="stretch", config=exports.chart_config(key) | {"scrollZoom": True},
            on_select=(lambda: _picked_flat(f"{key}-flat", pick)) if pick else "ignore", selection_mode="points",
        )  # fmt: skip
        return None
    turn = f"-{st.session_state.get('turn', 0)}"
    buildings, legend = cache.buildings(context.tile.folder, options.colouring, context.theme.name)
    ground_mesh = tile_gltf.ground_glb(tile, ground)
    meshes = {"ground": ground_mesh, "buildings": buildings, "pole": tile_gltf.pole_glb()}
    stage = deck_gl.MapScene(
        **{n: cache.media_url(m, f"{key}-{n}") for n, m in meshes.items()}, opacity=options.opacity
    )
    deck = deck_gl.build_deck(tile, stage, marks, context.theme, options.camera, at, turn)
    if click is not None:
        deck.layers.insert(1, deck_gl.clickable_squares(tile, *click, turn))
    st.pydeck_chart(
        deck, key=key, height=MAP_HEIGHT, on_select=(lambda: _picked(key, pick)) if pick else "ignore",
        alt=f"Three-dimensional map of {context.tile.label}",
    )  # fmt: skip
    exports.map_picture_button(key, f"{key}-{context.tile.name}")
    return legend


def _picked(key: str, pick: Callable[[list[float], str], None] | None) -> None:
    """Call `pick` with what was picked, and renew the layers: nothing stays selected or dimmed."""
    picked = st.session_state[key].selection["objects"]
    st.session_state["turn"] = st.session_state.get("turn", 0) + 1
    for rows in picked.values():
        for row in rows:
            if pick is not None and "p" in row:
                pick([float(v) for v in row["p"][:2]], str(row.get("text", "")))


def _picked_flat(key: str, pick: Callable[[list[float], str], None] | None) -> None:
    for point in st.session_state[key].selection["points"][:1]:
        if pick is not None and point.get("customdata"):
            pick([float(point["x"]), float(point["y"])], str(point["customdata"][1]))
