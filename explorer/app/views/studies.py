"""Studies on the Analysis page: ablations of the physics loss, calibrations of materials and antennas."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from explorer.analysis import study_index
from explorer.analysis.study_index import StudyReport
from explorer.app import widgets
from explorer.app.elements import controls
from explorer.app.plain_text import plain


def show_studies(runs: Path) -> None:
    """Show all studies below a folder of runs."""
    for title, kind, command, find in (
        (
            "Ablation of the physics loss",
            "ablation",
            "uel ablate --config ablate/florence",
            study_index.find_ablations,
        ),
        ("Calibration", "calibration", "uel calibrate --config calibrate/munich", study_index.find_calibrations),
    ):
        st.subheader(plain(title))
        studies, problems = find(runs)
        for problem in problems:
            st.warning(plain(problem))
        if studies:
            _show_study(studies, kind)
        else:
            widgets.show_missing(kind, command)


def _show_study(studies: Sequence[StudyReport], kind: str) -> None:
    """Show a chosen study: its pictures as wide as the page, its table in an expander."""
    names = [study.name for study in studies]
    study = studies[names.index(controls.select_option(kind.capitalize(), kind, tuple(names), str))]
    for picture in study.pictures:
        st.image(str(picture), caption=plain(picture.stem))
    with st.expander(f"Table of {plain(study.name)}: {len(study.rows)} rows", expanded=not study.pictures):
        widgets.show_table(study.rows, f"{kind} {study.name}")
