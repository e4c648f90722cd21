"""Everything at once, five interactions with edges, pairs of edges and scattering: an atlas against stock Sionna's
search; and what an atlas costs to build for larger tiles and more cells."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import scenes
import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.simulator import Sionna
from tests.bench.common import Stock, compare
from uel.radio.sites import cells_of
from uel.radio.tracing_config import TracingConfig

CITY, CENTER, DEPTH, SCATTERING, SITES = "florence", (0.0, 100.0), 5, 0.3, 8
RECEIVERS, STOCK_RECEIVERS, STOCK_SAMPLES, QUERIES = 256, 16, 20_000, 4
WHOLE = TracingConfig(
    max_depth=DEPTH, diffraction_order=2, samples=STOCK_SAMPLES, scattering=SCATTERING, max_paths=1_000_000, memory=2.0
)
ATLAS = AtlasConfig(rays=300_000, depth=DEPTH, audit=0)
GIBIBYTE = 2**20  # of the kibibytes that Linux counts


@dataclass(frozen=True)
class Growth:
    """A tile and its network, whose atlas a process of its own builds."""

    size: float
    sites: int
    sectors: int = 1
    rays: int = 100_000

    @property
    def name(self) -> str:
        return f"atlas_{self.size:g}m_{self.sites * self.sectors}"


GROWTH = (Growth(512.0, 8), Growth(512.0, 64), Growth(512.0, 64, 3), Growth(1024.0, 8), Growth(2048.0, 8))


def run_power() -> dict[str, float]:
    """Everything at once, in a process of its own: the share of stock's power and of places that an atlas finds, and
    its cost."""
    return _child("power")


def run_whole() -> dict[str, float]:
    """Everything at once, in a process of its own: times beside stock's."""
    return _child("whole")


def run_growth() -> dict[str, float]:
    """Growth, a process for each row."""
    figures = dict[str, float]()
    for growth in GROWTH:
        figures |= _child(json.dumps(asdict(growth)))
    return figures


