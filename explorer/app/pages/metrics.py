"""Metrics: errors of runs and methods side by side, beside the limit; calibration; conditions."""

from pathlib import Path

import numpy as np
import streamlit as st

from explorer.analysis import charts, tables
from explorer.analysis.artefact_index import MAKE_COMMANDS
from explorer.analysis.phone_trial import PhoneTrial
from explorer.app import cache, widgets
from explorer.figures.overview import STYLE
from explorer.reports.run import read_errors
from uel.measurement.tiers import TIERS

TRUTH_LABELS = {"map": "drawn from the map", "paths": "ray-traced"}
PHONES = 128  # of a trial: a few seconds on two cores


def page() -> None:
    context = widgets.page_context()
    if context.run is None:
        widgets.show_missing("trained run", MAKE_COMMANDS["run"])
        return
    runs, truth, tier, methods = _asked(context)
    errors = _errors(runs, truth, tier, methods)
    if not errors:
        st.info("Nothing of this kind was measured: choose another truth, tier or method.")
        return
    st.subheader(f"Position error, {charts.TIER_NAMES.get(tier, tier)}")
    said = "drawn from the radio map: grid Bayes is the limit" if truth == "map" else "ray-traced: no bound is known"
    st.caption(f"Reports {said}. {_tested(runs)}")
    within = _within()
    left, right = st.columns([1.1, 1.0], gap="medium")
    with left:
        widgets.show_chart(charts.error_cdf(errors, context.theme), "cdf")
    with right:
        widgets.show_table(tables.percentile_rows(errors, within))
        ratios = tables.limit_ratios(_errors(runs, truth, tier, ["locator", "grid_bayes"]))
        if ratios:
            widgets.show_chart(charts.ratio_bars(ratios, context.theme, "error over the limit's"), "ratios")
    _trial(context, truth, tier)


def _asked(context: widgets.PageContext) -> tuple[list[Path], str, str, list[str]]:
    names = {run.name: run for run in context.index.runs}
    assert context.run is not None
    with st.sidebar:
        chosen = st.multiselect("Runs side by side", list(names), default=[context.run.name], key="runs")
        truth = widgets.select_option("Reports are", "truth", list(TRUTH_LABELS), TRUTH_LABELS.__getitem__)
        tier = widgets.select_option("Tier", "tier", TIERS[::-1], lambda name: charts.TIER_NAMES[name])
        methods = st.multiselect("Methods", list(STYLE), default=list(STYLE), key="methods", format_func=charts.label)
    return [names[name] for name in chosen] or [context.run], truth, tier, methods


def _errors(runs: list[Path], truth: str, tier: str, methods: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """Errors in m by run and method."""
    found = {run.name: read_errors(run) for run in runs}
    return {
        (run, method): stored[f"{truth}/{tier}/{method}"]
        for run, stored in found.items()
        for method in methods
        if f"{truth}/{tier}/{method}" in stored
    }


def _tested(runs: list[Path]) -> str:
    from uel.inference.run_folder import Run

    told = [f"{run.name}: {Run.open(run).metrics.get('test', {}).get('tile', '?')}" for run in runs]
    return f"Tested on {'; '.join(told)}."


def _within() -> float:
    with st.sidebar:
        return float(st.slider("Success within … m", 5, 200, 30, 5, key="within", bind="query-params"))


# ---- a trial here and now ------------------------------------------------------------------------------


def _trial(context: widgets.PageContext, truth: str, tier: str) -> None:
    st.subheader("By condition, and how sure")
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    if truth == "paths" and not context.tile.surveys:
        widgets.show_missing(f"ray-traced survey of {context.tile.name}", context.tile.missing[-1][1])
        return
    kept = context.tile.surveys[0] if truth == "paths" else None
    survey = (str(kept[0]), kept[1]) if kept else None
    done: PhoneTrial = cache.run_phone_trial(
        str(context.run), str(context.tile.folder), str(context.tile.maps[0]), survey, tier, PHONES, seed=1
    )
    chosen = _filtered(done)
    st.caption(
        f"{int(chosen.sum())} of {len(done.phones)} phones drawn here and now on {context.tile.name} and located by "
        f"`{context.run.name}`; choose another place in the sidebar."
    )
    if not chosen.any():
        st.info("No phone of this kind: widen the filter.")
        return
    left, middle, right = st.columns([1, 1, 1.25], gap="medium")
    with left:
        ranks = {"locator": done.rank.numpy()[chosen], "grid Bayes": done.limit_rank.numpy()[chosen]}
        st.markdown("**Calibration**")
        widgets.show_chart(charts.calibration_chart(ranks, context.theme), "calibration")
    with middle:
        st.markdown("**r50 by condition**")
        widgets.show_chart(
            charts.ratio_bars(tables.condition_ratios(done), context.theme, "median over grid Bayes'"), "conditions"
        )
    with right:
        st.markdown("**Figures**")
        widgets.show_table(tables.trial_rows(done, chosen))


def _filtered(done: PhoneTrial) -> np.ndarray:
    """Which phones are asked for."""
    with st.sidebar:
        sight = widgets.select_option("Serving cell", "sight", ["any", "in sight", "out of sight"])
        most = max(int(done.heard.max()), 1)
        least, greatest = (1, most)
        if most > 1:
            least, greatest = st.slider("Cells heard, K", 1, most, (1, most), key="heard")
    heard, los = done.heard.numpy(), done.phones.los.numpy()
    chosen = (heard >= least) & (heard <= greatest)
    return chosen & {"any": np.ones_like(los), "in sight": los, "out of sight": ~los}[sight]
