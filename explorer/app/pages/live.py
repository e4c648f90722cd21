"""Live inference: reports through time, and where the locator takes the phone to be."""

import json
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import streamlit as st
import torch

from explorer.analysis import attention, charts, report_sources, single_fix
from explorer.analysis.report_sources import ReportSource
from explorer.analysis.single_fix import ExplainedFix, TimedFix
from explorer.app import cache, widgets
from explorer.app.pages.metrics import PHONES
from explorer.map_view import ground_image
from explorer.map_view import marks as view
from explorer.map_view.ground_image import Image, Legend
from explorer.style import BLUE, RGB
from uel.estimation.credible_regions import hpd_outlines
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference import geojson
from uel.measurement import report_io
from uel.measurement.report_io import ReportSequence
from uel.measurement.tiers import TIERS
from uel.models.locator import Locator

SOURCE_LABELS = {
    "walk": "a walk",
    "phones": "phones of the trial",
    "survey": "a track of the survey",
    "upload": "a file",
}
REFINEMENT_LABELS = {"map": "on the map", "rt": "on the map, then by rays", "none": "none"}
PLAY_PERIOD_S = 1.5  # s between reports while playing


def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    locator, (maps, _) = cache.locator(context.run), cache.tile_maps(context.tile)
    options = widgets.map_options(opacity=0.3)
    with st.sidebar:
        refine: Any = widgets.select_option(
            "Refinement", "refine", list(REFINEMENT_LABELS), REFINEMENT_LABELS.__getitem__
        )
        densities = ["refined"] * (refine != "none") + ["locator", "grid Bayes"]
        shown = widgets.select_option("Density", "density", densities)
    story = _story(context, locator, maps)
    if story is None:
        return
    playing = st.sidebar.toggle("Play", key="playing", disabled=len(story) < 2)
    tile = cache.tile(context.tile.folder)
    moving = st.fragment(_moment, run_every=PLAY_PERIOD_S if playing else None)
    moving(context, tile, maps, locator, story, options, shown, refine, playing)
    _timeline(context, story)


# ---- what is located -----------------------------------------------------------------------------------


def _story(context: widgets.PageContext, locator: Locator, maps: TileMaps) -> ReportSource | None:
    assert context.tile is not None
    with st.sidebar:
        source = widgets.select_option("Reports of", "source", list(SOURCE_LABELS), SOURCE_LABELS.__getitem__)
        tier = widgets.select_option("Tier", "tier", TIERS[::-1], lambda name: charts.TIER_NAMES[name])
    model = locator.measurement
    tile = cache.tile(context.tile.folder)
    if source == "upload":
        return _uploaded(len(maps.radio.gain))
    if source == "phones":
        done = cache.run_phone_trial(
            str(context.run), str(tile.folder), str(context.tile.maps[0]), None, tier, PHONES, seed=1
        )
        count = len(done.phones)
        story = ReportSource(
            ReportSequence(torch.arange(count).float(), done.phones.reports),
            done.phones.position,
            "phones drawn from the map",
        )
        return story
    if source == "survey" and not context.tile.surveys:
        widgets.show_missing(f"survey of {context.tile.name}", context.tile.missing[-1][1])
        return None
    if source == "survey":
        survey = cache.survey(*context.tile.surveys[0])
        track = _number("Track", "track", len(survey.valid) - 1)
        story = report_sources.survey_source(survey, model, track, seed=0)
    else:
        story = report_sources.walk_source(tile, maps, model, _number("Number of the walk", "walk", 9999))
    return ReportSource(
        ReportSequence(story.timeline.time, story.timeline.reports.with_tier(tier)), story.truth, story.text
    )


def _number(label: str, key: str, last: int) -> int:
    with st.sidebar:
        return int(st.number_input(label, 0, last, 0, 1, key=key, bind="query-params"))


def _uploaded(cells: int) -> ReportSource | None:
    file = st.file_uploader("Reports as JSON", type="json", key="upload", max_upload_size=1)
    if file is None:
        st.info(
            f"Give reports of the {cells} cells of this place, at most {report_io.MAX_BYTES // 1000} kB, schema "
            f"`{report_io.SCHEMA}`. The other sources offer theirs for download, below the map."
        )
        return None
    return report_sources.file_source(file.getvalue(), cells)


# ---- one moment ----------------------------------------------------------------------------------------


