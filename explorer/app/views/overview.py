"""The Overview page: a run's accuracy, its locator, the tile, and commands for what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch

from explorer.analysis import charts
from explorer.analysis.artefact_index import MAKE_COMMANDS, ArtefactKind
from explorer.app import cache, map_files, widgets
from explorer.app.elements.address import addressed
from explorer.app.plain_text import plain
from explorer.map_view import plan_2d
from explorer.style import tier_label
from uel import __version__
from uel.errors import UelError, quoted
from uel.results.run_summary import run_metrics


@addressed
def page() -> None:
    context = widgets.page_context()
    st.subheader("Locate a phone from its signal reports")
    st.caption(
        "A locator turns reports of signal levels, timing and angles, and maps of the city, into a position with a "
        "calibrated uncertainty. Every accuracy is shown beside the physical limit of the same data."
    )
    if context.run is not None:
        _run_cards(context, context.run)
    else:
        widgets.show_missing("trained run", MAKE_COMMANDS["run"])
    left, middle, right = st.columns([0.9, 1.2, 1.2], gap="medium")
    with left:
        _tile_plan(context)
    with middle:
        _tile_facts(context)
    with right:
        _commands(context)
        _versions(context)


def _run_cards(context: widgets.PageContext, run: Path) -> None:
    locator, metrics = cache.locator(run), run_metrics(run)
    tiers = metrics.get("test", {}).get("tier", {})
    tested = f"tested on {metrics['test']['tile']}" if tiers else f"not tested: uel eval {quoted(run)} --protocol quick"
    cards = {"run": (run.name, tested)}
    for tier, rows in tiers.items():
        ratio = metrics.get("r50", {}).get(tier)
        if "locator" in rows:
            limit = f"limit {rows['grid_bayes']['p50_m']:.1f} m" if "grid_bayes" in rows else "limit unknown"
            more = f"median error; {limit}" + (f", r50 {ratio:.2f}" if ratio else "")
            cards[tier_label(tier)] = (f"{rows['locator']['p50_m']:.1f} m", more)
    widgets.show_cards(cards)
    count = sum(p.numel() for p in locator.parameters())
    config = locator.config
    layers = (config.depth, config.radio_depth)
    if config.encoder == "unet":
        st.caption(f"A U-Net of {config.depth} levels with {count:,} parameters: a baseline without evidence input.")
        return
    widgets.show_chart(
        charts.architecture_chart(config.patches, config.width, layers, count, context.theme), "architecture"
    )


def _tile_plan(context: widgets.PageContext) -> None:
    """Show the tile from above, north up."""
    if context.tile is None:
        return
    ground = map_files.basemap(context.tile.folder, context.theme.name)
    picture = plan_2d.ground_with_buildings(cache.tile(context.tile.folder), ground, context.theme)
    st.markdown("#### From above")
    st.image(np.flipud(picture), width="stretch", alt=f"Plan of {context.tile.name}, north up")
    st.caption(f"{plain(context.tile.name)}: buildings over the ground, north up.")


def _tile_facts(context: widgets.PageContext) -> None:
    st.markdown("#### Tile")
    if context.tile is None:
        widgets.show_missing("tile", MAKE_COMMANDS["tile"])
        return
    tile = cache.tile(context.tile.folder)
    built = tile.rasters["footprint"] > 0.5
    relief = float(tile.rasters["ground"].max() - tile.rasters["ground"].min())
    facts: dict[str, Any] = {
        "name": context.tile.name,
        "side": f"{tile.size:g} m, rasters of {tile.raster_grid.pixel:g} m",
        "built on": f"{float(built.float().mean()):.0%}",
        "relief": f"{relief:.0f} m" if relief > 0.5 else "flat",
        "coordinates": tile.meta.get("crs") or "local metres, not georeferenced",
        "materials": ", ".join(name.removeprefix("itu_") for name in tile.materials if name),
        "folder": str(context.tile.folder),
        "fingerprint": context.tile.fingerprint,
    }
    if context.tile.maps:
        facts["radio map"] = ", ".join(radio.name for radio in context.tile.maps[:3])
    for folder, name in context.tile.surveys[:1]:
        facts["survey"] = _survey(folder, name)
    widgets.show_facts(facts)


def _survey(folder: Any, name: str) -> str:
    try:
        tracks = cache.survey(folder, name)
    except UelError as error:
        return str(error).splitlines()[0]
    return f"{len(tracks.valid)} tracks, {int(tracks.valid.sum())} reports"


def _commands(context: widgets.PageContext) -> None:
    st.markdown("#### Commands")
    commands = {f"{what} of this tile": command for what, command in (context.tile.missing if context.tile else [])}
    kinds: dict[str, ArtefactKind] = {"a run": "run", "a tile": "tile", "a radio map": "map", "a survey": "survey"}
    widgets.show_facts(commands | {what: MAKE_COMMANDS[kind] for what, kind in kinds.items()}, code=True)
    for problem in context.index.problems:
        st.warning(f"Cannot be read: {plain(problem)}")
    tiles, runs = (
        f"{len(artefacts)} {name}{'' if len(artefacts) == 1 else 's'}"
        for artefacts, name in ((context.index.tiles, "tile"), (context.index.runs, "run"))
    )
    st.caption(f"{tiles} and {runs} found in the data folder and in `runs`.")


def _versions(context: widgets.PageContext) -> None:
    st.markdown("#### Versions")
    facts = {"uel": __version__, "torch": torch.__version__, "streamlit": st.__version__}
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    run_versions = run_metrics(context.run).get("versions", {}) if context.run is not None else {}
    if run_versions:
        facts["run made with"] = ", ".join(f"{name} {version}" for name, version in run_versions.items())
    widgets.show_facts(facts)
