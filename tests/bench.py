"""What the bridge costs, as ratios measured in one run: `python -m tests.bench` (make bench).

Absolute times depend on the machine; A and B are run in turn and their medians compared.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sim_bridge.tracer import Sionna, Tracing
from tests.worlds import mast
from uel.grid import Grid
from uel.sites import Site

import sionna.rt as rt  # isort: skip

ROUNDS = 5
COUNTS = (22, 24, 17, 31, 20, 28)  # receivers in the calls of a round, the warm-up first: no two alike, as in life
AGREE_DB = 0.1  # greatest difference to stock Sionna on a link that both find
TRACING = Tracing(samples=10_000, chunk=32, max_depth=2, diffraction=False, map_rays=1_000_000)
SITES = mast((20.0, -30.0, 40.0)) + mast((-60.0, 50.0, 40.0))


def main() -> None:
    """Print the table and write `runs/bench/bridge.json`."""
    sim = Sionna(rt.load_scene(rt.scene.florence), SITES, TRACING)
    stock = stock_scene(SITES)
    radio = sim.radio_map(Grid(size=256.0, pixel=4.0))
    places = torch.rand(32, 2, generator=torch.Generator().manual_seed(0)) * 200 - 100
    require_agreement(sim.path_gain(places), stock_gain(stock, places))
    pairs = {
        "array end points against stock Sionna": (
            lambda turn: sim.path_gain(places[: COUNTS[turn]]),
            lambda turn: stock_gain(stock, places[: COUNTS[turn]]),
        ),
        "map lookup against tracing": (lambda _: radio.path_gain(places), lambda _: sim.path_gain(places)),
        "forward against forward and backward": (
            lambda _: sim.path_gain(places),
            lambda _: forward_and_backward(sim, places),
        ),
    }
    links = {name: len(places) * sim.cell_count for name in pairs}
    links["array end points against stock Sionna"] = round(statistics.median(COUNTS[1:])) * sim.cell_count
    with Progress(transient=True) as progress:
        task = progress.add_task("bench: rounds", total=len(pairs) * ROUNDS)
        rows = [measure(name, *pair, links[name], lambda: progress.advance(task)) for name, pair in pairs.items()]
    report(rows)


def measure(name: str, ours: Callable, other: Callable, links: int, tick: Callable) -> dict[str, float | str]:
    """Medians in milliseconds per link of two calls made in turn, and of the ratio of each pair.

    Round 0 is not timed: it pays for what is compiled once.
    """
    seconds = []
    ours(0)
    other(0)
    for turn in range(1, ROUNDS + 1):
        seconds.append((timed(ours, turn), timed(other, turn)))
        tick()
    first, second = zip(*seconds, strict=True)
    return {
        "what": name,
        "a_ms_per_link": 1e3 * statistics.median(first) / links,
        "b_ms_per_link": 1e3 * statistics.median(second) / links,
        "b_over_a": statistics.median(b / a for a, b in seconds),
    }


def require_agreement(ours: torch.Tensor, stock: torch.Tensor) -> None:
    """Both sides of the comparison do the same work: the same links, the same gains."""
    both = (ours > 0) & (stock > 0)
    difference = float((10 * torch.log10(ours[both] / stock[both])).abs().max())
    only_one = int(((ours > 0) != (stock > 0)).sum())
    assert bool(both.any()), "no link was found by both"
    assert difference < AGREE_DB, f"{difference:.3g} dB between ours and stock Sionna"
    assert only_one <= both.numel() // 20, f"{only_one} of {both.numel()} links found by one side only"
    print(f"gains agree: {int(both.sum())} links found by both, within {difference:.2g} dB; {only_one} by one only")


def timed(call: Callable, turn: int) -> float:
    start = time.perf_counter()
    call(turn)
    return time.perf_counter() - start


def stock_scene(sites: tuple[Site, ...]) -> rt.Scene:
    """The same city as a user of Sionna sets it up, without receivers."""
    scene = rt.load_scene(rt.scene.florence)
    scene.frequency = sites[0].cells[0].carrier.frequency
    iso = {"num_rows": 1, "num_cols": 1, "pattern": "iso"}
    scene.tx_array = rt.PlanarArray(**iso, polarization="V")
    scene.rx_array = rt.PlanarArray(**iso, polarization="VH")
    for index, site in enumerate(sites):
        scene.add(rt.Transmitter(f"tx-{index}", position=list(site.position)))
    return scene


def stock_gain(scene: rt.Scene, position: torch.Tensor) -> torch.Tensor:
    """A receiver object per position, the stock solver, and the same sum over paths."""
    for index, (x, y) in enumerate(position.tolist()):
        scene.add(rt.Receiver(f"rx-{index}", position=[x, y, TRACING.ue_height]))
    solver = rt.PathSolver(deterministic=True)
    solver.loop_mode = "evaluated"
    paths = solver(
        scene,
        max_depth=TRACING.max_depth,
        samples_per_src=TRACING.samples,
        diffraction=TRACING.diffraction,
        seed=TRACING.seed,
    )
    real, imag = (torch.from_numpy(part.numpy().copy()) for part in paths.a)
    for name in list(scene.receivers):
        scene.remove(name)
    return (real.square() + imag.square()).sum((1, 3, 4))


def forward_and_backward(sim: Sionna, position: torch.Tensor) -> None:
    position = position.clone().requires_grad_()
    sim.path_gain(position).sum().backward()


def report(rows: list[dict]) -> None:
    table = Table("what", "A, ms per link", "B, ms per link", "B / A", title="A against B, medians")
    for row in rows:
        table.add_row(row["what"], *(f"{row[key]:.3g}" for key in ("a_ms_per_link", "b_ms_per_link", "b_over_a")))
    Console().print(table)
    target = Path("runs/bench/bridge.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"rounds": ROUNDS, "cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
