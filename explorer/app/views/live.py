"""The Live inference page: reports over time, and where the locator places the phone."""

from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import numpy as np
import streamlit as st

from explorer.analysis import charts, report_sources, single_fix
from explorer.analysis.report_sources import ReportSource
from explorer.analysis.single_fix import ExplainedFix
from explorer.app import cache, map_files, map_scene, trials, widgets
from explorer.app.elements import controls
from explorer.app.elements.address import addressed, visitor
from explorer.app.elements.terms import term_help
from explorer.app.map_scene import MapOptions
from explorer.app.views import live_details
from explorer.map_view import ground_image
from explorer.map_view import marks as map_marks
from explorer.map_view.ground_image import Ground, Legend
from explorer.style import LOCATOR_COLOUR, PHONE_COLOUR, RGB, tier_label
from uel.estimation.credible_regions import hpd_outlines
from uel.inference import geojson
from uel.inference.deployment import Deployment
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.measurement.tiers import TIERS

SOURCE_LABELS = {
    "walk": "a walk",
    "phones": "phones drawn from the map",
    "survey": "a track of the survey",
    "upload": "a log of yours",
}
REFINEMENT_LABELS = {"map": "on the map", "rt": "on the map, then by ray tracing", "none": "none"}
PLAY_PERIOD_S = 1.5  # s between reports while playing
BUILDINGS_PERCENT = 30  # opacity: the density lies on the ground between them
MAX_UPLOAD_MB = 20
LIVE_STYLE = """<style>
.st-key-scene-live {--below-map: 18.4rem;}
.st-key-timebar {padding: 0 0.4rem;}
</style>"""


@addressed
def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    st.html(LIVE_STYLE)
    locator, deployment = cache.locator(context.run), cache.deployment(context.tile)
    source = _report_source(context, locator.measurement, deployment)
    with st.sidebar:
        named = controls.select_option("Refinement", "refine", list(REFINEMENT_LABELS), REFINEMENT_LABELS.__getitem__)
        refine = cast(single_fix.RefinementMode, named)
        densities = ["refined"] * (refine != "none") + ["locator", "grid Bayes"]
        density = controls.select_option("Density", "density", densities)
        options = map_scene.map_options(BUILDINGS_PERCENT, ("close", "oblique", "from above", "from the south"))
    if source is None:
        return
    playing = bool(st.session_state.get("playing", False)) and len(source) > 1
    fragment = st.fragment(_reports, run_every=PLAY_PERIOD_S if playing else None)
    fragment(context, source, options, density, refine, playing)
    reports, time = source.timeline.reports, source.timeline.time.numpy()
    others = {
        "TA in steps": np.where(reports.has_timing_advance.numpy(), reports.timing_advance.numpy(), np.nan),
        "azimuth in °": np.where(reports.has_azimuth.numpy(), reports.azimuth_deg.numpy(), np.nan),
    }
    chart = charts.timeline_chart(time, reports.rsrp_dbm.numpy(), reports.heard.numpy(), others, context.theme)
    widgets.show_chart(chart, "timeline")


# ---- source of reports ---------------------------------------------------------------------------------


def _report_source(
    context: widgets.PageContext, model: ObservationModel, deployment: Deployment
) -> ReportSource | None:
    """Ask for the source of reports above the map; None where it has none."""
    assert context.tile is not None
    assert context.run is not None
    left, middle, right = st.columns([2.6, 1.0, 1.6], gap="small", vertical_alignment="bottom")
    with left:
        kind = controls.select_option("Reports from", "source", list(SOURCE_LABELS), SOURCE_LABELS.__getitem__)
    with right:
        tier = controls.select_option("Tier", "tier", TIERS[::-1], tier_label, help=term_help("tier"))
    if kind == "upload":
        return _uploaded(context, deployment)
    if kind == "phones":
        trial = trials.phone_trial_of(context.run, context.tile, "map", tier)
        return report_sources.phones_source(trial, model)
    if kind == "survey" and not context.tile.surveys:
        widgets.show_missing(f"survey of {context.tile.name}", context.tile.missing[-1][1])
        return None
    with middle:
        if kind == "survey":
            survey = cache.survey(*context.tile.surveys[0])
            track = controls.integer("Track", "track", 0, len(survey.valid) - 1, 0)
            source = report_sources.survey_source(survey, model, track, seed=0)
        else:
            number = controls.integer("Walk number", "walk", 0, 9999, 0)
            source = cache.walk(context.tile.folder, context.tile.maps[0], context.run, number)
    return replace(source, timeline=ReportSequence(source.timeline.time, source.timeline.reports.with_tier(tier)))


