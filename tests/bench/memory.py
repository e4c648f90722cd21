"""Peak memory of the bridge, each figure in a process of its own: gradients at very many positions, a search and a map
of very many cells."""

import json
import resource
import subprocess
import sys

import torch

POSITIONS, CELLS_OF_GRADIENT, CELLS_OF_SEARCH, CELLS_OF_MAP = 1_000_000, 8, 100, 64
BUDGET = 2.0  # GB, of `TracingConfig.memory`
KIBIBYTES = 1024 / 1e9  # in gigabytes; Linux counts them


def run(positions: int = POSITIONS) -> dict[str, float]:
    counts = {"gradient": positions, "search": 64, "radio_map": 256}
    return {f"{name}_peak_gb": _peak(name, count) for name, count in counts.items()}


def _peak(name: str, positions: int) -> float:
    code = f"from tests.bench import memory; memory.measure({name!r}, {positions})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, positions: int) -> None:
    """In a fresh process: do it, and print the peak in GB."""
    {"gradient": gradient, "search": search, "radio_map": radio_map}[name](positions)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES))


def gradient(count: int) -> None:
    """Value and gradient of the path gains of eight cells at `count` positions in a street canyon, by an atlas."""
    sim, position = _canyon(CELLS_OF_GRADIENT, depth=2), _positions(count)
    sim.build_atlas()
    position.requires_grad_()
    sim.path_gain(position).clamp(min=1e-20).log().sum().backward()
    assert position.grad is not None
    assert bool(position.grad.isfinite().all())


def search(count: int) -> None:
    """Paths of a hundred cells to `count` positions, by the full search of depth 3."""
    _canyon(CELLS_OF_SEARCH, depth=3).path_gain(_positions(count))


def radio_map(pixels: int) -> None:
    """Map of 64 cells, so many pixels a side: a batch of all rays would take 5 GB."""
    from uel.core.grid import Grid

    _canyon(CELLS_OF_MAP, depth=3).radio_map(Grid(size=128.0, pixel=128.0 / pixels))


def _canyon(cells: int, depth: int):
    import sim_bridge.simulator as tracer  # in the process that is measured
    from uel.radio.sites import Cell, Site

    scene = tracer.rt.load_scene(tracer.rt.scene.simple_street_canyon)
    masts = [(-30.0 + 15.0 * (number % 5), 2.0, 12.0) for number in range(-(-cells // 4))]
    sites = tuple(Site(position=mast, cells=tuple(Cell(azimuth_deg=90.0 * k) for k in range(4))) for mast in masts)
    tracing = tracer.TracingConfig(max_depth=depth, samples=30_000, diffraction=False, memory=BUDGET)
    return tracer.Sionna(scene, sites, tracing, size=128.0)


def _positions(count: int) -> torch.Tensor:
    flat = (torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * torch.tensor([100.0, 12.0])
    return torch.cat([flat, torch.full((count, 1), 1.5)], 1)
