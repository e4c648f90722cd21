"""The Live inference page: reports over time, and where the locator places the phone."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
import torch

from explorer.analysis import attention, charts, phone_trial, report_sources, single_fix
from explorer.analysis.report_sources import ReportSource
from explorer.analysis.single_fix import ExplainedFix, TimedFix
from explorer.app import cache, widgets
from explorer.app.plain_text import plain
from explorer.map_view import ground_image
from explorer.map_view import marks as map_marks
from explorer.map_view.ground_image import Image, Legend
from explorer.style import BLUE, RGB, tier_label
from uel.estimation.credible_regions import hpd_outlines
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference import geojson
from uel.inference.deployment import Deployment
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.measurement.tiers import TIERS
from uel.models.locator import Locator

SOURCE_LABELS = {
    "walk": "a walk",
    "phones": "phones drawn from the map",
    "survey": "a track of the survey",
    "upload": "a file",
}
REFINEMENT_LABELS = {"map": "on the map", "rt": "on the map, then by ray tracing", "none": "none"}
PLAY_PERIOD_S = 1.5  # s between reports while playing


def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    locator, deployment = cache.locator(context.run), cache.deployment(context.tile)
    maps = deployment.maps
    options = widgets.map_options(opacity=0.3)
    with st.sidebar:
        refine: Any = widgets.select_option(
            "Refinement", "refine", list(REFINEMENT_LABELS), REFINEMENT_LABELS.__getitem__
        )
        densities = ["refined"] * (refine != "none") + ["locator", "grid Bayes"]
        density = widgets.select_option("Density", "density", densities)
    source = _report_source(context, locator, deployment)
    if source is None:
        return
    playing = st.sidebar.toggle("Play", key="playing", disabled=len(source) < 2)
    tile = cache.tile(context.tile.folder)
    fragment = st.fragment(_report_details, run_every=PLAY_PERIOD_S if playing else None)
    fragment(context, tile, maps, locator, source, options, density, refine, playing)
    _timeline(context, source)


# ---- source of reports ---------------------------------------------------------------------------------


def _report_source(context: widgets.PageContext, locator: Locator, deployment: Deployment) -> ReportSource | None:
    assert context.tile is not None
    assert context.run is not None
    with st.sidebar:
        kind = widgets.select_option("Reports from", "source", list(SOURCE_LABELS), SOURCE_LABELS.__getitem__)
        tier = widgets.select_option("Tier", "tier", TIERS[::-1], tier_label)
    model = locator.measurement
    if kind == "upload":
        return _uploaded(deployment, model)
    if kind == "phones":
        trial = cache.run_phone_trial(
            context.run, context.tile.folder, context.tile.maps[0], None, tier, phone_trial.PHONES_PER_TRIAL, seed=1
        )
        count = len(trial.phones)
        source = ReportSource(
            ReportSequence(torch.arange(count).float(), trial.phones.reports),
            trial.phones.position,
            "phones drawn from the map",
            model,
        )
        return source
    if kind == "survey" and not context.tile.surveys:
        widgets.show_missing(f"survey of {context.tile.name}", context.tile.missing[-1][1])
        return None
    if kind == "survey":
        survey = cache.survey(*context.tile.surveys[0])
        track = _number_input("Track", "track", len(survey.valid) - 1)
        source = report_sources.survey_source(survey, model, track, seed=0)
    else:
        source = report_sources.walk_source(deployment, model, _number_input("Walk number", "walk", 9999))
    return replace(source, timeline=ReportSequence(source.timeline.time, source.timeline.reports.with_tier(tier)))


def _number_input(label: str, key: str, last: int) -> int:
    with st.sidebar:
        return int(st.number_input(label, 0, last, 0, 1, key=key, bind="query-params"))


def _uploaded(deployment: Deployment, model: ObservationModel) -> ReportSource | None:
    file = st.file_uploader("Log", key="upload", max_upload_size=1)
    if file is None:
        st.info(
            f"Upload a log of the {len(deployment.maps.radio.gain)} cells of this tile, at most "
            f"{report_io.MAX_BYTES // 1000} kB: CSV and relatives, Parquet, JSON, JSON lines, or the schema "
            f"`{report_io.SCHEMA}`. Reports of the other sources can be downloaded below the map."
        )
        return None
    return report_sources.file_source(deployment, model, file.name, file.getvalue())


# ---- one report ----------------------------------------------------------------------------------------


def _report_details(
    context: widgets.PageContext,
    tile: Tile,
    maps: TileMaps,
    locator: Locator,
    source: ReportSource,
    options: widgets.MapOptions,
    density: str,
    refine: single_fix.RefinementMode,
    playing: bool,
) -> None:
    with widgets.show_errors():
        number = _report_number(len(source), playing)
        explained = _explain(context, source, number, refine)
        left, right = st.columns([1.75, 1.0], gap="medium")
        with left:
            _map(context, tile, source, number, explained, options, density)
        with right:
            _figures(source, number, explained)
        st.markdown("**Evidence**: log-likelihood of the report at every pixel, by feature")
        _evidence(tile, source, number, explained)
        left, right = st.columns([1.75, 1.0], gap="medium")
        with left:
            _attention(maps, locator, source, number)
        with right:
            _downloads(tile, maps, source, number, explained)
        st.markdown("**Measurements** of all reports")
        st.html(charts.now_line(source.timeline.time.numpy(), number))


def _evidence(tile: Tile, source: ReportSource, number: int, explained: ExplainedFix) -> None:
    """Show the evidence as pictures, because a browser takes half a second to draw three charts."""
    truth = None if source.truth is None else source.truth[number].tolist()
    for column, (name, values) in zip(
        st.columns(len(explained.evidence), gap="small"), explained.evidence.items(), strict=True
    ):
        column.image(ground_image.evidence_image(values, tile.size, truth), caption=plain(name), width="stretch")
    widgets.show_legends(ground_image.EVIDENCE_LEGEND)


def _explain(
    context: widgets.PageContext, source: ReportSource, number: int, refine: single_fix.RefinementMode
) -> ExplainedFix:
    assert context.run is not None
    assert context.tile is not None
    with st.spinner("Tracing rays to the likeliest positions …") if refine == "rt" else nullcontext():
        report = source.timeline.reports[number : number + 1]
        return cache.explain_report(context.run, context.tile, report, source.model, refine)


def _report_number(count: int, playing: bool) -> int:
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
    source: ReportSource,
    number: int,
    explained: ExplainedFix,
    options: widgets.MapOptions,
    density: str,
) -> None:
    shown_fix = explained.initial if density == "locator" else explained.final
    pixels = explained.posterior if density == "grid Bayes" else shown_fix.heatmap
    base = cache.basemap(context.tile.folder, context.theme.name)  # type: ignore[union-attr]
    picture, legend = density_image(base, pixels.numpy(), shown_fix.grid.pixel)
    truth = None if source.truth is None else source.truth[number].tolist()
    marks = map_marks.MapMarks(
        lines=[
            map_marks.region_lines(tile, hpd_outlines(pixels, shown_fix.grid, level), level)
            for level in geojson.HPD_LEVELS
        ]
    )
    if source.truth is not None and source.text.startswith(("a ped", "track")) and len(source) > 1:
        track = map_marks.track_lines(tile, source.truth.numpy(), "track", "true track", BLUE)
        marks = marks + map_marks.MapMarks(lines=[track])
    refined = explained.refined and explained.refined.position
    marks = marks + map_marks.fix_marks(
        tile, truth, explained.initial.position, explained.limit, shown_fix.candidates, refined
    )
    serving = int(source.timeline.reports.serving[number])
    sites = cache.deployment(context.tile).sites  # type: ignore[arg-type]
    marks = map_marks.site_marks(sites, tile, serving) + marks
    widgets.show_map(context, tile, picture, marks, options, key="live", at=explained.final.position)
    widgets.show_legends(legend, Legend(title="marks", names=_names(refined is not None)))
    st.caption(f"Source: {plain(source.text)}. The serving cell is highlighted; candidates are hollow.")


def _names(refined: bool) -> dict[str, RGB]:
    names = {"true position": map_marks.TRUTH_COLOUR, "locator": map_marks.LOCATOR_COLOUR} | (
        {"refined": map_marks.REFINED_COLOUR} if refined else {}
    )
    more = {"candidates": map_marks.GREEN, "50 % region": map_marks.VERMILION, "90 % region": map_marks.ORANGE}
    return names | {"grid Bayes": map_marks.LIMIT_COLOUR} | more


def density_image(base: Image, pixels: np.ndarray, pixel: float) -> tuple[Image, Legend]:
    """A density painted over the ground by its square root, so that weak hypotheses stay visible beside a sharp
    peak."""
    dense = pixels / pixel**2 * 1e4  # % per 100 m²
    top = max(float(np.quantile(dense, 0.9995)), 1e-9)
    root = np.sqrt(np.clip(dense / top, 0, 1))
    legend = Legend(title="density", unit="% per 100 m² (square-root scale)", scale="viridis", low=0.0, high=top)
    faint = np.clip(3.0 * root, 0.0, 0.85)
    return ground_image.paint_layer(base, root * top, np.ones_like(root, dtype=bool), legend, faint), legend


def _figures(source: ReportSource, number: int, explained: ExplainedFix) -> None:
    reports, last = source.timeline.reports, explained.final
    truth = None if source.truth is None else source.truth[number].tolist()
    cards = {
        "position": (f"{last.position[0]:.0f}, {last.position[1]:.0f} m".replace("-", "−"), "east, north"),
        "uncertainty": (f"± {last.std:.0f} m", f"entropy {float(last.fix.entropy()[0]):.2f} nat"),
        "cells heard": (str(int(reports.heard[number].sum())), f"cell {int(reports.serving[number])} serves"),
        "latency": _latency(explained),
    }
    widgets.show_cards(cards, columns=2)
    widgets.show_table(_fix_rows(explained, truth), "fixes")
    st.caption("± is the root of the covariance's trace; grid Bayes uses the evidence only, without the network.")
    rows = [
        {"": n + 1, "probability": f"{p:.1%}", "x m": round(xy[0], 1), "y m": round(xy[1], 1), "± m": round(std, 1)}
        for n, (xy, p, std) in enumerate(last.candidates)
    ]
    widgets.show_table(rows, "candidates")
    st.caption("The five likeliest candidates.")


def _latency(explained: ExplainedFix) -> tuple[str, str]:
    total = sum(part.seconds for part in (explained.initial, explained.refined) if part is not None)
    return _milliseconds(total) + " ms", "report to refined fix" if explained.refined else "report to fix"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def _fix_rows(explained: ExplainedFix, truth: list[float] | None) -> list[dict[str, str]]:
    """Rows of error, uncertainty, entropy and time of the fix before and after refinement, and of grid Bayes."""
    parts = {"locator": explained.initial} | ({"refined": explained.refined} if explained.refined is not None else {})
    rows = [
        {"fix": name, "error m": _error_text(shown_fix.position, truth), **_uncertainty_columns(shown_fix)}
        for name, shown_fix in parts.items()
    ]
    return [
        *rows,
        {"fix": "grid Bayes", "error m": _error_text(explained.limit, truth), "± m": "–", "nat": "–", "ms": "–"},
    ]


def _error_text(position: list[float], truth: list[float] | None) -> str:
    return "–" if truth is None else f"{math.dist(position, truth):.1f}"


def _uncertainty_columns(fix: TimedFix) -> dict[str, str]:
    entropy = float(fix.fix.entropy()[0])
    return {"± m": f"{fix.std:.1f}", "nat": f"{entropy:.2f}", "ms": _milliseconds(fix.seconds)}


def _attention(maps: TileMaps, locator: Locator, source: ReportSource, number: int) -> None:
    if locator.config.encoder == "unet":
        return
    st.markdown("**Attention** of the summary token to cells")
    weights = attention.summary_attention(locator, source.timeline.reports[number : number + 1], maps)
    widgets.show_table(
        [
            {"": f"layer {n}"} | {f"cell {cell}": f"{fraction:.0%}" for cell, fraction in enumerate(row)}
            for n, row in enumerate(weights.tolist(), start=1)
        ],
        "attention",
    )


def _timeline(context: widgets.PageContext, source: ReportSource) -> None:
    """Show all reports; the fragment above ends with a line that marks the time of the current report."""
    reports = source.timeline.reports
    others = {
        "TA in steps": np.where(reports.has_timing_advance.numpy(), reports.timing_advance.numpy(), np.nan),
        "azimuth in °": np.where(reports.has_azimuth.numpy(), reports.azimuth_deg.numpy(), np.nan),
    }
    time, levels, heard = source.timeline.time.numpy(), reports.rsrp_dbm.numpy(), reports.heard.numpy()
    widgets.show_chart(charts.timeline_chart(time, levels, heard, others, context.theme), "timeline")


def _downloads(tile: Tile, maps: TileMaps, source: ReportSource, number: int, explained: ExplainedFix) -> None:
    def fix() -> str:  # computed when the button is pressed
        time = round(float(source.timeline.time[number]), 3)
        return json.dumps(geojson.feature_collection(explained.final.fix, tile, explained.final.grid, time=time))

    st.download_button("This fix as GeoJSON", fix, "fix.geojson", "application/geo+json", on_click="ignore")
    st.download_button(
        "These reports as JSON",
        report_io.to_json(source.timeline, maps.radio.sites),
        "reports.json",
        "application/json",
        on_click="ignore",
    )
