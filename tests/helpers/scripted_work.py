"""Work without a survey, light to import: it does as it is told and says how often it was asked."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim_bridge.engines.units import UnitDone
from uel.errors import UelError


@dataclass(frozen=True)
class Script:
    """What to do is `what`; who asked stands in `folder`."""

    folder: Path
    what: str

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if self.what == "broken":
            raise RuntimeError("cannot begin")
        return self.make

    def make(self, number: int) -> UnitDone:
        with (self.folder / "asked").open("a") as file:
            file.write(f"{number} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        if self.what == "sleeps":
            time.sleep(0.5)
        if self.what == "refused":
            raise UelError("the disk is full")
        if self.what == "always dies" or (self.what == "dies once" and number == 1 and self.asked(number) == 1):
            os._exit(7)
        if self.what == "fails once" and self.asked(number) == 1:
            raise RuntimeError("a hiccup")
        return UnitDone(number, counts={"reports": 2, "links": 8})

    def asked(self, number: int) -> int:
        """How often a unit was asked for."""
        return sum(line.split()[0] == str(number) for line in (self.folder / "asked").read_text().splitlines())


@dataclass(frozen=True)
class ScriptWithResults(Script):
    """Two phases of units, each of which leaves a file."""

    @property
    def phases(self) -> tuple[range, ...]:
        return range(3), range(3, 5)

    def is_done(self, number: int) -> bool:
        return (self.folder / f"result-{number}").is_file()

    def make(self, number: int) -> UnitDone:
        if self.what == "fails at 1" and number == 1:
            raise RuntimeError("no such luck")
        done = super().make(number)
        (self.folder / f"result-{number}").write_text(os.getcwd())
        return done
