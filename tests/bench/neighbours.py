"""What a shared machine costs: a training step beside busy processes over one alone; CPU seconds of every `--help`."""

import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import track

from uel.cli import VERBS

ROUNDS, STEPS = 9, 2
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # no longer than this process lives


def run() -> dict[str, float]:
    load = os.getloadavg()[0]  # what else ran: "alone" is alone only where this is near 0
    return {"load_before": load} | _beside() | {"help_cpu_s": max(map(_help_cpu_s, VERBS))}


def _beside() -> dict[str, float]:
    """A training step of the toy city, alone and beside one busy process per two cores, in turn: medians."""
    alone, beside = [], []
    with _ended("-m", __name__) as child, _neighbours() as neighbours:
        _step(child)
        for _ in track(range(ROUNDS), "busy neighbours", transient=True):
            alone.append(_step(child))
            _signal(neighbours, signal.SIGCONT)
            beside.append(_step(child))
            _signal(neighbours, signal.SIGSTOP)
    pairs = list(zip(alone, beside, strict=True))
    return {
        "alone_step_ms": 1e3 * statistics.median(wall for wall, _ in alone),
        "alone_step_cpu_ms": 1e3 * statistics.median(cpu for _, cpu in alone),
        "beside_a_busy_process_ratio": statistics.median(b[0] / a[0] for a, b in pairs),
        "beside_a_busy_process_cpu_ratio": statistics.median(b[1] / a[1] for a, b in pairs),
    }


@contextmanager
def _ended(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is ended in the end."""
    child = subprocess.Popen([sys.executable, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def _neighbours() -> Iterator[list[subprocess.Popen[str]]]:
    """One process per two cores that computes whenever it is not stopped; stopped at first."""
    found = [subprocess.Popen([sys.executable, "-c", BUSY], text=True) for _ in range(_busy_count())]
    try:
        _signal(found, signal.SIGSTOP)
        yield found
    finally:
        _signal(found, signal.SIGKILL)
        for one in found:
            one.wait()


def _busy_count() -> int:
    return max(len(os.sched_getaffinity(0)) // 2, 1)


def _signal(processes: list[subprocess.Popen[str]], what: signal.Signals) -> None:
    for one in processes:
        one.send_signal(what)


def _step(child: subprocess.Popen[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one training step, the mean of `STEPS`."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    wall, cpu = child.stdout.readline().split()
    return float(wall), float(cpu)


def _help_cpu_s(verb: str) -> float:
    """CPU seconds of `uel VERB --help`, the less of two: the first one compiles."""
    spent = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "uel.cli", verb, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def _serve() -> None:
    """Train when a line comes in, and print the wall and CPU seconds of a step."""
    from tests.helpers.toy_city import toy_deployment
    from training.data.batch import BatchConfig, BatchDataset
    from training.locator.task import LocatorTask, OptimizationConfig
    from uel.measurement.model import ObservationModel
    from uel.models.locator import LocatorConfig

    plan, model = OptimizationConfig(epochs=1, rt_fraction=0.0), ObservationModel()
    with TemporaryDirectory() as folder:
        world = toy_deployment(Path(folder))
    batches = BatchDataset([world], BatchConfig(model=model, size=plan.batch, seed=1))
    task = LocatorTask(plan, LocatorConfig(), model, [world], 1)
    task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  (no trainer to log to)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(STEPS):
            task.zero_grad()
            task.training_step(batches[number], 0).backward()
        print((time.perf_counter() - wall) / STEPS, (time.process_time() - cpu) / STEPS, flush=True)


if __name__ == "__main__":
    _serve()