def _child(task: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", __name__, task], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _open(folder: str, size: float, sites: int, sectors: int) -> Sionna:
    tile = scenes.build(CITY, Path(folder) / CITY, center=CENTER, size=size, margin=0.0, progress=False)
    return sim_bridge.open(tile, scenes.place(tile, sites, seed=1, sectors=sectors), WHOLE, backend="sionna")


def _outdoors(sim: Sionna, count: int, seed: int) -> Tensor:
    flat = (torch.rand(16 * count, 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * sim.bounds.size
    assert sim.tile is not None
    return flat[sim.tile.is_outdoor(flat)][:count]


# ---- everything at once ------------------------------------------------------------------------------------


def _with_atlas() -> tuple[Sionna, dict[str, float]]:
    """Florence, eight masts and their atlas, and what that took."""
    with TemporaryDirectory() as folder:
        sim = _open(folder, 512.0, SITES, 1)
    start, cpu = time.perf_counter(), time.process_time()
    sim.build_atlas(ATLAS)
    return sim, {"whole_atlas_s": time.perf_counter() - start, "whole_atlas_cpu_s": time.process_time() - cpu}


def power() -> dict[str, float]:
    """A tile of 512 m: CPU time of a link, places and power that are found."""
    sim, figures = _with_atlas()
    figures |= _found(sim, _stock(sim))
    places = [_outdoors(sim, RECEIVERS, turn) for turn in range(QUERIES)]
    for position in places[:2]:  # the sizes of buffers are compiled
        _value_and_gradient(sim, position)
    cpu = time.process_time()
    for position in places[2:]:
        _value_and_gradient(sim, position)
    links = RECEIVERS * sim.cell_count * (QUERIES - 2)
    return figures | {"whole_cpu_ms_per_link": 1e3 * (time.process_time() - cpu) / links, "power_peak_gib": _peak_gib()}


def _stock(sim: Sionna) -> Stock:
    return Stock(STOCK_RECEIVERS, sim, DEPTH, STOCK_SAMPLES, diffraction=True, diffuse_reflection=True)


def whole() -> dict[str, float]:
    """A tile of 512 m: time of a link, value and gradient, beside stock's."""
    sim, figures = _with_atlas()
    places = [_outdoors(sim, RECEIVERS, turn) for turn in range(QUERIES)]
    links = RECEIVERS * sim.cell_count
    few = [_outdoors(sim, STOCK_RECEIVERS, 100 + turn) for turn in range(8)]
    stock = _stock(sim)
    ours, theirs, _ = compare(
        lambda turn: _value_and_gradient(sim, places[turn % QUERIES]),
        lambda turn: _forward_and_backward(stock, sim.at_height(few[turn])),
        "depth 5, edges, scattering", rounds=3,
    )  # fmt: skip
    per_link = (ours / links, theirs / STOCK_RECEIVERS / sim.cell_count)
    figures |= {"whole_ms_per_link": 1e3 * per_link[0], "whole_stock_ms_per_link": 1e3 * per_link[1]}
    figures["whole_ratio"] = per_link[1] / per_link[0]
    return figures | {"whole_peak_gib": _peak_gib()}


def _value_and_gradient(sim: Sionna, position: Tensor) -> None:
    position = position.clone().requires_grad_()
    sim.path_gain(position).sum().backward()


def _forward_and_backward(stock: Stock, position: Tensor) -> None:
    position = position.clone().requires_grad_()
    stock.gain(position).sum().backward()


def _found(sim: Sionna, stock: Stock) -> dict[str, float]:
    """Outdoor places with a path, of ours and of stock Sionna; and the share of its power."""
    position = _outdoors(sim, 1024, 7)
    with torch.no_grad():
        known = (sim.path_gain(position) > 0).any(1)
        few = position[: 16 * STOCK_RECEIVERS]
        ours, theirs = sim.path_gain(few), torch.cat([stock.gain(p) for p in sim.at_height(few).split(STOCK_RECEIVERS)])
    return {
        "whole_places_share": float(known.float().mean()),
        "whole_stock_places_share": float((theirs > 0).any(1).float().mean()),
        "whole_power_share": float(ours.sum() / theirs.sum()),
        "whole_links_found_share": float(((ours > 0) & (theirs > 0)).sum() / (theirs > 0).sum()),
    }


# ---- growth ------------------------------------------------------------------------------------------------


def grown(growth: Growth) -> dict[str, float]:
    """An atlas of a tile and a network: seconds, size, memory, and the cost of a link."""
    with TemporaryDirectory() as folder:
        sim = _open(folder, growth.size, growth.sites, growth.sectors)
        before, cpu = _peak_gib(), time.process_time()
        atlas = sim.build_atlas(AtlasConfig(rays=growth.rays, depth=DEPTH, settle=0, audit=0))
        seconds, peak = time.process_time() - cpu, _peak_gib()
        atlas.save(Path(folder) / "atlas")
        megabytes = sum(file.stat().st_size for file in (Path(folder) / "atlas").iterdir()) / 1e6
    position = [_outdoors(sim, max(2048 // len(cells_of(sim.sites)), 16), seed) for seed in range(3)]
    _value_and_gradient(sim, position[0])
    cpu = time.process_time()
    for where in position[1:]:
        _value_and_gradient(sim, where)
    links = sum(map(len, position[1:])) * sim.cell_count
    figures = {
        "cpu_s": seconds, "mb": megabytes, "build_gib": peak - before, "peak_gib": _peak_gib(),
        "cpu_ms_per_link": 1e3 * (time.process_time() - cpu) / links,
    }  # fmt: skip
    return {f"{growth.name}_{name}": value for name, value in figures.items()}


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIBIBYTE


if __name__ == "__main__":
    task = sys.argv[1]
    tasks = {"power": power, "whole": whole}
    print(json.dumps(tasks[task]() if task in tasks else grown(Growth(**json.loads(task)))))
