"""The command line, and with `uel.verbs` the one composition root: a verb reads its configuration, then imports what it
needs. The verbs that make tiles, radio maps and surveys are here.

Configurations import no framework, so that `uel VERB --help` costs no more than the parser.
"""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from uel import __version__
from uel.core.interruption import received_signal, terminable
from uel.errors import UelError
from uel.extras import explained_imports
from uel.verbs.completion import install_completion, show_completion
from uel.verbs.conversion import convert
from uel.verbs.experiments import ablate, antennas, calibrate, demo, evaluate, residuals, train, train_maps
from uel.verbs.use import explore, export, locate
from uel.verbs.verification import verify

if TYPE_CHECKING:
    from uel.geo.tile import Tile


def build(args: Sequence[str]) -> int:
    """Build tiles from OpenStreetMap or a bundled city, with sites, a report and a picture; --check verifies them."""
    from scenes.config import BuildConfig
    from uel.config import load

    config = load(BuildConfig, "build", args)
    from scenes.command import build_tiles, check_tiles, report_lines

    if config.check:
        changed = check_tiles(config.sources)
        for folder, files in changed.items():
            print(f"{folder}: {'as it was built' if not files else 'differs: ' + ', '.join(files)}")
        return 1 if any(changed.values()) else 0
    from explorer.reports.tile import complete_report

    results = build_tiles(config, lambda tile, report: complete_report(tile, report, _inspect(tile, config.render)))
    for source, tile, seconds in results:
        print(f"{seconds:6.1f} s  {source}: {tile if isinstance(tile, UelError) else tile.folder}")
        if not isinstance(tile, UelError):
            print("".join(f"          {line}\n" for line in report_lines(tile)), end="")
    return 2 if any(isinstance(tile, UelError) for _, tile, _ in results) else 0


def network(args: Sequence[str]) -> int:
    """Build the tile of a measured network: heights, the operator's masts as sites, and its table of reports."""
    from scenes.measured_networks.config import NetworkConfig
    from uel.config import load

    config = load(NetworkConfig, "network", args)
    from explorer.reports.tile import complete_report
    from scenes.command import report_lines
    from scenes.network_tile import build_network

    result = build_network(config, lambda tile, report: complete_report(tile, report, _inspect(tile, render=False)))
    print(result.tile.folder)
    print("".join(f"          {line}\n" for line in [*report_lines(result.tile), *result.summary()]), end="")
    return 0


def _inspect(tile: "Tile", render: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The ray tracer's findings about a tile, and a rendered picture."""
    from sim_bridge.diagnostics import tile_inspection

    return tile_inspection.inspect_tile(tile), {"render.png": tile_inspection.render_tile(tile)} if render else {}


def place(args: Sequence[str]) -> int:
    """Place sites on a tile, by a plan or from a file, and write them into it."""
    from scenes.config import PlaceConfig
    from uel.config import load

    config = load(PlaceConfig, "place", args)
    from scenes.command import place_sites

    for site in place_sites(config).sites:
        x, y, z = site.position
        print(f"{x:9.1f} {y:9.1f} {z:7.1f} m  {len(site.cells)} cells")
    return 0


def radio_map(args: Sequence[str]) -> int:
    """Trace radio maps of tiles: gain with its error, delays, angles, SINR, throughput; checked against paths."""
    from sim_bridge.commands.config import RadioMapConfig
    from uel.config import load

    config = load(RadioMapConfig, "map", args)
    from explorer.reports.radio_map import write_map_report
    from sim_bridge.commands.radio_map import make_maps, summary_lines
    from sim_bridge.engines.terminal import say_partial_result

    for folder, report in make_maps(config):
        write_map_report(folder)
        print("\n".join(summary_lines(folder, report)))
    return say_partial_result("map", config, config.folder)


def survey(args: Sequence[str]) -> int:
    """Measure tracks of phones over tiles by ray tracing: units of work on cores, a Ray cluster or Slurm."""
    from sim_bridge.commands.config import SurveyConfig
    from uel.config import load

    config = load(SurveyConfig, "survey", args)
    from explorer.reports.survey import refresh_survey_report, write_survey_report
    from sim_bridge.commands.survey import export_survey, is_finished, make_survey, verify_survey
    from sim_bridge.engines.terminal import say_partial_result

    if config.verify:
        damaged = verify_survey(config)
        for unit, files in damaged.items():
            print(f"{unit} differs, to be made again: {', '.join(files)}")
        print(f"{config.out}: {f'{len(damaged)} units differ' if damaged else 'as it was made'}")
        return 1 if damaged else 0
    if config.export != "none":
        print(*export_survey(config), sep="\n")
        return 0
    if config.report:
        print(write_survey_report(config.out, config.tiles))
        return 0
    make_survey(config)
    if config.engine == "slurm" and not config.unit:
        return say_partial_result("survey", config, config.out)
    print(config.out)
    if is_finished(config):
        print(refresh_survey_report(config.out, config.tiles))
    return 0


def doctor(args: Sequence[str]) -> int:
    """Report what this machine has and what is missing, and test the ray tracer."""
    from sim_bridge.diagnostics.doctor import main

    return main(args)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "build": build,
    "network": network,
    "place": place,
    "map": radio_map,
    "survey": survey,
    "train": train,
    "train-maps": train_maps,
    "eval": evaluate,
    "ablate": ablate,
    "locate": locate,
    "export": export,
    "convert": convert,
    "verify": verify,
    "calibrate": calibrate,
    "antennas": antennas,
    "residuals": residuals,
    "explore": explore,
    "doctor": doctor,
}