def _moment(
    context: widgets.PageContext,
    tile: Tile,
    maps: TileMaps,
    locator: Locator,
    story: ReportSource,
    options: widgets.MapOptions,
    shown: str,
    refine: single_fix.RefinementMode,
    playing: bool,
) -> None:
    with widgets.show_errors():
        now = _now(len(story), playing)
        found = _answered(context, story, now, refine)
        left, right = st.columns([1.75, 1.0], gap="medium")
        with left:
            _map(context, tile, story, now, found, options, shown)
        with right:
            _figures(story, now, found)
        st.markdown("**Evidence**: log-likelihood of the report at every pixel, by feature")
        _evidence(tile, story, now, found)
        left, right = st.columns([1.75, 1.0], gap="medium")
        with left:
            _attention(maps, locator, story, now)
        with right:
            _downloads(tile, story, now, found)
        st.markdown("**Measurements** of all reports")
        st.html(charts.now_line(story.timeline.time.numpy(), now))


def _evidence(tile: Tile, story: ReportSource, now: int, found: ExplainedFix) -> None:
    """Pictures, not charts: a browser draws three charts anew in half a second."""
    truth = None if story.truth is None else story.truth[now].tolist()
    for column, (name, values) in zip(
        st.columns(len(found.evidence), gap="small"), found.evidence.items(), strict=True
    ):
        column.image(ground_image.evidence_image(values, tile.size, truth), caption=name, width="stretch")
    widgets.show_legends(ground_image.EVIDENCE_LEGEND)


def _answered(
    context: widgets.PageContext, story: ReportSource, now: int, refine: single_fix.RefinementMode
) -> ExplainedFix:
    assert context.run is not None
    assert context.tile is not None
    with st.spinner("Tracing rays to the likeliest places …") if refine == "rt" else nullcontext():
        return cache.explain_report(context.run, context.tile, story.timeline.reports[now : now + 1], refine)


def _now(count: int, playing: bool) -> int:
    if count < 2:
        return 0
    if playing:
        st.session_state["number"] = (int(st.session_state.get("number", 0)) + 1) % count
    elif st.session_state.get("number", 0) >= count:
        st.session_state["number"] = 0
    return int(st.slider("Report", 0, count - 1, key="number", bind="query-params"))


def _map(
    context: widgets.PageContext,
    tile: Tile,
    story: ReportSource,
    now: int,
    found: ExplainedFix,
    options: widgets.MapOptions,
    shown: str,
) -> None:
    said = found.before if shown == "locator" else found.final
    pixels = found.posterior if shown == "grid Bayes" else said.heatmap
    base = cache.basemap(context.tile.folder, context.theme.name)  # type: ignore[union-attr]
    picture, legend = density_image(base, pixels.numpy(), said.grid.pixel)
    truth = None if story.truth is None else story.truth[now].tolist()
    marks = view.MapMarks(
        lines=[view.region_lines(tile, hpd_outlines(pixels, said.grid, share), share) for share in geojson.HPD_LEVELS]
    )
    if story.truth is not None and story.text.startswith(("a ped", "track")) and len(story) > 1:
        way = view.track_lines(tile, story.truth.numpy(), "way", "true way", BLUE)
        marks = marks + view.MapMarks(lines=[way])
    refined = found.after and found.after.position
    marks = marks + view.fix_marks(tile, truth, found.before.position, found.limit, said.candidates, refined)
    serving = int(story.timeline.reports.serving[now])
    sites = cache.tile_maps(context.tile)[0].radio.sites  # type: ignore[arg-type]
    marks = view.site_marks(sites, tile, serving) + marks
    widgets.show_map(context, tile, picture, marks, options, key="live", at=found.final.position)
    widgets.show_legends(legend, Legend(title="marks", names=_names(refined is not None)))
    st.caption(f"Reports of {story.text}. The serving cell stands out; candidates are hollow.")


def _names(refined: bool) -> dict[str, RGB]:
    names = {"truth": view.TRUTH_COLOUR, "locator": view.LOCATOR_COLOUR} | (
        {"refined": view.REFINED_COLOUR} if refined else {}
    )
    more = {"candidates": view.GREEN, "50 % region": view.VERMILION, "90 % region": view.ORANGE}
    return names | {"grid Bayes": view.LIMIT_COLOUR} | more


