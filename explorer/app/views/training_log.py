"""The training of a run on the Analysis page: losses, validation errors, and where TensorBoard finds its logs."""

import shlex
from importlib.util import find_spec
from pathlib import Path

import streamlit as st

from explorer.analysis import charts
from explorer.app import widgets
from explorer.app.plain_text import code_block
from explorer.reports.run import read_curves
from explorer.style import Theme
from uel.extras import install_command

LOSS_LABELS = {
    "loss": "all",
    "coarse": "coarse",
    "fine": "fine",
    "physics_map": "physics, map lookup",
    "physics_rt": "physics, ray tracing",
}
TENSORBOARD_ADDRESS = "http://localhost:6006"  # where TensorBoard listens unless told otherwise


def show_training(run: Path, theme: Theme) -> None:
    """Show the training losses of a run and the errors of its validations."""
    st.subheader("Training losses")
    file = run / "training" / "metrics.csv"
    if not file.is_file():
        widgets.show_missing("training log in this run", "uel demo")
        return
    curves = read_curves(file)
    left, right = st.columns(2, gap="medium")
    with left:
        losses = {name: curves[key] for key, name in LOSS_LABELS.items() if key in curves}
        is_positive = all(bool((value > 0).all()) for _, value in losses.values())
        widgets.show_chart(charts.curve_chart(losses, "loss", theme, log=is_positive), "losses")
    with right:
        checks = {
            name.removeprefix("val_").removesuffix("_m"): v for name, v in curves.items() if name.startswith("val_p")
        }
        widgets.show_chart(charts.curve_chart(checks, "validation error in m", theme), "validation")
    st.caption("Losses of the selected run; the physics terms use the radio map and, on some batches, the ray tracer.")
    _tensorboard(run)


def _tensorboard(run: Path) -> None:
    folder = run / "training" / "tensorboard"
    with st.expander("The same in TensorBoard"):
        if not folder.is_dir():
            st.markdown("This run has no logs of TensorBoard: trainings write them where it is installed.")
            st.markdown(code_block(install_command("tensorboard")))
            return
        st.markdown(code_block(f"tensorboard --logdir {shlex.quote(str(folder))}"))
        if find_spec("tensorboard") is None:
            st.markdown(code_block(install_command("tensorboard")))
        st.link_button("Open TensorBoard", TENSORBOARD_ADDRESS, help="This opens what the command above has started.")