def show_manual(args: Sequence[str]) -> int:
    """Print the manual of a verb, or without one the list of verbs."""
    if not args:
        print(usage(), end="")
        return 0
    from uel.verbs.manual import manual_page

    verb = _verb(args[0])
    print(manual_page(args[0], (verb.__doc__ or "").splitlines()[0]))
    return verb(["--help"])


OTHER_COMMANDS = {
    "help": show_manual,
    "--install-completion": install_completion,
    "--show-completion": show_completion,
}
"""beside the verbs"""


def usage() -> str:
    """The text of `uel --help`."""
    verbs = "\n".join(f"  {name:<12}{(verb.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items())
    return f"""usage: uel <verb> [options]

Find a phone from what it hears, with a ray tracer in the loop.

verbs:
{verbs}

options:
  -h, --help     this text; `uel <verb> --help` for a verb's options, `uel help <verb>` for its manual
  -v, --verbose  say more, the libraries' messages included
  --version      the version
  --install-completion [bash|zsh|fish]  let the shell complete verbs, options and values; --show-completion prints how
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. 0 is success, 1 something missing, 2 a user's mistake, 130 Ctrl-C, 143 SIGTERM."""
    args = list(sys.argv[1:] if argv is None else argv)
    verbose = [arg for arg in args if arg in ("-v", "--verbose")]
    args = [arg for arg in args if arg not in verbose]
    if not args or args[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0
    if args[0] == "--version":
        print(f"uel {__version__}")
        return 0
    return _guarded(args[0], args[1:], bool(verbose))


def _guarded(name: str, args: list[str], verbose: bool) -> int:
    """Call a verb; what a user can mend is a message, not a traceback, and so are signals."""
    try:
        with terminable(), explained_imports():
            verb = _verb(name)
            if not {"-h", "--help"} & set(args):
                _log(verbose)
            return verb(args)
    except BaseException as error:
        again = shlex.join(["uel", name, *args])
        number = received_signal()
        if number is None and isinstance(error, KeyboardInterrupt):
            number = signal.SIGINT
        if number is not None:  # whatever a library made of it
            message = "Stopped. Finished stages are kept; the same command goes on from there:"
            print(f"\n{message}\n  {again}", file=sys.stderr)
            return 128 + number  # as a shell tells the signal
        return _explained(error, again)


def _explained(error: BaseException, again: str) -> int:
    """Print what a user can do about an error and return the exit code; others are raised."""
    from sim_bridge.engines.units import UnitError
    from uel.core.files.write_errors import write_fault

    if isinstance(error, BrokenPipeError):  # whoever read has gone, as in `uel build --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at the end
        return 0
    if isinstance(error, UnitError):
        print(f"{error}\nFinished units are kept; the same command makes the others:\n  {again}", file=sys.stderr)
        return 1
    fault = write_fault(error) if isinstance(error, OSError) else error
    if not isinstance(fault, UelError):
        raise error
    logging.getLogger("uel").debug("where it happened:", exc_info=error)
    print(f"uel: {fault}", file=sys.stderr)
    return 2


def _verb(name: str) -> Callable[[Sequence[str]], int]:
    if name in VERBS or name in OTHER_COMMANDS:
        return (VERBS | OTHER_COMMANDS)[name]
    import difflib

    close = difflib.get_close_matches(name, VERBS, n=1)
    do = f"Perhaps you meant {close[0]!r}." if close else f"use one of: {', '.join(VERBS)}"
    raise UelError("unknown verb", got=name, do=do)


def _log(verbose: bool) -> None:
    """What our own rooms do, on stderr; with `verbose` what the libraries say, too."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", datefmt="%X", handlers=[handler], force=True)
    for room in ("uel", "sim_bridge", "scenes", "training", "explorer"):
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
