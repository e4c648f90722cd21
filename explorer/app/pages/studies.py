"""What experiments with the physics found: ablations of the loss, calibrations of materials and antennas."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from explorer.analysis import artefact_index
from explorer.analysis.artefact_index import StudyReport
from explorer.app import widgets


def show_studies(runs: Path) -> None:
    """All studies under a folder of runs."""
    for title, what, command, found in (
        (
            "Ablation of the physics loss",
            "ablation",
            "uel ablate --config ablate/florence",
            artefact_index.find_ablations,
        ),
        ("Calibration", "calibration", "uel calibrate --config calibrate/munich", artefact_index.find_calibrations),
    ):
        st.subheader(title)
        studies, problems = found(runs)
        for problem in problems:
            st.warning(problem)
        if studies:
            _one(studies, what)
        else:
            widgets.show_missing(what, command)


def _one(studies: Sequence[StudyReport], what: str) -> None:
    """A study of one's choice: its pictures as wide as the page, its table folded away."""
    names = [study.name for study in studies]
    study = studies[names.index(widgets.select_option(what.capitalize(), what, tuple(names), str))]
    for picture in study.pictures:
        st.image(str(picture), caption=picture.stem)
    with st.expander(f"Table of {study.name}: {len(study.rows)} rows", expanded=not study.pictures):
        widgets.show_table(study.rows)
