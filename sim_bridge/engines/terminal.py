"""What a verb says at its end, where its work is made in units."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from sim_bridge.engines.config import EngineConfig
from sim_bridge.engines.slurm import script_path


def say_result(verb: str, config: EngineConfig, folder: Path, write_report: Callable[[Path], object]) -> int:
    """Write the report of a complete result and print its path, or as `say_partial_result`; returns the exit code."""
    if not config.is_partial:
        print(write_report(folder))
    return say_partial_result(verb, config, folder)


def say_partial_result(verb: str, config: EngineConfig, folder: Path) -> int:
    """Print the command that submits an array's script, or the folder of units that were made alone, if that is all
    that the configuration asks for; returns the exit code."""
    if config.is_partial:
        print(folder if config.unit else shlex.join(["sbatch", str(script_path(folder, verb))]))
        do = "the command without --engine slurm and --unit completes the result"
        print(f"When all units are made, {do}.", file=sys.stderr)
    return 0
