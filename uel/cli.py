"""The command line, and the one composition root: a verb reads its configuration, then imports what it needs.

Configurations import no framework, so that `uel VERB --help` costs no more than the parser.
"""

import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uel import __version__
from uel.core.interruption import Terminated, terminable
from uel.errors import UelError

if TYPE_CHECKING:
    from training.commands.config import TrainConfig
    from uel.geo.tile import Tile


def demo(args: Sequence[str]) -> int:
    """Run the whole pipeline on real cities: maps, surveys, training, evaluation, report."""
    from training.commands.config import DemoConfig
    from uel.config import load, save

    config = load(DemoConfig, "demo", args)
    from explorer.reports.run import write_run_report
    from training.commands.demo import run

    folder = run(config)
    save(config, folder / "config.yaml")
    write_run_report(folder)
    print(folder)
    return 0


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


def train(args: Sequence[str]) -> int:
    """Train a locator on many tiles, sets of sites and map conditions; once, or for each combination of a sweep."""
    from training.commands.config import TrainConfig
    from uel.config import load

    config = load(TrainConfig, "train", args)
    from sim_bridge.engines.terminal import say_partial_result
    from training.commands import sweep

    if config.sweep is None:
        sweep.require_no_engine(config)
        print(*filter(None, [train_once(config)]), sep="\n")
        return 0
    if config.wandb_sweep:
        print(sweep.wandb_yaml(config.sweep, args), end="")
        return 0
    job = sweep.sweep_job(config, args, train_once)
    for combination, score in sweep.run_sweep(job, config):
        print(f"{score:9.4f}  {sweep.folder_label(combination)}")
    return say_partial_result("train", config, job.folder)


def train_once(config: "TrainConfig") -> Path | None:
    """Train one locator and write its report; None in processes that do not write. Workers of a sweep call it, too."""
    from explorer.reports.train import validation_pictures, write_training_report
    from training.commands.train import run

    folder = run(config, validation_pictures)
    if folder is not None:
        write_training_report(folder)
    return folder


def evaluate(args: Sequence[str]) -> int:
    """Evaluate a run by a protocol: all conditions, all baselines, beside the physical limit of the same data."""
    from training.evaluation.protocol import EvalConfig
    from uel.config import load

    # A protocol is a config file of this verb, by the name that people give it.
    config = load(EvalConfig, "eval", [re.sub(r"^--protocol(?=$|=)", "--config", arg) for arg in args])
    from explorer.reports.evaluation import write_evaluation_report
    from sim_bridge.engines.terminal import say_result
    from training.evaluation.runner import run_protocol

    return say_result("eval", config, run_protocol(config), write_evaluation_report)


def ablate(args: Sequence[str]) -> int:
    """Compare ray tracing with precomputed maps in the loss, on a new tile with few labels; --quick in minutes."""
    from training.ablation.config import AblateConfig
    from uel.config import load

    config = load(AblateConfig, "ablate", ["--config=ablate/quick" if arg == "--quick" else arg for arg in args])
    from explorer.reports.ablation import write_ablation_report
    from sim_bridge.engines.terminal import say_result
    from training.ablation.runner import ablate as run

    return say_result("ablate", config, run(config), write_ablation_report)


def locate(args: Sequence[str]) -> int:
    """Locate the phone that sent some reports, by a run's locator; --geojson writes candidates and regions, too."""
    from uel.config import load
    from uel.inference.config import LocateConfig

    config = load(LocateConfig, "locate", args)
    from sim_bridge import registry
    from uel.inference.locate import locate as run

    registry.find_backend(config.tracing.backend)  # before any work
    for line in run(config, registry.open, _trace_radio_map):
        print(line)
    return 0


def export(args: Sequence[str]) -> int:
    """Write a run's locator on a tile as a file that PyTorch runs without this library (torch.export)."""
    from uel.config import load
    from uel.inference.config import ExportConfig

    config = load(ExportConfig, "export", args)
    from uel.inference.torch_export import export as run

    print(run(config, _trace_radio_map))
    return 0


def _trace_radio_map(tile: "Tile", pixel: float, backend: str) -> Path:
    from sim_bridge.commands.radio_map import trace_radio_map

    return trace_radio_map(tile, pixel, backend)


def calibrate(args: Sequence[str]) -> int:
    """Fit materials and antennas to measured levels, with error bars: a calibrated tile, and how much it helps."""
    from training.calibration.config import CalibrateConfig
    from uel.config import load

    config = load(CalibrateConfig, "calibrate", args)
    from explorer.reports.calibration import write_calibration_report
    from sim_bridge.engines.terminal import say_result
    from training.calibration.run import run

    return say_result("calibrate", config, run(config), write_calibration_report)


def explore(args: Sequence[str]) -> int:
    """Show runs, tiles, maps and surveys in a browser, with no network."""
    from explorer.app.config import ExploreConfig
    from explorer.app.serve import serve
    from uel.config import load

    serve(load(ExploreConfig, "explore", args))
    return 0


def doctor(args: Sequence[str]) -> int:
    """Report what this machine has and what is missing, and test the ray tracer."""
    from sim_bridge.diagnostics.doctor import main

    return main(args)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "build": build,
    "place": place,
    "map": radio_map,
    "survey": survey,
    "train": train,
    "eval": evaluate,
    "ablate": ablate,
    "locate": locate,
    "export": export,
    "calibrate": calibrate,
    "explore": explore,
    "doctor": doctor,
}


def usage() -> str:
    """The text of `uel --help`."""
    verbs = "\n".join(f"  {name:<10}{(verb.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items())
    return f"""usage: uel <verb> [options]

Find a phone from what it hears, with a ray tracer in the loop.

verbs:
{verbs}

options:
  -h, --help     this text; `uel <verb> --help` for a verb's options
  -v, --verbose  say more, the libraries' messages included
  --version      the version
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
    """Call a verb; a user's mistake is a message, not a traceback, and so are units of work that failed."""
    from sim_bridge.engines.units import UnitError

    again = shlex.join(["uel", name, *args])
    try:
        verb = _verb(name)
        if not {"-h", "--help"} & set(args):
            _log(verbose)
        with terminable():
            return verb(args)
    except UelError as error:
        print(f"uel: {error}", file=sys.stderr)
        return 2
    except UnitError as error:
        print(f"{error}\nFinished units are kept; the same command makes the others:\n  {again}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read has gone, as in `uel build --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at the end
        return 0
    except KeyboardInterrupt as interrupt:
        print(f"\nStopped. Finished stages are kept; the same command goes on from there:\n  {again}", file=sys.stderr)
        return 143 if isinstance(interrupt, Terminated) else 130  # as a shell tells the signal


def _verb(name: str) -> Callable[[Sequence[str]], int]:
    if name in VERBS:
        return VERBS[name]
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
