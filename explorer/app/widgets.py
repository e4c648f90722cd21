"""Elements that pages share: choice of tile and run, maps in 3-D and 2-D, cards, tables, hints."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.analysis.artefact_index import MAKE_COMMANDS, ArtefactIndex, TileArtefacts
from explorer.app import cache
from explorer.app.elements import controls, exports
from explorer.app.elements.terms import with_meaning
from explorer.app.plain_text import code_block, plain
from explorer.map_view.ground_image import Legend
from explorer.style import Theme, theme_of
from uel.errors import UelError

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
    return controls.select_option(label, key, sorted(names, key=lambda name: name != first), form)


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


def show_link(label: str, address: str, is_action: bool = False) -> None:
    """Show a link to another page; `is_action` makes it the button of the page."""
    kind = "action" if is_action else "link"
    st.html(f"<a class='{kind}' target='_self' href='{html.escape(address, quote=True)}'>{html.escape(label)} ›</a>")


def show_table(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Show rows that all have the same keys; words break before anything is cut. They can be saved as `name`.csv."""
    heads = "".join(f"<th>{with_meaning(title)}</th>" for title in rows[0])
    lines = ["".join(_table_cell(value) for value in row.values()) for row in rows]
    st.html(f"<table class='rows'><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")
    exports.show_csv_button(lambda: rows, name)


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
