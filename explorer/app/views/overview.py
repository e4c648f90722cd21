"""The Overview page: what this is, how good it is, places to look at, and the state of the machine."""

import html
from base64 import b64encode
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.analysis.artefact_index import MAKE_COMMANDS, ArtefactKind, TileArtefacts
from explorer.analysis.place_names import place_label
from explorer.app import cache, map_files, widgets
from explorer.app.elements.address import addressed, link_to
from explorer.app.elements.progress import Progress, with_progress
from explorer.app.elements.terms import show_terms, term_help
from explorer.app.plain_text import plain
from explorer.app.views import machine_state
from explorer.style import Theme, tier_label
from uel.errors import UelError, quoted
from uel.results.run_summary import run_metrics

TIER_WORDS = {"rsrp": "levels", "rsrp_ta": "levels and range", "rsrp_ta_azimuth": "levels, range and direction"}
GALLERY_PLACES = 12  # pictures; the others are in the sidebar
PAGE_TERMS = ("RSRP", "TA", "tier", "locator", "median", "limit", "reference", "map truth", "path truth")


@addressed
def page() -> None:
    context = widgets.page_context()
    st.title("Locate a phone from what it hears")
    st.markdown(
        "From the signal levels, ranges and directions that a phone reports, and a 3-D map of the city, a trained "
        "locator says **where the phone is**, and **how sure** that is. It needs no GPS."
    )
    if context.run is None:
        widgets.show_missing("trained run", MAKE_COMMANDS["run"])
    else:
        widgets.show_link("Locate a phone", link_to("live"), is_action=True)
        _accuracy(context.run)
    _gallery(context)
    if context.run is not None:
        _architecture(context.run)
    machine_state.show_state(context.run)
    _place_facts(context)
    _commands(context)
    show_terms(*PAGE_TERMS)


# ---- accuracy ------------------------------------------------------------------------------------------


def _accuracy(run: Path) -> None:
    """Show cards of the run's median errors, under the truth that is favourable and under the other, by tier."""
    metrics = run_metrics(run)
    cards, links = {}, {}
    for tier in list(metrics.get("test", {}).get("tier", {}))[::-1][:2]:
        for test, truth, yardstick in (("test", "map", "limit"), ("test_paths", "paths", "reference")):
            rows = metrics.get(test, {}).get("tier", {}).get(tier, {})
            if "locator" not in rows:
                continue
            words = "drawn from the map" if truth == "map" else "traced ray by ray"
            name = f"{TIER_WORDS.get(tier, tier_label(tier))}, {words}"
            known = rows.get("grid_bayes")
            beside = f"; {yardstick} {known['p50_m']:.1f} m" if known else ""
            cards[name] = (f"{rows['locator']['p50_m']:.1f} m", f"median error{beside}")
            links[name] = link_to("metrics", truth=truth, tier=tier)
    if not cards:
        st.info(f"This run has not been tested: {plain(f'uel eval {quoted(run)} --protocol quick')}")
        return
    st.subheader("How good it is", help=term_help("map truth", "path truth", "limit", "reference"))
    widgets.show_cards(cards, links=links)
    place = place_label(str(metrics["test"].get("tile", "an unknown place")))
    st.caption(
        f"Median errors on {plain(place)}. Reports are drawn from the map that the locator gets, which has no errors "
        "then, or traced ray by ray, as nature does. Beside each is what is possible, or a yardstick."
    )


# ---- places --------------------------------------------------------------------------------------------


def _gallery(context: widgets.PageContext) -> None:
    """Show a picture of each place, which leads to its map."""
    places = context.index.tiles[:GALLERY_PLACES]
    st.subheader("Places")
    if not places:
        widgets.show_missing("tile", MAKE_COMMANDS["tile"])
        return

    def draw(progress: Progress) -> list[str]:
        progress.expect(len(places))
        boxes = []
        for tile in places:
            boxes.append(_place_card(tile, context.theme))
            progress.add(1)
        return boxes

    boxes = with_progress("Drawing places …", draw)
    links = [html.escape(link_to("map", place=tile.name), quote=True) for tile in places]
    cards = [f"<a class='card' target='_self' href='{link}'>{box}</a>" for link, box in zip(links, boxes, strict=True)]
    st.html(f"<div class='places'>{''.join(cards)}</div>")
    if len(context.index.tiles) > len(places):
        st.caption(f"{len(context.index.tiles) - len(places):d} more can be chosen in the sidebar.")


