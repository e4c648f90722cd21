"""The Analysis page: where a locator errs, one phone explained, errors by scenario, features, training, studies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from explorer.analysis import attention, charts, tables
from explorer.analysis.accuracy import scenarios
from explorer.analysis.accuracy.charts import importance_chart, scenario_chart
from explorer.analysis.artefact_index import TileArtefacts
from explorer.analysis.phone_trial import PhoneTrial
from explorer.app import cache, map_files, map_scene, trials, widgets
from explorer.app.elements import controls, exports
from explorer.app.elements.address import addressed, link_to
from explorer.app.elements.terms import show_terms, term_help
from explorer.app.plain_text import plain
from explorer.app.views import studies, training_log
from explorer.map_view import marks as map_marks
from explorer.map_view.ground_image import Ground, Legend
from explorer.style import apply_colour_map, tier_label
from uel.geo.tile import Tile
from uel.measurement.tiers import TIERS

ERROR_BINS = 6  # colours of errors on the map
TRUTH_LABELS = {"map": "drawn from the map", "paths": "traced ray by ray"}
PAGE_TERMS = ("tier", "fix", "grid Bayes", "LoS", "entropy", "nat", "RSRP", "TA", "azimuth")
TABLE_HEIGHT = 330  # px
# The map stands beside the phone that is explained, and does not fill the window.
MAP_STYLE = """<style>
.st-key-scene-errors {--map-height: 37rem;}
@media (max-width: 999px) {.st-key-scene-errors {--map-height: 24rem;}}
.st-key-scene-errors [data-testid="stDeckGlJsonChart"], .st-key-scene-errors .stPlotlyChart
  {height: var(--map-height) !important;}
</style>"""


@addressed
def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    with st.sidebar:
        has_survey = bool(context.tile.surveys)
        truth = controls.select_option(
            "Reports are", "truth", list(TRUTH_LABELS)[: 1 + has_survey], TRUTH_LABELS.__getitem__,
            help=term_help("map truth", "path truth"), disabled=not has_survey,
        )  # fmt: skip
        tier = controls.select_option("Tier", "tier", TIERS[::-1], tier_label, help=term_help("tier", "RSRP", "TA"))
        options = map_scene.map_options(map_scene.TRANSLUCENT_PERCENT)
    trial = trials.phone_trial_of(context.run, context.tile, truth, tier)
    st.subheader("Where the locator errs")
    st.caption(
        f"{len(trial.phones)} phones on {plain(context.tile.label)}, reports {plain(TRUTH_LABELS[truth])}, located by "
        f"{plain(context.run.name)}. Click a dot, or a row of the table, to see why that phone is as far off as it is."
    )
    left, right = st.columns([1.75, 1.0], gap="medium")
    with right:
        number = controls.integer("Phone", "phone", 0, len(trial.phones) - 1, int(trial.error.argmax()))
        _phone(context, trial, truth, tier, number)
    with left:
        _map(context, trial, number, options)
    _phones_table(trial, truth, tier)
    _scenarios(context, context.tile, trial)
    _features(context, trial, truth, tier)
    training_log.show_training(context.run, context.theme)
    studies.show_studies(Path("runs"))
    show_terms(*PAGE_TERMS)


# ---- phones --------------------------------------------------------------------------------------------


def _map(context: widgets.PageContext, trial: PhoneTrial, number: int, options: map_scene.MapOptions) -> None:
    assert context.tile is not None
    tile = cache.tile(context.tile.folder)
    marks, legend = error_marks(tile, trial)
    position = trial.phones.position[number].tolist()
    marks = map_marks.site_marks(cache.deployment(context.tile).sites, tile) + marks
    marks = marks + map_marks.MapMarks(dots=[map_marks.picked_dot(tile, position)])
    ground = Ground(map_files.basemap(context.tile.folder, context.theme.name))
    with map_scene.scene("errors", context.theme):
        st.html(MAP_STYLE)
        map_scene.show_map(
            context, tile, ground, marks, options, key="errors", has_panel=False, legends=[legend], frame=[position],
            clicks=map_scene.Clicks(b"[]", _pick),
        )  # fmt: skip


def _pick(position: Sequence[float], title: str) -> None:
    word, _, number = title.partition(" ")
    if word == "phone" and number.isdigit():
        st.session_state["phone"] = int(number)


def error_marks(tile: Tile, trial: PhoneTrial) -> tuple[map_marks.MapMarks, Legend]:
    """Marks at true positions, coloured by the error, and their legend."""
    error, position = trial.error.numpy(), trial.phones.position.numpy()
    top = max(float(np.quantile(error, 0.95)), 1.0)
    bins = np.minimum(error / top * ERROR_BINS, ERROR_BINS - 1).astype(int)
    dots = []
    for n in range(ERROR_BINS):
        members = np.flatnonzero(bins == n)
        red, green, blue = apply_colour_map(np.array([n / (ERROR_BINS - 1)]), "plasma", 0.0, 1.0)[0].tolist()
        texts = [f"phone {k}\n{error[k]:.0f} m error, {int(trial.heard[k])} cells heard" for k in members]
        low, high = (round(top * k / ERROR_BINS) for k in (n, n + 1))
        label = f"{low}–{high} m" if n < ERROR_BINS - 1 else f"over {low} m"
        position_3d = map_marks.on_ground(tile, position[members], 2.0)
        dots.append(
            map_marks.PointMarks(
                name=f"errors{n}",
                label=label,
                position=position_3d,
                colour=(red, green, blue),
                texts=texts,
                radius=6.0,
                pickable=True,
            )
        )
    return map_marks.MapMarks(dots=dots), Legend(title="error", unit="m", scale="plasma", low=0.0, high=top)


def _phone(context: widgets.PageContext, trial: PhoneTrial, truth: str, tier: str, number: int) -> None:
    """Show one phone: its error, and what each of its features does to it."""
    assert context.run is not None
    assert context.tile is not None
    worse = int((trial.error > trial.error[number]).sum())
    widgets.show_cards(
        {
            "error": (
                f"{float(trial.error[number]):.0f} m",
                f"{worse} of {len(trial.phones)} phones are worse" if worse else "the worst of all",
            ),
            "grid Bayes": (f"{float(trial.limit_error[number]):.0f} m", "the same report without a network"),
            "cells heard": (f"{int(trial.heard[number])}", f"cell {int(trial.phones.reports.serving[number])} serves"),
            "serving cell": ("in sight" if bool(trial.phones.los[number]) else "behind a building", "line of sight"),
        },
        columns=2,
    )
    widgets.show_link(f"See phone {number} live", _live_link(context.tile, trial, truth, tier, number))
    errors = trials.phone_importance_of(context.run, context.tile, truth, tier, number)
    increase = {name: values - float(trial.error[number]) for name, values in errors.items()}
    if not any(len(values) for values in increase.values()):
        st.info(f"Phone {number} is alone on its cell: its features cannot be swapped with those of another phone.")
        return
    st.markdown("**What moves this fix**")
    widgets.show_chart(importance_chart(increase, context.theme), "phone importance")
    st.caption(
        "Each dot: the phone gets this feature of another phone of the same serving cell. A feature that matters makes "
        "the error grow."
    )


def _live_link(tile: TileArtefacts, trial: PhoneTrial, truth: str, tier: str, number: int) -> str:
    """The page of the same phone; of a survey's phone, the one of its track."""
    if truth == "map" or trial.phones.number is None:
        return link_to("live", source="phones", tier=tier, number=number)
    valid = cache.survey(*tile.surveys[0]).valid
    track, _ = valid.nonzero()[int(trial.phones.number[number])].tolist()
    return link_to("live", source="survey", tier=tier, track=track)