def _uploaded(context: widgets.PageContext, deployment: Deployment) -> ReportSource | None:
    """Reports of an uploaded log, or of the sample beside it."""
    assert context.tile is not None
    assert context.run is not None
    left, right = st.columns([2.2, 1.0], gap="medium")
    with left:
        file = st.file_uploader("Log of a phone", key="upload", max_upload_size=MAX_UPLOAD_MB)
    key = context.tile.folder, context.tile.maps[0], context.run
    sample = report_sources.sample_log(cache.walk(*key, 0))
    with right:
        st.download_button("Save a sample log", sample, "sample-log.csv", "text/csv", on_click="ignore")
        wants_sample = st.toggle("Locate the sample", key="sample", disabled=file is not None)
    if file is not None:
        return cache.uploaded_log(*key, file.name, file.getvalue())
    if wants_sample:
        return cache.uploaded_log(*key, "sample-log.csv", sample.encode())
    st.info(
        f"Any log that `uel locate` reads, up to {MAX_UPLOAD_MB} MB, of the {len(deployment.maps.radio.gain)} cells of "
        "this place: CSV and relatives, Parquet, JSON, JSON lines, exports of measurement apps, or the schema "
        f"`{report_io.SCHEMA}` that the other sources offer below the map. Cells are found by their identities; "
        "positions are optional."
    )
    return None


# ---- one report ----------------------------------------------------------------------------------------


def _reports(
    context: widgets.PageContext,
    source: ReportSource,
    options: MapOptions,
    density: str,
    refine: single_fix.RefinementMode,
    playing: bool,
) -> None:
    """The map of one report, the time bar below it, and what is behind the fix."""
    with widgets.show_errors():
        place = st.container()
        number = _time_bar(source, playing)
        explained = _explain(context, source, number, refine)
        with place, map_scene.scene("live", context.theme):
            _map(context, source, number, explained, options, density)
            with map_scene.panel("live"):
                live_details.show_fix(source, number, explained)
        live_details.show_evidence(context, source, number, explained)
        st.markdown("**Measurements** of all reports")
        st.html(charts.now_line(source.timeline.time.numpy(), number))
    if not playing:
        visitor().write()


def _time_bar(source: ReportSource, playing: bool) -> int:
    """The number of the report that is shown, chosen by a slider, or the next one while playing."""
    count = len(source)
    if count < 2:
        return 0
    if playing:
        st.session_state["number"] = (int(st.session_state.get("number", 0)) + 1) % count
    with st.container(key="timebar"):
        left, right = st.columns([1.0, 11.0], gap="small", vertical_alignment="bottom")
        with left:
            st.toggle("Play", key="playing")
        with right:
            label = "Report, over time" if source.is_track else "Phone"
            number = controls.slider(label, "number", 0, count - 1, 0)
    if st.session_state["playing"] != playing:
        st.rerun()
    return number


def _explain(
    context: widgets.PageContext, source: ReportSource, number: int, refine: single_fix.RefinementMode
) -> ExplainedFix:
    assert context.run is not None
    assert context.tile is not None
    with st.spinner("Tracing rays to the likeliest positions …") if refine == "rt" else nullcontext():
        report = source.timeline.reports[number : number + 1]
        return cache.explain_report(context.run, context.tile, report, source.model, refine)


def _map(
    context: widgets.PageContext,
    source: ReportSource,
    number: int,
    explained: ExplainedFix,
    options: MapOptions,
    density: str,
) -> None:
    assert context.tile is not None
    tile = cache.tile(context.tile.folder)
    shown_fix = explained.initial if density == "locator" else explained.final
    pixels = explained.posterior if density == "grid Bayes" else shown_fix.heatmap
    percent = pixels.numpy() / shown_fix.grid.pixel**2 * 1e4  # % per 100 m²
    top = max(float(np.quantile(percent, 0.9995)), 1e-9)
    base = map_files.basemap(context.tile.folder, context.theme.name)
    ground = Ground(base, ground_image.density_overlay(percent, top), is_over=True)
    outlines = {level: hpd_outlines(pixels, shown_fix.grid, level) for level in geojson.HPD_LEVELS}
    marks = map_marks.MapMarks(lines=[map_marks.region_lines(tile, rings, p) for p, rings in outlines.items()])
    truth = None if source.truth is None else source.truth[number].tolist()
    if source.truth is not None and source.is_track and len(source) > 1:
        marks = marks + map_marks.MapMarks(lines=[map_marks.track_lines(tile, source.truth.numpy())])
    unrefined = explained.initial.position if explained.refined else None
    marks = marks + map_marks.fix_marks(
        tile, context.theme, truth, explained.final.position, explained.limit, shown_fix.candidates, unrefined
    )
    serving = int(source.timeline.reports.serving[number])
    marks = map_marks.site_marks(cache.deployment(context.tile).sites, tile, serving) + marks
    likely = [xy for xy, p, _ in shown_fix.candidates if p >= map_marks.MIN_CANDIDATE_PROBABILITY]
    legend = Legend(title="density", unit="% per 100 m²", low=0.0, high=top, tint=LOCATOR_COLOUR)
    map_scene.show_map(
        context, tile, ground, marks, options, key="live",
        frame=map_scene.frame_of(truth, explained.final.position, *likely),
        legends=[legend, Legend(title="", names=_names(context, source))],
    )  # fmt: skip


def _names(context: widgets.PageContext, source: ReportSource) -> dict[str, RGB]:
    """Colours of the marks: one for each who says where the phone is."""
    truth = {"true position": PHONE_COLOUR} if source.truth is not None else {}
    bayes = "grid Bayes, the limit" if source.is_drawn_on_map else "grid Bayes, a reference"
    return truth | {"locator: fix, candidates, 50 and 90 % regions": LOCATOR_COLOUR, bayes: context.theme.ink_rgb}