def _place_card(tile: TileArtefacts, theme: Theme) -> str:
    name = html.escape(tile.label)
    try:
        picture = b64encode(map_files.thumbnail(tile.folder, theme.name)).decode()
        image = f"<img src='data:image/jpeg;base64,{picture}' alt='Plan of {html.escape(tile.label, quote=True)}'>"
    except (UelError, OSError):  # said in full where the place is opened
        image = "<div class='more'>no picture: its files are damaged</div>"
    parts = [("radio map", bool(tile.maps)), ("survey", bool(tile.surveys))]
    more = ", ".join(word for word, is_there in parts if is_there) or "buildings only"
    return f"{image}<div class='name'>{name}</div><div class='more'>{more}</div>"


def _place_facts(context: widgets.PageContext) -> None:
    if context.tile is None:
        return
    tile = cache.tile(context.tile.folder)
    built = tile.rasters["footprint"] > 0.5
    relief = float(tile.rasters["ground"].max() - tile.rasters["ground"].min())
    facts: dict[str, Any] = {
        "side": f"{tile.size:g} m, rasters of {tile.raster_grid.pixel:g} m",
        "built on": f"{float(built.float().mean()):.0%}",
        "relief": f"{relief:.0f} m" if relief > 0.5 else "flat",
        "coordinates": tile.meta.get("crs") or "local metres, not georeferenced",
        "materials": ", ".join(name.removeprefix("itu_") for name in tile.materials if name),
        "name in files": context.tile.name,
        "folder": str(context.tile.folder),
        "fingerprint": context.tile.fingerprint,
    }
    if context.tile.maps:
        facts["radio map"] = ", ".join(radio.name for radio in context.tile.maps[:3])
    for folder, name in context.tile.surveys[:1]:
        facts["survey"] = _survey(folder, name)
    with st.expander(f"About {plain(context.tile.label)}"):
        widgets.show_facts(facts)


def _survey(folder: Any, name: str) -> str:
    try:
        tracks = cache.survey(folder, name)
    except UelError as error:
        return str(error).splitlines()[0]
    return f"{len(tracks.valid)} tracks, {int(tracks.valid.sum())} reports"


# ---- how it works --------------------------------------------------------------------------------------


def _architecture(run: Path) -> None:
    """Show the steps from a report to a fix, left to right, or below each other where there is little room."""
    st.subheader("How it works", help=term_help("locator", "RSRP", "TA"))
    locator = cache.locator(run)
    count = sum(p.numel() for p in locator.parameters())
    config = locator.config
    if config.encoder == "unet":
        st.caption(f"A U-Net of {config.depth} levels with {count:,} parameters: a baseline without evidence input.")
        return
    steps = {
        "report": "signal levels, range and direction, as the phone says them",
        "maps of the city": "buildings, and where each cell is heard how strongly",
        "evidence": "how well each square of the map explains the report",
        "network": f"{config.radio_depth} layers over cells, {config.depth} over {config.patches} × {config.patches} "
        "patches; it weighs the evidence, and where the map may be wrong",
        "fix": "a position, a density over the city, and its uncertainty",
    }
    boxes = [
        f"<div class='step'><b>{number}. {name}</b><br>{html.escape(text)}</div>"
        for number, (name, text) in enumerate(steps.items(), start=1)
    ]
    st.html(f"<div class='steps'>{''.join(boxes)}</div>")
    st.caption(f"{count:,} parameters, width {config.width:d}. The evidence also goes straight to the density.")


def _commands(context: widgets.PageContext) -> None:
    commands = {f"{what} of this place": command for what, command in (context.tile.missing if context.tile else [])}
    kinds: dict[str, ArtefactKind] = {"a run": "run", "a place": "tile", "a radio map": "map", "a survey": "survey"}
    tiles, runs = (
        f"{len(artefacts)} {name}{'' if len(artefacts) == 1 else 's'}"
        for artefacts, name in ((context.index.tiles, "place"), (context.index.runs, "run"))
    )
    with st.expander("Commands that make more"):
        widgets.show_facts(commands | {what: MAKE_COMMANDS[kind] for what, kind in kinds.items()}, code=True)
        st.caption(f"{tiles} and {runs} found in the data folder and in `runs`.")
    for problem in context.index.problems:
        st.warning(f"Cannot be read: {plain(problem)}")