def _phones_table(trial: PhoneTrial, truth: str, tier: str) -> None:
    """Show all phones; a row that is chosen is the phone that is explained."""
    st.markdown("**All phones**, the worst first; a click on a title sorts, a click on a row explains the phone")
    rows = tables.phone_rows(trial)
    key = f"phones-{truth}-{tier}"
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height=TABLE_HEIGHT, key=key, selection_mode="single-row",
        on_select=lambda: _pick_row(key, rows),
    )  # fmt: skip
    exports.show_csv_button(lambda: rows, "phones")


def _pick_row(key: str, rows: Sequence[dict[str, Any]]) -> None:
    for row in st.session_state[key].selection["rows"][:1]:
        st.session_state["phone"] = rows[row]["phone"]


# ---- all phones together -------------------------------------------------------------------------------


def _scenarios(context: widgets.PageContext, tile: TileArtefacts, trial: PhoneTrial) -> None:
    st.subheader("Error by scenario", help=term_help("LoS", "cell", "median"))
    found = scenarios.scenarios(trial, cache.tile(tile.folder), cache.deployment(tile).sites, cache.meshes(tile.folder))
    left, right = st.columns([1.4, 1.0], gap="medium")
    with left:
        widgets.show_chart(scenario_chart(found, context.theme), "scenarios")
    with right:
        widgets.show_table(scenarios.scenario_rows(found), "error by scenario")
        speed = (
            "" if trial.phones.speed is not None else " Phones drawn from the map stand still: choose traced reports."
        )
        st.caption(
            f"Boxes hold the middle half of the errors, whiskers nine of ten. Kinds with fewer than "
            f"{scenarios.MIN_PHONES:d} phones are left out.{plain(speed)}"
        )


def _features(context: widgets.PageContext, trial: PhoneTrial, truth: str, tier: str) -> None:
    assert context.run is not None
    assert context.tile is not None
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Permutation importance")
        errors = trials.permutation_importance_of(context.run, context.tile, truth, tier)
        base = float(np.median(errors["nothing"]))
        increase = {name: float(np.median(error)) - base for name, error in errors.items() if name != "nothing"}
        widgets.show_chart(charts.bar_chart(increase, "increase of the median error in m", context.theme), "importance")
        st.caption(
            "Each feature is permuted among phones of the same serving cell while the others stay. This measures the "
            "loss by a wrong feature, not by a missing one."
        )
    locator = cache.locator(context.run)
    if locator.config.encoder == "unet":
        return  # without attention
    with right:
        st.subheader("Attention")
        number = int(trial.error.argsort()[len(trial.error) // 2])
        report = trial.phones.reports[number : number + 1]
        weights = attention.summary_attention(locator, report, cache.deployment(context.tile).maps)
        widgets.show_chart(charts.attention_map(weights.numpy(), context.theme), "attention")
        st.caption(
            f"Attention of the summary token of phone {number} (median error) to cells, mean over heads. Attention "
            "does not show what decides a fix; the importance of features beside it does."
        )
