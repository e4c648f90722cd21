"""The Analysis page: error map, worst fixes, importance of features, attention, training losses, studies."""

from pathlib import Path

import numpy as np
import streamlit as st

from explorer.analysis import attention, charts, phone_trial, tables
from explorer.analysis.phone_trial import PhoneTrial
from explorer.app import cache, map_files, map_scene, widgets
from explorer.app.elements import controls
from explorer.app.elements.address import addressed, link_to
from explorer.app.views import studies
from explorer.map_view import marks as map_marks
from explorer.map_view.ground_image import Ground, Legend
from explorer.reports.run import read_curves
from explorer.style import apply_colour_map, tier_label
from uel.geo.tile import Tile
from uel.measurement.tiers import TIERS

ERROR_BINS = 6  # colours of errors on the map
WORST_PHONES = 12
LOSS_LABELS = {
    "loss": "all",
    "coarse": "coarse",
    "fine": "fine",
    "physics_map": "physics, map lookup",
    "physics_rt": "physics, ray tracing",
}


@addressed
def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    tile = cache.tile(context.tile.folder)
    with st.sidebar:
        options = map_scene.map_options(50)
        tier = controls.select_option("Tier", "tier", TIERS[::-1], tier_label)
    key = context.run, context.tile.folder, context.tile.maps[0]
    trial: PhoneTrial = cache.run_phone_trial(*key, None, tier, phone_trial.PHONES_PER_TRIAL, seed=1)
    left, right = st.columns([1.75, 1.0], gap="medium")
    with left:
        st.subheader("Error on the map")
        marks, legend = _error_marks(tile, trial)
        maps = cache.deployment(context.tile).maps
        marks = map_marks.site_marks(maps.radio.sites, tile) + marks
        ground = Ground(map_files.basemap(context.tile.folder, context.theme.name))
        with map_scene.scene("errors", context.theme):
            map_scene.show_map(context, tile, ground, marks, options, key="errors", legends=[legend])
    with right:
        st.subheader("Worst fixes")
        rows = tables.worst_rows(trial, WORST_PHONES)
        widgets.show_table(rows, "worst fixes")
        links = [
            f"[{row['phone']}]({link_to('live', source='phones', tier=tier, number=row['phone'])})" for row in rows
        ]
        st.markdown(f"Open in Live inference: {' · '.join(links)}")
    _features(context, key, tier, trial)
    _training(context)
    studies.show_studies(Path("runs"))


def _error_marks(tile: Tile, trial: PhoneTrial) -> tuple[map_marks.MapMarks, Legend]:
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
                name=f"errors{n}", label=label, position=position_3d, colour=(red, green, blue), texts=texts, radius=6.0
            )
        )
    return map_marks.MapMarks(dots=dots), Legend(title="error", unit="m", scale="plasma", low=0.0, high=top)


def _features(context: widgets.PageContext, key: tuple[Path, Path, Path], tier: str, trial: PhoneTrial) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Permutation importance")
        errors = cache.permutation_importance(*key, tier, phone_trial.PHONES_PER_TRIAL, seed=1)
        base = float(np.median(errors["nothing"]))
        increase = {name: float(np.median(error)) - base for name, error in errors.items() if name != "nothing"}
        widgets.show_chart(charts.bar_chart(increase, "increase of the median error in m", context.theme), "importance")
        st.caption(
            "Each feature is permuted among phones of the same serving cell while the others stay. This measures the "
            "loss by a wrong feature, not by a missing one."
        )
    locator = cache.locator(context.run)  # type: ignore[arg-type]
    if locator.config.encoder == "unet":
        return  # without attention
    with right:
        st.subheader("Attention")
        maps = cache.deployment(context.tile).maps  # type: ignore[arg-type]
        number = int(trial.error.argsort()[len(trial.error) // 2])
        weights = attention.summary_attention(locator, trial.phones.reports[number : number + 1], maps)
        widgets.show_chart(charts.attention_map(weights.numpy(), context.theme), "attention")
        st.caption(
            f"Attention of the summary token of phone {number} (median error) to cells, mean over heads. Attention "
            "does not show what decides a fix; the importance of features beside it does."
        )


def _training(context: widgets.PageContext) -> None:
    assert context.run is not None
    st.subheader("Training losses")
    file = context.run / "training" / "metrics.csv"
    if not file.is_file():
        widgets.show_missing("training log in this run", "uel demo")
        return
    curves = read_curves(file)
    left, right = st.columns(2, gap="medium")
    with left:
        losses = {name: curves[key] for key, name in LOSS_LABELS.items() if key in curves}
        widgets.show_chart(
            charts.curve_chart(losses, "loss", context.theme, log=all(bool((v > 0).all()) for _, v in losses.values())),
            "losses",
        )
    with right:
        checks = {
            name.removeprefix("val_").removesuffix("_m"): v for name, v in curves.items() if name.startswith("val_p")
        }
        widgets.show_chart(charts.curve_chart(checks, "validation error in m", context.theme), "validation")
    st.caption("Losses of the selected run; the physics terms use the radio map and, on some batches, the ray tracer.")