def density_image(base: Image, pixels: np.ndarray, pixel: float) -> tuple[Image, Legend]:
    """A density over the ground, by the root of it: lesser hypotheses stay visible beside a sharp peak."""
    dense = pixels / pixel**2 * 1e4  # % per 100 m²
    top = max(float(np.quantile(dense, 0.9995)), 1e-9)
    root = np.sqrt(np.clip(dense / top, 0, 1))
    legend = Legend(title="density", unit="% per 100 m², colours by its root", scale="viridis", low=0.0, high=top)
    faint = np.clip(3.0 * root, 0.0, 0.85)
    return ground_image.paint_layer(base, root * top, np.ones_like(root, dtype=bool), legend, faint), legend


def _figures(story: ReportSource, now: int, found: ExplainedFix) -> None:
    reports, last = story.timeline.reports, found.final
    truth = None if story.truth is None else story.truth[now].tolist()
    shown = {
        "position": (f"{last.position[0]:.0f}, {last.position[1]:.0f} m".replace("-", "−"), "east, north"),
        "uncertainty": (f"± {last.std:.0f} m", f"entropy {float(last.fix.entropy()[0]):.2f} nat"),
        "cells heard": (str(int(reports.heard[now].sum())), f"cell {int(reports.serving[now])} serves"),
        "latency": _latency(found),
    }
    widgets.show_cards(shown, columns=2)
    widgets.show_table(_before_after(found, truth))
    st.caption("± is the root of a covariance's trace; grid Bayes is the evidence alone, without the network.")
    rows = [
        {"": n + 1, "probability": f"{p:.1%}", "x m": round(xy[0], 1), "y m": round(xy[1], 1), "± m": round(std, 1)}
        for n, (xy, p, std) in enumerate(last.candidates)
    ]
    widgets.show_table(rows)
    st.caption("The five likeliest candidates.")


def _latency(found: ExplainedFix) -> tuple[str, str]:
    total = sum(part.seconds for part in (found.before, found.after) if part is not None)
    return _milliseconds(total) + " ms", "report to refined fix, here" if found.after else "report to fix, here"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def _before_after(found: ExplainedFix, truth: list[float] | None) -> list[dict[str, str]]:
    """The fix before and after refinement, and grid Bayes': error, uncertainty, entropy, and time."""
    parts = {"locator": found.before} | ({"refined": found.after} if found.after is not None else {})
    rows = [{"fix": name, "error m": _off(said.position, truth), **_sure(said)} for name, said in parts.items()]
    return [*rows, {"fix": "grid Bayes", "error m": _off(found.limit, truth), "± m": "–", "nat": "–", "ms": "–"}]


def _off(place: list[float], truth: list[float] | None) -> str:
    return "–" if truth is None else f"{math.dist(place, truth):.1f}"


def _sure(said: TimedFix) -> dict[str, str]:
    entropy = float(said.fix.entropy()[0])
    return {"± m": f"{said.std:.1f}", "nat": f"{entropy:.2f}", "ms": _milliseconds(said.seconds)}


def _attention(maps: TileMaps, locator: Locator, story: ReportSource, now: int) -> None:
    if locator.config.encoder == "unet":
        return
    st.markdown("**Attention** of the summary token to cells")
    weights = attention.summary_attention(locator, story.timeline.reports[now : now + 1], maps)
    widgets.show_table(
        [
            {"": f"layer {n}"} | {f"cell {cell}": f"{share:.0%}" for cell, share in enumerate(row)}
            for n, row in enumerate(weights.tolist(), start=1)
        ]
    )


def _timeline(context: widgets.PageContext, story: ReportSource) -> None:
    """All reports, drawn once: the fragment that comes before ends with the line that marks the moment."""
    reports = story.timeline.reports
    more = {
        "TA in steps": np.where(reports.has_timing_advance.numpy(), reports.timing_advance.numpy(), np.nan),
        "azimuth in °": np.where(reports.has_azimuth.numpy(), reports.azimuth_deg.numpy(), np.nan),
    }
    time, levels, heard = story.timeline.time.numpy(), reports.rsrp_dbm.numpy(), reports.heard.numpy()
    widgets.show_chart(charts.timeline_chart(time, levels, heard, more, context.theme), "timeline")


def _downloads(tile: Tile, story: ReportSource, now: int, found: ExplainedFix) -> None:
    def fix() -> str:  # asked for when the button is pressed
        time = round(float(story.timeline.time[now]), 3)
        return json.dumps(geojson.feature_collection(found.final.fix, tile, found.final.grid, time=time))

    st.download_button("This fix as GeoJSON", fix, "fix.geojson", "application/geo+json", on_click="ignore")
    st.download_button(
        "These reports as JSON",
        report_io.to_json(story.timeline),
        "reports.json",
        "application/json",
        on_click="ignore",
    )
