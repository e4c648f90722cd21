"""What is told about units of work: how many there are, why, and how long they will take."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.engines import progress
from sim_bridge.engines.config import EngineConfig
from sim_bridge.engines.progress import Forecast, LargerJob, larger_job
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import UnitDone
from uel.config import load


@dataclass(frozen=True)
class Job:
    """Units whose results are empty files."""

    folder: Path
    phases: tuple[range, ...] = (range(4), range(4, 7))

    def is_done(self, number: int) -> bool:
        return (self.folder / str(number)).exists()

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        return self.make

    def make(self, number: int) -> UnitDone:
        (self.folder / str(number)).touch()
        return UnitDone(number)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a minute after the one before."""
    times = iter(range(0, 6000, 60))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(times)))


def test_a_job_says_what_is_made_and_reused_and_how_long_it_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: None
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "1").touch()
    job = Job(tmp_path)
    larger = LargerJob("--config map/all", 600.0)
    make_all(job, "map", EngineConfig(), "maps", reason=lambda n: "" if n == 0 else "pixel 8 → 4", larger=larger)
    assert caplog.messages == [
        f"maps: 3 to make, 1 reused in {tmp_path}",
        "maps: 2 made again: pixel 8 → 4",
        "maps: the first took 1 min, 6 take some 6 min on this machine, --config map/all takes some 10 h",
        f"maps: 3 to make, 0 reused in {tmp_path}",
        "maps: 3 made again: pixel 8 → 4",
        "maps: the first took 1 min, 3 take some 3 min on this machine",
    ]
    caplog.clear()
    make_all(job, "map", EngineConfig(), "maps")
    assert [message.partition(" in ")[0] for message in caplog.messages] == [
        "maps: 0 to make, 4 reused", "maps: 0 to make, 3 reused",
    ]  # fmt: skip


def test_workers_share_the_time_and_a_single_unit_needs_no_forecast() -> None:
    assert "5 take some 3 min" in Forecast(5, workers=2).text(60.0)
    assert Forecast(1, workers=1).text(60.0) == ""
    assert "--quick takes some 30 min" in Forecast(1, 1, LargerJob("--quick", 30.0)).text(60.0)


def test_a_quick_configuration_knows_the_full_one_and_the_full_one_no_larger() -> None:
    quick, full = (load(RadioMapConfig, "map", ["TILE", f"--pixel={pixel}"]) for pixel in (16, 2))

    def work(config):
        return config.pixel**-2

    larger = larger_job("map", quick, "default", 3, work, "TILE")
    assert larger == LargerJob("--config map/default", 3 * (16 / load(RadioMapConfig, "map", ["TILE"]).pixel) ** 2)
    assert larger_job("map", full, "default", 3, work, "TILE") is None
