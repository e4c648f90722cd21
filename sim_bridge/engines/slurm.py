"""Units of work as a Slurm job array: a script of `sbatch` whose tasks make some units each."""

import os
import shlex
import sys
from pathlib import Path

from uel.core.io import data_folder, replace_file
from uel.errors import UelError

CONFIG_NAME = "config.yaml"  # beside the script; the configuration that its tasks repeat
MAX_ARRAY_TASKS = 1000  # in an array: Slurm's MaxArraySize is 1001 unless it is set


def script_path(folder: Path, verb: str) -> Path:
    """The script of a verb's job array in the folder of its results."""
    return folder / f"{verb}.sbatch"


def write_script(folder: Path, verb: str, units: range, workers: int, threads: int, gpus: float = 0.0) -> Path:
    """Write the script of an array that makes `units`, next to the `config.yaml` that it repeats; returns its path.

    At most `workers` tasks run at a time, each with `threads` CPUs and whole `gpus`. The machines see this working
    directory and all folders of the job by the same paths as this one. Tasks that are lost or requeued cost nothing
    but their time. Raises `UelError` for a part of a GPU.
    """
    if gpus % 1:
        raise UelError("--gpus must be a whole number with --engine slurm", got=gpus, do="give --gpus 0, 1, …")
    tasks = min(len(units), MAX_ARRAY_TASKS)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=uel-{verb}",
        f"#SBATCH --array=0-{tasks - 1}%{workers}",
        f"#SBATCH --cpus-per-task={threads}",
        *([f"#SBATCH --gpus-per-task={gpus:g}"] if gpus else []),
        f"#SBATCH --output={folder.resolve() / 'slurm-%a.log'}",
        "#SBATCH --requeue",
        f"cd {shlex.quote(os.getcwd())} || exit",
        f"export OMP_NUM_THREADS={threads} UEL_DATA={shlex.quote(str(data_folder().resolve()))}",
        f"units=$(seq $((SLURM_ARRAY_TASK_ID + {units.start})) {tasks} {units.stop - 1})",
        f"{shlex.join(task_command(folder, verb))} --unit $units",
    ]
    path = script_path(folder, verb)
    replace_file(path, ("\n".join(lines) + "\n").encode())
    return path


def task_command(folder: Path, verb: str) -> list[str]:
    """The command that a task runs, without its units."""
    return [sys.executable, "-m", "uel.cli", verb, "--config", str(folder.resolve() / CONFIG_NAME)]
