"""The Metrics page: errors of methods and runs beside the limit, success rates, differences, calibration."""

from pathlib import Path

import numpy as np
import streamlit as st

from explorer.analysis import tables
from explorer.analysis.accuracy import charts, comparison
from explorer.analysis.accuracy.comparison import STATISTIC_LABELS, ErrorsByMethod
from explorer.analysis.artefact_index import MAKE_COMMANDS
from explorer.analysis.phone_trial import PhoneTrial
from explorer.analysis.place_names import place_label
from explorer.app import cache, trials, widgets
from explorer.app.elements import controls, exports
from explorer.app.elements.address import addressed, link_to
from explorer.app.elements.terms import show_terms, term_help
from explorer.app.plain_text import plain
from explorer.style import RUN_METHOD_STYLES, run_method_label, tier_label
from uel.measurement.tiers import TIERS
from uel.results.run_summary import run_metrics

SIGHT_LABELS = {"any": "any", "in sight": "line of sight", "out of sight": "no line of sight"}
TRUTH_LABELS = {"map": "drawn from the map", "paths": "traced ray by ray"}
TRUTH_NOTES = {
    "map": "The map that methods get has no errors here: grid Bayes is the limit, and no method can be better.",
    "paths": "The map that methods get has errors here, as in reality: grid Bayes is a reference, and no bound.",
}
PAGE_TERMS = ("tier", "locator", "grid Bayes", "limit", "reference", "kNN", "interval", "credible region", "p95")


@addressed
def page() -> None:
    context = widgets.page_context()
    if context.run is None:
        widgets.show_missing("trained run", MAKE_COMMANDS["run"])
        return
    runs, truth, tier, methods, radius = _choices(context)
    errors = _errors(runs, truth, tier, methods)
    if not errors:
        st.info("No errors for this choice: choose another truth, tier or method.")
        return
    st.subheader(f"How far off positions are: {tier_label(tier)}")
    st.caption(f"Reports {plain(TRUTH_LABELS[truth])}. {plain(TRUTH_NOTES[truth])} {plain(_test_places(runs))}")
    cards = comparison.locator_cards(_errors(runs, truth, tier, list(RUN_METHOD_STYLES)), runs[0].name, truth, radius)
    if cards:
        st.markdown(f"**The locator of {plain(runs[0].name)}**")
        widgets.show_cards(cards)
    left, right = st.columns([1.2, 1.0], gap="medium")
    with left:
        st.markdown("**How many fixes are within an error**")
        widgets.show_chart(charts.error_cdf(errors, truth, context.theme), "cdf")
    with right:
        st.markdown("**Success rate**, with intervals")
        widgets.show_chart(charts.success_chart(errors, truth, radius, context.theme), "success")
    _pivot(errors, truth, radius)
    _trial(context, truth, tier)
    show_terms(*PAGE_TERMS)


def _choices(context: widgets.PageContext) -> tuple[list[Path], str, str, list[str], float]:
    names = {run.name: run for run in context.index.runs}
    assert context.run is not None
    with st.sidebar:
        chosen = controls.select_many("Runs to compare", "runs", list(names), [context.run.name])
        truths, truth_help = list(TRUTH_LABELS), term_help("map truth", "path truth")
        truth = controls.select_option("Reports are", "truth", truths, TRUTH_LABELS.__getitem__, help=truth_help)
        tier = controls.select_option("Tier", "tier", TIERS[::-1], tier_label, help=term_help("tier", "RSRP", "TA"))
        every = list(RUN_METHOD_STYLES)
        methods = controls.select_many(
            "Methods", "methods", every, every, format_func=lambda name: run_method_label(name, truth)
        )
        radius = controls.slider("Success radius in m", "within", 5, 200, 30, 5)
    return [names[name] for name in chosen] or [context.run], truth, tier, methods, float(radius)


def _errors(runs: list[Path], truth: str, tier: str, methods: list[str]) -> ErrorsByMethod:
    """Errors by (run, method)."""
    errors_by_run = {run.name: cache.method_errors(run) for run in runs}
    return {
        (run, method): stored[f"{truth}/{tier}/{method}"]
        for run, stored in errors_by_run.items()
        for method in methods
        if f"{truth}/{tier}/{method}" in stored
    }


def _test_places(runs: list[Path]) -> str:
    places = {run.name: str(run_metrics(run).get("test", {}).get("tile", "")) for run in runs}
    texts = [", ".join(place_label(name) for name in places[run].split(", ")) or "an unknown place" for run in places]
    if len(runs) == 1:
        return f"Tested on {texts[0]}."
    return f"Tested on {'; '.join(f'{run}: {text}' for run, text in zip(places, texts, strict=True))}."


def _pivot(errors: ErrorsByMethod, truth: str, radius: float) -> None:
    """Show the table of methods and runs."""
    st.markdown("**Methods side by side**")
    name = controls.segments(
        "Compare by", "statistic", list(STATISTIC_LABELS), format_func=STATISTIC_LABELS.__getitem__,
        help=term_help("p50", "p67", "p95", "interval"),
    )  # fmt: skip
    widgets.show_table(comparison.pivot_rows(errors, truth, name, radius), f"methods by {name}")
    exports.show_csv_button(
        lambda: comparison.percentile_rows(errors, truth, radius), "all statistics", "All statistics as CSV"
    )
    st.caption(
        "Differences are of the same phones: below zero is better, but for the fraction within the radius. In brackets "
        "is the interval in which nine of ten draws of phones lie; where it holds 0, the difference may be chance."
    )


# ---- trial on fresh phones -----------------------------------------------------------------------------


def _trial(context: widgets.PageContext, truth: str, tier: str) -> None:
    st.subheader("Can its uncertainty be trusted?", help=term_help("calibrated", "credible region"))
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    if truth == "paths" and not context.tile.surveys:
        widgets.show_missing(f"ray-traced survey of {context.tile.label}", context.tile.missing[-1][1])
        return
    trial = trials.phone_trial_of(context.run, context.tile, truth, tier)
    left, middle, right = st.columns([1.0, 1.0, 1.1], gap="medium")
    with left:
        chosen = _matches(trial)
        st.caption(
            f"{int(chosen.sum())} of {len(trial.phones)} phones on {plain(context.tile.label)}, drawn now and located "
            f"by {plain(context.run.name)}. Another place can be chosen in the sidebar."
        )
    if not chosen.any():
        st.info("No phone is so: choose another sight or number of cells.")
        return
    with middle:
        ranks = {"locator": trial.rank.numpy()[chosen], "grid Bayes": trial.limit_rank.numpy()[chosen]}
        widgets.show_chart(charts.calibration_chart(ranks, context.theme), "calibration")
    with right:
        widgets.show_table(tables.trial_rows(trial, chosen), "errors and coverage")
        st.caption("A 90 % region that holds 90 % of the phones is honest: more is too modest, less is too sure.")
        widgets.show_link("Which phones, and why", link_to("analysis", tier=tier, truth=truth))


def _matches(trial: PhoneTrial) -> np.ndarray:
    """Whether each phone is as the visitor asks."""
    sight = controls.select_option("Serving cell", "sight", list(SIGHT_LABELS), SIGHT_LABELS.__getitem__)
    most = max(int(trial.heard.max()), 1)
    low = controls.integer("Cells heard, at least", "least", 1, most, 1, disabled=most == 1)
    heard, los = trial.heard.numpy(), trial.phones.los.numpy()
    return (heard >= low) & {"any": np.ones_like(los), "in sight": los, "out of sight": ~los}[sight]
