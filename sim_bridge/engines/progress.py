"""Progress of units of work, on the terminal: a bar, and how long the whole will take once one unit is made."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sim_bridge.engines.units import UnitFailure, UnitOutcome
from uel.config import load
from uel.core.display.progress import progress_bar
from uel.core.durations import duration_text

log = logging.getLogger(__name__)

MIN_LARGER_WORK = 2  # times the work of a configuration: others are not worth a word


@dataclass(frozen=True)
class LargerJob:
    """A larger configuration of the same verb, whose time is told, too."""

    name: str
    """as it is given: `--config eval/florence`"""
    units: float
    """its work, in units of the job that is made"""


Config = TypeVar("Config")


def larger_job(
    verb: str, config: Config, name: str, units: int, work: Callable[[Config], float], *required: str
) -> LargerJob | None:
    """A configuration file of a verb; None where it is not more than `MIN_LARGER_WORK` times the work of `config`.

    Args:
        verb: that both are of.
        config: a job of `units` units.
        name: of the file, without its folder.
        units: of `config`.
        work: how much a configuration is, in whatever unit.
        required: arguments without which the file is not complete.
    """
    times = work(load(type(config), verb, [*required, f"--config={verb}/{name}"])) / work(config)
    return LargerJob(f"--config {verb}/{name}", units * times) if times > MIN_LARGER_WORK else None


@dataclass(frozen=True)
class Forecast:
    """How long a job will take on this machine, told when its first unit is made.

    Example:
        >>> Forecast(units=88, workers=2, larger=LargerJob("--config eval/florence", 3000.0)).text(12.0)
        'the first took 12 s, 88 take some 9 min on this machine, --config eval/florence takes some 5 h'
    """

    units: int
    """that are to be made"""
    workers: int
    larger: LargerJob | None = None

    def text(self, seconds: float) -> str:
        """The forecast after `seconds` until the first unit; empty where no other work is left."""
        later = [f"{self.units} take some {self._duration(seconds, self.units)} on this machine"] * (self.units > 1)
        if self.larger is not None:
            later.append(f"{self.larger.name} takes some {self._duration(seconds, self.larger.units)}")
        return ", ".join([f"the first took {duration_text(seconds)}", *later]) if later else ""

    def _duration(self, seconds: float, units: float | int) -> str:
        return duration_text(seconds * math.ceil(units / self.workers))


def show_progress(
    outcomes: Iterable[UnitOutcome],
    total: int,
    title: str,
    on_done: Callable[[int], None] | None = None,
    forecast: Forecast | None = None,
) -> list[UnitFailure]:
    """Show a bar on stderr until all units have come; returns those that failed.

    Args:
        outcomes: of the units, as they come.
        total: number of units.
        title: what they are, before the bar.
        on_done: called with the number of each unit that was made.
        forecast: told when the first unit is made.
    """
    start = time.perf_counter()
    failures, counts = list[UnitFailure](), Counter[str]()
    with progress_bar(total, title) as bar:
        for outcome in outcomes:
            if isinstance(outcome, UnitFailure):
                failures.append(outcome)
                bar.update(1)
                continue
            seconds = max(time.perf_counter() - start, 1e-9)
            if forecast is not None and (text := forecast.text(seconds)):
                bar.clear()
                log.info("%s: %s", title, text)
            forecast = None
            counts.update(outcome.counts)
            rates = [f"{count / seconds:,.0f} {name}/s" for name, count in counts.items()]
            bar.set_postfix_str("  ".join([*rates, *filter(None, [outcome.text])]), refresh=False)
            bar.update(1)
            if on_done is not None:
                on_done(outcome.number)
    return failures
