"""The state of the machine on the Overview page: training, device, ray tracer, memory, versions."""

import time
from pathlib import Path

import psutil
import streamlit as st
import torch

from explorer.app import cache, widgets
from explorer.reports.run import read_curves
from uel import __version__
from uel.errors import UelError, brief
from uel.results.run_summary import run_metrics

TRAINING_LOG = "training/log/part-*/metrics.csv"
SILENCE_S = 300  # s without a line in its log after which a training counts as stopped
BYTES_PER_GIGABYTE = 1e9


def show_state(run: Path | None) -> None:
    """Show a table of the state of this machine and of the run's versions."""
    st.subheader("This machine")
    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"
    facts = {
        "training": training_text(Path("runs"), time.time()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "ray tracer": _ray_tracer(),
        "memory": f"{_gigabytes(own)} here; {_gigabytes(memory.available)} of {_gigabytes(memory.total)} are free",
        "versions": f"uel {__version__}, torch {torch.__version__}, streamlit {st.__version__}",
    }
    versions = run_metrics(run).get("versions", {}) if run is not None else {}
    if isinstance(versions, dict) and versions:
        facts["run made with"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    widgets.show_facts(facts)


def _gigabytes(count: int) -> str:
    return f"{count / BYTES_PER_GIGABYTE:.1f} GB"


def training_text(runs: Path, now: float) -> str:
    """What the newest training below a folder of runs is doing; `now` is the time in s since 1970."""
    logs = sorted(runs.glob(f"*/{TRAINING_LOG}"), key=lambda file: file.stat().st_mtime)
    if not logs:
        return "none yet"
    log = logs[-1]
    run = log.parents[3]
    steps = [int(step[-1]) for step, _ in read_curves(log).values() if len(step)]
    done = f"{run.name}, step {max(steps)}" if steps else run.name
    if (run / "locator.pt").is_file():
        return f"{done}: finished"
    silence = now - log.stat().st_mtime
    return f"{done}: running" if silence < SILENCE_S else f"{done}: no line in its log for {silence / 60:.0f} minutes"


def _ray_tracer() -> str:
    try:
        return cache.ray_tracer_backend()
    except UelError as error:
        return f"cannot run: {brief(error)}"
