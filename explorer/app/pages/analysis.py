"""Analysis: where errors are, the worst of them, what features and losses bring, what attention falls on."""

from pathlib import Path

import numpy as np
import streamlit as st

from explorer.analysis import attention, charts, tables
from explorer.analysis.phone_trial import PhoneTrial
from explorer.app import cache, widgets
from explorer.app.pages import studies
from explorer.app.pages.metrics import PHONES
from explorer.map_view import marks as view
from explorer.map_view.ground_image import Legend
from explorer.reports.run import read_curves
from explorer.style import apply_colour_map
from uel.geo.tile import Tile
from uel.measurement.tiers import TIERS

ERROR_BINS = 6  # colours of errors on the map
WORST_PHONES = 12
LOSS_LABELS = {
    "loss": "all",
    "coarse": "coarse",
    "fine": "fine",
    "physics_map": "physics, map",
    "physics_rt": "physics, ray tracing",
}


def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "run"):
        return
    assert context.tile is not None
    assert context.run is not None
    tile = cache.tile(context.tile.folder)
    options = widgets.map_options(opacity=0.5)
    with st.sidebar:
        tier = widgets.select_option("Tier", "tier", TIERS[::-1], lambda name: charts.TIER_NAMES[name])
    key = str(context.run), str(context.tile.folder), str(context.tile.maps[0])
    done: PhoneTrial = cache.run_phone_trial(*key, None, tier, PHONES, seed=1)
    left, right = st.columns([1.75, 1.0], gap="medium")
    with left:
        st.subheader("Error on the map")
        marks, legend = _error_marks(tile, done)
        maps, _ = cache.tile_maps(context.tile)
        marks = view.site_marks(maps.radio.sites, tile) + marks
        widgets.show_map(context, tile, cache.basemap(context.tile.folder, context.theme.name), marks, options, key="errors")
        widgets.show_legends(legend)
    with right:
        st.subheader("Worst cases")
        rows = tables.worst_rows(done, WORST_PHONES)
        widgets.show_table(rows)
        links = [f"[{row['phone']}](live?source=phones&tier={tier}&number={row['phone']})" for row in rows]
        st.markdown(f"Look at them: {' · '.join(links)}")
    _features(context, key, tier, done)
    _training(context)
    studies.show_studies(Path("runs"))


def _error_marks(tile: Tile, done: PhoneTrial) -> tuple[view.MapMarks, Legend]:
    """True places, coloured by the error tcontext."""
    error, place = done.error.numpy(), done.phones.position.numpy()
    top = max(float(np.quantile(error, 0.95)), 1.0)
    bins = np.minimum(error / top * ERROR_BINS, ERROR_BINS - 1).astype(int)
    dots = []
    for n in range(ERROR_BINS):
        own = np.flatnonzero(bins == n)
        red, green, blue = apply_colour_map(np.array([n / (ERROR_BINS - 1)]), "plasma", 0.0, 1.0)[0].tolist()
        told = [f"phone {k}\n{error[k]:.0f} m off, {int(done.heard[k])} cells heard" for k in own]
        low, high = (round(top * k / ERROR_BINS) for k in (n, n + 1))
        label = f"{low}–{high} m" if n < ERROR_BINS - 1 else f"over {low} m"
        where = view.on_ground(tile, place[own], 2.0)
        dots.append(
            view.PointMarks(
                name=f"errors{n}", label=label, place=where, colour=(red, green, blue), told=told, radius=6.0
            )
        )
    return view.MapMarks(dots=dots), Legend(title="error", unit="m", scale="plasma", low=0.0, high=top)


def _features(context: widgets.PageContext, key: tuple[str, str, str], tier: str, done: PhoneTrial) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Permutation importance")
        errors = cache.permutation_importance(*key, tier, PHONES, seed=1)
        base = float(np.median(errors["nothing"]))
        gained = {name: float(np.median(error)) - base for name, error in errors.items() if name != "nothing"}
        widgets.show_chart(charts.bar_chart(gained, "metres added to the median error", context.theme), "importance")
        st.caption(
            "Each feature exchanged among phones of the same serving cell, the others kept: what the locator loses "
            "when it is wrong, which is not what it could do without."
        )
    locator = cache.locator(context.run)  # type: ignore[arg-type]
    if locator.config.encoder == "unet":
        return  # without attention
    with right:
        st.subheader("Attention")
        maps, _ = cache.tile_maps(context.tile)  # type: ignore[arg-type]
        number = int(done.error.argsort()[len(done.error) // 2])
        weights = attention.summary_attention(locator, done.phones.reports[number : number + 1], maps)
        widgets.show_chart(charts.attention_map(weights.numpy(), context.theme), "attention")
        st.caption(
            f"How the summary token of phone {number} (the median error) looks at the cells, mean over heads. Where "
            "attention falls is not what decides: beside it stands the importance."
        )


def _training(context: widgets.PageContext) -> None:
    assert context.run is not None
    st.subheader("Physics in the loss")
    file = context.run / "training" / "metrics.csv"
    if not file.is_file():
        widgets.show_missing("training log of this run", "uel demo")
        return
    told = read_curves(file)
    left, right = st.columns(2, gap="medium")
    with left:
        losses = {name: told[key] for key, name in LOSS_LABELS.items() if key in told}
        widgets.show_chart(
            charts.curve_chart(losses, "loss", context.theme, log=all(bool((v > 0).all()) for _, v in losses.values())),
            "losses",
        )
    with right:
        checks = {
            name.removeprefix("val_").removesuffix("_m"): v for name, v in told.items() if name.startswith("val_p")
        }
        widgets.show_chart(charts.curve_chart(checks, "validation error in m", context.theme), "validation")
    st.caption("Losses of the run at hand; the physics terms ask the radio map and, on some batches, the ray tracer.")
