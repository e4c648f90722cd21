"""A survey as a Slurm job array: a script of `sbatch` whose tasks make some units each."""

import shlex
import sys
from pathlib import Path

from uel.core.io import replace_file
from uel.errors import UelError
from uel.survey.store import explain_write_errors

MAX_ARRAY_TASKS = 1000  # in an array: Slurm's MaxArraySize is 1001 unless it is set


def write_script(folder: Path, units: int, workers: int, threads: int, gpus: float = 0.0) -> Path:
    """Write `survey.sbatch` into a survey's folder, next to the `config.yaml` that it repeats.

    At most `workers` tasks run at a time, each with `threads` CPUs and whole `gpus`. The machines see the survey's and
    the tiles' folders by the same paths as this one. Tasks that are lost or requeued cost nothing but their time.
    """
    if gpus % 1:
        raise UelError("--gpus must be a whole number with --engine slurm", got=gpus, do="give --gpus 0, 1, …")
    tasks = min(units, MAX_ARRAY_TASKS)
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=uel-survey",
        f"#SBATCH --array=0-{tasks - 1}%{workers}",
        f"#SBATCH --cpus-per-task={threads}",
        *([f"#SBATCH --gpus-per-task={gpus:g}"] if gpus else []),
        f"#SBATCH --output={folder.resolve() / 'slurm-%a.log'}",
        "#SBATCH --requeue",
        f"export OMP_NUM_THREADS={threads}",
        f'units=$(seq "$SLURM_ARRAY_TASK_ID" {tasks} {units - 1})',
        f"{shlex.join(task_command(folder))} --unit $units",
    ]
    path = folder / "survey.sbatch"
    with explain_write_errors(folder):
        replace_file(path, ("\n".join(lines) + "\n").encode())
    return path


def task_command(folder: Path) -> list[str]:
    """The command that a task runs, without its units."""
    return [sys.executable, "-m", "uel.cli", "survey", "--config", str(folder.resolve() / "config.yaml")]
