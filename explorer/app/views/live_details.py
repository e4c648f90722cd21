"""What stands beside and below the map of the Live inference page: numbers of a fix, evidence, attention, downloads."""

import json
import math

import streamlit as st

from explorer.analysis import attention
from explorer.analysis.report_sources import ReportSource
from explorer.analysis.single_fix import ExplainedFix, TimedFix
from explorer.app import cache, widgets
from explorer.app.plain_text import plain
from explorer.map_view import ground_image
from explorer.map_view.marks import MIN_CANDIDATE_PROBABILITY
from uel.inference import geojson
from uel.measurement import report_io


def show_fix(source: ReportSource, number: int, explained: ExplainedFix) -> None:
    """Error, uncertainty and latency of a fix, the same before refinement and of grid Bayes, and the candidates."""
    reports, last = source.timeline.reports, explained.final
    truth = _truth(source, number)
    error = {} if truth is None else {"error": (f"{math.dist(last.position, truth):.1f} m", "from the true position")}
    cards = error | {
        "uncertainty": (f"± {last.std:.0f} m", f"entropy {float(last.fix.entropy()[0]):.2f} nat"),
        "cells heard": (str(int(reports.heard[number].sum())), f"cell {int(reports.serving[number])} serves"),
        "latency": _latency(explained),
    }
    if truth is None:
        east, north = (f"{value:.0f}".replace("-", "−") for value in last.position)
        cards = {"position": (f"{east}, {north} m", "east, north")} | cards
    widgets.show_cards(cards, columns=2)
    if explained.refined is not None and explained.is_outside:
        st.warning(f"Refinement moved the fix by {explained.moved:.0f} m, outside the locator's 90 % region.")
    elif explained.refined is not None and explained.moved >= 1:
        st.caption(f"Refinement moved the fix by {explained.moved:.0f} m.")
    widgets.show_table(_fix_rows(source, explained, truth), "fixes")
    likely = [candidate for candidate in last.candidates if candidate[1] >= MIN_CANDIDATE_PROBABILITY]
    rows = [
        {"candidate": n, "probability": f"{p:.0%}", "x m": round(xy[0]), "y m": round(xy[1]), "± m": round(std, 1)}
        for n, (xy, p, std) in enumerate(likely, start=1)
    ]
    if rows:
        widgets.show_table(rows, "candidates")
    st.caption(
        f"Source: {plain(source.text)}. On the map candidates are hollow, as large as they are likely, none below 1 %. "
        "± is the root of the covariance's trace."
    )


def show_evidence(context: widgets.PageContext, source: ReportSource, number: int, explained: ExplainedFix) -> None:
    """Pictures of the evidence by feature (a browser draws them faster than charts), attention, downloads."""
    assert context.tile is not None
    tile = cache.tile(context.tile.folder)
    st.markdown("**Evidence**: log-likelihood of the report at every pixel, by feature")
    columns = st.columns(len(explained.evidence), gap="small")
    for column, (name, values) in zip(columns, explained.evidence.items(), strict=True):
        if values is None:
            column.info(f"{plain(name)}: not reported")
            continue
        picture = ground_image.evidence_image(values, tile.size, _truth(source, number))
        column.image(picture, caption=plain(name), width="stretch")
    widgets.show_legends(ground_image.EVIDENCE_LEGEND)
    left, right = st.columns([1.75, 1.0], gap="medium")
    with left:
        _attention(context, source, number)
    with right:
        _downloads(context, source, number, explained)


def _truth(source: ReportSource, number: int) -> list[float] | None:
    return None if source.truth is None else source.truth[number].tolist()


def _latency(explained: ExplainedFix) -> tuple[str, str]:
    total = sum(part.seconds for part in (explained.initial, explained.refined) if part is not None)
    return _milliseconds(total) + " ms", "report to refined fix" if explained.refined else "report to fix"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def _fix_rows(source: ReportSource, explained: ExplainedFix, truth: list[float] | None) -> list[dict[str, str]]:
    """Rows of error, uncertainty, entropy and time of the fix before and after refinement, and of grid Bayes."""
    parts = {"locator": explained.initial} | ({"refined": explained.refined} if explained.refined is not None else {})
    rows = [
        {"fix": name, "error m": _error_text(shown_fix.position, truth), **_uncertainty_columns(shown_fix)}
        for name, shown_fix in parts.items()
    ]
    bayes = "grid Bayes, the limit" if source.is_drawn_on_map else "grid Bayes, a reference"
    return [*rows, {"fix": bayes, "error m": _error_text(explained.limit, truth), "± m": "–", "nat": "–", "ms": "–"}]


def _error_text(position: list[float], truth: list[float] | None) -> str:
    return "–" if truth is None else f"{math.dist(position, truth):.1f}"


def _uncertainty_columns(fix: TimedFix) -> dict[str, str]:
    entropy = float(fix.fix.entropy()[0])
    return {"± m": f"{fix.std:.1f}", "nat": f"{entropy:.2f}", "ms": _milliseconds(fix.seconds)}


def _attention(context: widgets.PageContext, source: ReportSource, number: int) -> None:
    assert context.run is not None
    assert context.tile is not None
    locator, maps = cache.locator(context.run), cache.deployment(context.tile).maps
    if locator.config.encoder == "unet":
        return
    st.markdown("**Attention** of the summary token to cells")
    weights = attention.summary_attention(locator, source.timeline.reports[number : number + 1], maps)
    rows = [
        {"": f"layer {n}"} | {f"cell {cell}": f"{fraction:.0%}" for cell, fraction in enumerate(row)}
        for n, row in enumerate(weights.tolist(), start=1)
    ]
    widgets.show_table(rows, "attention")


def _downloads(context: widgets.PageContext, source: ReportSource, number: int, explained: ExplainedFix) -> None:
    assert context.tile is not None
    tile, sites = cache.tile(context.tile.folder), cache.deployment(context.tile).sites

    def fix() -> str:  # computed when the button is pressed
        time = round(float(source.timeline.time[number]), 3)
        return json.dumps(geojson.feature_collection(explained.final.fix, tile, explained.final.grid, time=time))

    def reports() -> bytes:
        return report_io.to_json(source.timeline, sites)

    if tile.meta.get("crs"):
        st.download_button("This fix as GeoJSON", fix, "fix.geojson", "application/geo+json", on_click="ignore")
    else:  # GeoJSON is in degrees, which are not known here
        st.download_button("This fix as JSON, in metres", fix, "fix.json", "application/json", on_click="ignore")
    st.download_button("These reports as JSON", reports, "reports.json", "application/json", on_click="ignore")
