"""The Metrics page: errors of runs and methods beside the limit, calibration, errors by condition."""

from pathlib import Path

import numpy as np
import streamlit as st

from explorer.analysis import charts, phone_trial, tables
from explorer.analysis.artefact_index import MAKE_COMMANDS
from explorer.analysis.phone_trial import PhoneTrial
from explorer.app import cache, widgets
from explorer.app.elements import controls
from explorer.app.elements.address import addressed
from explorer.app.plain_text import plain
from explorer.reports.run import read_errors
from explorer.style import RUN_METHOD_STYLES, run_method_label, tier_label
from uel.measurement.tiers import TIERS
from uel.results.run_summary import run_metrics

SIGHT_LABELS = {"any": "any", "in sight": "line of sight", "out of sight": "no line of sight"}
TRUTH_LABELS = {"map": "drawn from the map", "paths": "ray-traced"}


@addressed
def page() -> None:
    context = widgets.page_context()
    if context.run is None:
        widgets.show_missing("trained run", MAKE_COMMANDS["run"])
        return
    runs, truth, tier, methods = _choices(context)
    errors = _errors(runs, truth, tier, methods)
    if not errors:
        st.info("No errors for this choice: choose another truth, tier or method.")
        return
    st.subheader(f"Position error, {tier_label(tier)}")
    note = (
        "drawn from the radio map: grid Bayes is the limit" if truth == "map" else "ray-traced: there is no known bound"
    )
    st.caption(f"Reports {note}. {plain(_test_tiles(runs))}")
    within = _success_radius()
    left, right = st.columns([1.1, 1.0], gap="medium")
    with left:
        widgets.show_chart(charts.error_cdf(errors, context.theme), "cdf")
    with right:
        widgets.show_table(tables.percentile_rows(errors, within), "errors")
        ratios = tables.limit_ratios(_errors(runs, truth, tier, ["locator", "grid_bayes"]))
        if ratios:
            widgets.show_chart(charts.ratio_bars(ratios, context.theme, "error over the limit's"), "ratios")
    _trial(context, truth, tier)


def _choices(context: widgets.PageContext) -> tuple[list[Path], str, str, list[str]]:
    names = {run.name: run for run in context.index.runs}
    assert context.run is not None
    with st.sidebar:
        chosen = controls.select_many("Runs to compare", "runs", list(names), [context.run.name])
        truth = controls.select_option("Reports are", "truth", list(TRUTH_LABELS), TRUTH_LABELS.__getitem__)
        tier = controls.select_option("Tier", "tier", TIERS[::-1], tier_label)
        every = list(RUN_METHOD_STYLES)
        methods = controls.select_many("Methods", "methods", every, every, format_func=run_method_label)
    return [names[name] for name in chosen] or [context.run], truth, tier, methods


def _errors(runs: list[Path], truth: str, tier: str, methods: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """Errors in m by (run, method)."""
    errors_by_run = {run.name: read_errors(run) for run in runs}
    return {
        (run, method): stored[f"{truth}/{tier}/{method}"]
        for run, stored in errors_by_run.items()
        for method in methods
        if f"{truth}/{tier}/{method}" in stored
    }


def _test_tiles(runs: list[Path]) -> str:
    texts = [f"{run.name}: {run_metrics(run).get('test', {}).get('tile', '?')}" for run in runs]
    return f"Tested on {'; '.join(texts)}."


def _success_radius() -> float:
    with st.sidebar:
        return float(controls.slider("Success radius in m", "within", 5, 200, 30, 5))


# ---- trial on fresh phones -----------------------------------------------------------------------------


def _trial(context: widgets.PageContext, truth: str, tier: str) -> None:
    st.subheader("Calibration and conditions")
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    if truth == "paths" and not context.tile.surveys:
        widgets.show_missing(f"ray-traced survey of {context.tile.name}", context.tile.missing[-1][1])
        return
    survey = context.tile.surveys[0] if truth == "paths" else None
    trial: PhoneTrial = cache.run_phone_trial(
        context.run, context.tile.folder, context.tile.maps[0], survey, tier, phone_trial.PHONES_PER_TRIAL, seed=1
    )
    chosen = _matches(trial)
    st.caption(
        f"{int(chosen.sum())} of {len(trial.phones)} phones drawn on {plain(context.tile.name)} and located "
        f"by {plain(context.run.name)}; choose another tile in the sidebar."
    )
    if not chosen.any():
        st.info("No phone matches the filters in the sidebar.")
        return
    left, middle, right = st.columns([1, 1, 1.25], gap="medium")
    with left:
        ranks = {"locator": trial.rank.numpy()[chosen], "grid Bayes": trial.limit_rank.numpy()[chosen]}
        st.markdown("**Calibration**")
        widgets.show_chart(charts.calibration_chart(ranks, context.theme), "calibration")
    with middle:
        st.markdown("**r50 by condition**")
        widgets.show_chart(
            charts.ratio_bars(tables.condition_ratios(trial), context.theme, "median error over grid Bayes'"),
            "conditions",
        )
    with right:
        st.markdown("**Errors and coverage**")
        widgets.show_table(tables.trial_rows(trial, chosen), "errors and coverage")


def _matches(trial: PhoneTrial) -> np.ndarray:
    """Whether each phone matches the filters in the sidebar."""
    with st.sidebar:
        sight = controls.select_option("Serving cell", "sight", list(SIGHT_LABELS), SIGHT_LABELS.__getitem__)
        max_cells = max(int(trial.heard.max()), 1)
        low, high = (1, max_cells)
        if max_cells > 1:
            low, high = st.slider("Cells heard", 1, max_cells, (1, max_cells), key="heard")
    heard, los = trial.heard.numpy(), trial.phones.los.numpy()
    chosen = (heard >= low) & (heard <= high)
    return chosen & {"any": np.ones_like(los), "in sight": los, "out of sight": ~los}[sight]
