"""The District page: levels of a measured network, measured and predicted, errors, and the posterior of a phone."""

import numpy as np
import streamlit as st

from explorer.analysis import charts
from explorer.analysis.district import DistrictView
from explorer.app import cache, widgets
from explorer.app.elements import controls
from explorer.app.elements.address import addressed
from explorer.app.elements.terms import show_terms
from explorer.app.plain_text import plain
from scenes.measured_networks.tile_network import is_network_tile

MAKE_COMMAND = "uel network FOLDER"
JUDGED_HELP = "A phone whose place is known, but not told: its error is the distance to where it is placed."
LEVEL_LIMITS = (-115.0, -60.0)  # dBm, of colours
ERROR_LIMIT = 15.0  # dB


@addressed
def page() -> None:
    context = widgets.page_context()
    if not widgets.require_artefacts(context, "tile"):
        return
    assert context.tile is not None
    if not is_network_tile(context.tile.folder):
        widgets.show_missing(f"measured network on {context.tile.label}", MAKE_COMMAND)
        return
    view: DistrictView = cache.district(context.tile.folder)
    cells = view.judged.cells.cell_id
    count = view.judged.is_reported.sum(0) + view.labels.is_reported.sum(0)
    with st.sidebar:
        order = count.argsort(descending=True).tolist()
        name = controls.select_option("Cell", "cell", [cells[cell] for cell in order])
        phone = controls.integer("Judged phone", "judged", 0, len(view.judged) - 1, 0, help=JUDGED_HELP)
    st.caption(
        f"The measured network of {plain(context.tile.label)}. Levels that phones measured on some squares are "
        "interpolated to all others, and phones that nobody has placed are located by them."
    )
    _levels(view, cells.index(name), context)
    _phone(view, phone, context)
    show_terms("RSRP", "dB", "kriging", "cell", "median")


def _levels(view: DistrictView, cell: int, context: widgets.PageContext) -> None:
    """Three maps of one cell's levels, and how far off predictions are."""
    st.subheader(f"Levels of cell {plain(view.judged.cells.cell_id[cell])}")
    error = view.level_error(cell)
    known = np.abs(error[np.isfinite(error)])
    off = f"{np.median(known):.1f} dB" if len(known) else "–"
    widgets.show_cards(
        {
            "labelled squares": (str(len(view.labels)), "levels are interpolated from these"),
            "judged squares": (str(len(view.judged)), "of other blocks of 64 m"),
            "level error": (off, f"median of {len(known)} judged squares of this cell"),
            "position error": (f"{float(view.errors.median()):.0f} m", f"median of {len(view.errors)} judged phones"),
        }
    )
    maps = (
        ("measured, dBm", view.measured(cell), "viridis", LEVEL_LIMITS),
        ("predicted, dBm", view.predicted(cell), "viridis", LEVEL_LIMITS),
        ("predicted minus measured, dB", error, "RdBu", (-ERROR_LIMIT, ERROR_LIMIT)),
    )
    for column, (title, values, scale, limits) in zip(st.columns(3, gap="small"), maps, strict=True):
        with column:
            chart = charts.square_map(view.axes, values, title, scale, limits, context.theme)
            widgets.show_chart(chart, f"district-{title.split(',')[0]}")


def _phone(view: DistrictView, phone: int, context: widgets.PageContext) -> None:
    """The posterior of a judged phone, where it was, and what it reported."""
    estimate = view.estimate(phone)
    truth, answer = view.judged.position[phone], estimate.position[0]
    st.subheader(f"Phone {phone}: {float((truth - answer).norm()):.0f} m error")
    left, right = st.columns([1.6, 1.0], gap="medium")
    with left:
        probability = view.posterior(estimate)
        logarithm = np.log10(np.maximum(probability / np.nanmax(probability), 1e-4))
        title, limits = "log10 of probability over the greatest", (-4.0, 0.0)
        chart = charts.square_map(view.axes, logarithm, title, "Oranges", limits, context.theme)
        charts.mark_places(chart, {"truth": truth.tolist(), "answer": answer.tolist()})
        widgets.show_chart(chart, "district-posterior")
    with right:
        widgets.show_table(view.level_rows(phone, estimate), "levels of this phone")
        st.caption("Levels that the phone reported, and those that are predicted where it was and where it is placed.")
