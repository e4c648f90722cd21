"""`uel doctor`: checks of this machine, its packages, and the bridge against closed forms."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sim_bridge.backend import runtime
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.extras import EXTRA_OF_LIBRARY, install_command

REQUIRED_PACKAGES = ("torch", "drjit", "mitsuba", "sionna-rt", "zarr")
OPTIONAL_LIBRARIES = ("rasterio", "lightning", "streamlit")  # one of each extra that the ray tracer does without
ERROR_LIMITS = {
    "gain_error_rel": 1e-4,
    "gradient_error_rel": 1e-3,
    "map_unknown_share": 0.0,
    "map_error_rel": 0.02,
    "map_shadow_error_share": 0.0,
}
ERROR_MEANINGS = {
    "gain_error_rel": "gain against Friis' law",
    "gradient_error_rel": "gradient of gain with respect to position",
    "map_unknown_share": "pixels without a gain in the map of empty space",
    "map_error_rel": "mean gain of that map against Friis' law",
    "map_shadow_error_share": "pixels of a map that are wrongly lit or dark around a screen",
}
GPU_CHECK_COMMAND = "python -m sim_bridge.cuda_check"
SELFTEST_TIMEOUT = (
    120.0  # s; the test takes a few, but the first import and kernel compilation on a busy machine do not
)


@dataclass(frozen=True)
class SelfTestCheck:
    """One line of the table; `do` is the remedy where `ok` is false."""

    name: str
    value: str
    ok: bool = True
    do: str = ""


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Checks beside those of the machine."""

    gradients: bool = False
    """compare every derivative of the bridge with differences (an hour on two cores)"""
    configurations: int = 100
    """random configurations in each line of that table"""
    scenes: tuple[str, ...] = ()
    """scenes of that table, such as "edge, lit"; default: all"""
    json: Path | None = None
    """file to write the table to"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.configurations < 1:
            raise UelError("--configurations must be at least 1", got=self.configurations, do="give 100, say")


def main(argv: Sequence[str] = ()) -> int:
    """Print every check; 0 when all pass, 1 when something is missing or wrong."""
    from uel.config import load

    config = load(DoctorConfig, "doctor", argv)
    checks = [*system_checks(), *package_checks(), *backend_checks()]
    all_ok = all(check.ok for check in checks)
    skipped = SelfTestCheck("self-test", "not run", False, "correct the lines above first")
    checks += run_self_test() if all_ok else [skipped]
    print_checks(checks)
    if not all(check.ok for check in checks):
        return 1
    return show_gradients(config) if config.gradients else 0


def show_gradients(config: DoctorConfig) -> int:
    """Print the table of gradients; 0 when each is correct or refused."""
    from rich.console import Console
    from rich.markdown import Markdown

    from sim_bridge.diagnostics import gradient_check
    from sim_bridge.diagnostics.gradient_scenes import GRADIENT_SCENES

    if unknown := [name for name in config.scenes if name not in GRADIENT_SCENES]:
        do = f"choose among: {'; '.join(GRADIENT_SCENES)}"
        raise UelError("no such scene in the table of gradients", got=unknown[0], do=do)
    scenes = {name: GRADIENT_SCENES[name] for name in config.scenes or GRADIENT_SCENES}
    rows = gradient_check.gradient_table(config.configurations, scenes=scenes)
    Console(width=150).print(Markdown(gradient_check.markdown_table(rows)))
    for row in rows:
        if row.status.startswith("WRONG"):
            print(f"{row.status}: {row.scene}, {row.mode}, {row.quantity} by {row.parameter}, error {row.error}")
    if config.json:
        gradient_check.write_rows(rows, config.json)
    return 0 if gradient_check.all_passed(rows) else 1


def system_checks() -> list[SelfTestCheck]:
    python = sys.version_info[:2] >= (3, 11)
    return [
        SelfTestCheck("Python", platform.python_version(), python, "install Python 3.11 or newer"),
        SelfTestCheck("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        SelfTestCheck("CPU cores", str(os.cpu_count())),
    ]


def package_checks() -> list[SelfTestCheck]:
    return [package_check(name) for name in REQUIRED_PACKAGES] + [optional_check(name) for name in OPTIONAL_LIBRARIES]


def package_check(name: str) -> SelfTestCheck:
    """The version of an installed distribution, read without importing it."""
    try:
        return SelfTestCheck(name, version(name))
    except PackageNotFoundError:
        return SelfTestCheck(name, "missing", False, install_command("sim"))


def optional_check(library: str) -> SelfTestCheck:
    """The version of a library of an extra; that it is missing is no fault."""
    try:
        return SelfTestCheck(library, version(library))
    except PackageNotFoundError:
        return SelfTestCheck(library, f"not installed; {install_command(EXTRA_OF_LIBRARY[library])}")


def backend_checks() -> list[SelfTestCheck]:
    """GPU, LLVM, the Mitsuba variant that follows from them, the version of Sionna RT, and what checks a GPU."""
    return [
        _check("ray tracing on", lambda: _backend(runtime.ensure_runtime())),
        _check("Sionna RT", _sionna),
        SelfTestCheck("a GPU, line by line", GPU_CHECK_COMMAND),
    ]


def _backend(chosen: runtime.Runtime) -> str:
    return f"{chosen}; Mitsuba variant {chosen.variant}"


def _sionna() -> str:
    runtime.require_version(version("sionna-rt"))
    return "a version the bridge knows"


def _check(name: str, value_of: Callable[[], str]) -> SelfTestCheck:
    """A user's mistake or a missing package, as a failed check."""
    try:
        return SelfTestCheck(name, value_of())
    except UelError as error:
        message, *details = str(error).splitlines()
        return SelfTestCheck(name, message, False, " ".join(line.strip() for line in details))
    except PackageNotFoundError as error:
        return SelfTestCheck(name, f"{error.name} is missing", False, install_command("sim"))


def run_self_test() -> list[SelfTestCheck]:
    """The bridge in a process of its own: Dr.Jit ends the process where it cannot go on."""
    command = [sys.executable, "-m", "sim_bridge.diagnostics.selftest"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SELFTEST_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return [
            SelfTestCheck(
                "self-test", f"no answer in {SELFTEST_TIMEOUT:.0f} s", False, "try again on a quieter machine"
            )
        ]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        do = f"see: {sys.executable} -m sim_bridge.diagnostics.selftest"
        return [SelfTestCheck("self-test", f"ended with {done.returncode}: {last}", False, do)]
    return error_checks(json.loads(done.stdout.splitlines()[-1]))


def error_checks(measured: dict[str, float]) -> list[SelfTestCheck]:
    """The self-test's errors, relative or shares, against their limits; NaN fails."""
    checks = []
    for key, limit in ERROR_LIMITS.items():
        error = measured[key]
        value = f"{error:.1e}, limit {limit:.0e}"
        checks.append(
            SelfTestCheck(ERROR_MEANINGS[key], value, error <= limit, "report this: the bridge computes something else")
        )
    return [*checks, SelfTestCheck("self-test took", f"{measured['seconds']:.1f} s")]


def print_checks(checks: Sequence[SelfTestCheck]) -> None:
    """A table, and what to do about the lines that failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", "", title="uel doctor", show_header=False)
    for check in checks:
        table.add_row("[green]ok[/]" if check.ok else "[red]no[/]", check.name, escape(check.value))
    console = Console()
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(f"[red]{check.name}[/]: {escape(check.value)}\n  {escape(check.do)}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
