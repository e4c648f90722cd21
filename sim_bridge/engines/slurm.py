"""Units of work as a Slurm job array: a script of `sbatch` whose tasks make some units each.

Why not `submitit`: it pickles a function for each task, calls `sbatch` itself, and its tasks run what the pickles in
the job's folder hold. Here a verb writes one script that can be read, changed (partition, account, time) and submitted
on another machine, and a task repeats the verb with the numbers of its units: nothing but `config.yaml` is trusted, and
a lost task is made by the same command on any engine.
"""

import re
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
    but their time.

    Raises `UelError` for a part of a GPU, and for a path that no job script can name.
    """
    if gpus % 1:
        raise UelError("--gpus must be a whole number with --engine slurm", got=gpus, do="give --gpus 0, 1, …")
    folder, work, data = folder.resolve(), Path.cwd(), data_folder().resolve()
    for path in (folder, work, data, Path(sys.executable)):
        _require_plain(path)
    tasks = min(len(units), MAX_ARRAY_TASKS)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=uel-{verb}",
        f"#SBATCH --array=0-{tasks - 1}%{workers}",
        f"#SBATCH --cpus-per-task={threads}",
        *([f"#SBATCH --gpus-per-task={gpus:g}"] if gpus else []),
        f"#SBATCH --output={slurm_pattern(folder)}/slurm-%a.log",
        "#SBATCH --requeue",
        f"cd -- {shlex.quote(str(work))} || exit",
        f"export OMP_NUM_THREADS={threads} UEL_DATA={shlex.quote(str(data))}",
        f"units=$(seq $((SLURM_ARRAY_TASK_ID + {units.start})) {tasks} {units.stop - 1})",
        f"{shlex.join(task_command(folder, verb))} --unit $units",
    ]
    path = script_path(folder, verb)
    replace_file(path, ("\n".join(lines) + "\n").encode())
    return path


def task_command(folder: Path, verb: str) -> list[str]:
    """The command that a task runs, without its units."""
    return [sys.executable, "-m", "uel.cli", verb, "--config", str(folder.resolve() / CONFIG_NAME)]


def slurm_pattern(path: Path) -> str:
    """A path in a line of `#SBATCH`: `sbatch` takes away backslashes, and reads `%%` as a percent sign.

    Example:
        >>> print(slurm_pattern(Path("/data/50% of it")))
        /data/50%%\\ of\\ it
    """
    return re.sub(r"[^\w/.,:@+=%-]", lambda sign: f"\\{sign[0]}", str(path).replace("%", "%%"))


def _require_plain(path: Path) -> None:
    """Raise `UelError` for a path that would end a line of a script, or that `sbatch` reads as another one."""
    if not str(path).isprintable() or "\\" in str(path):
        do = "use folders without control characters and backslashes"
        raise UelError("a job script cannot name this path", got=ascii(str(path)), do=do)
