"""`uel locate` of a log of 100 000 reports in CSV: reports per second, and the memory that the log costs."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from scenes.tiles.writer import write_tile
from tests.helpers.free_space import masts
from uel.core.grid import Grid
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.inference.run_folder import write_run
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio.simulator import FreeSpace

SIZE, PIXEL, REPORTS, SMALL_ROWS = 128.0, 8.0, 100_000, 200
SITES = masts((-40.0, -30.0), (45.0, -35.0), (0.0, 50.0))


def run(reports: int = REPORTS) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        log = _write_log(_run_folder(root), reports, root / "log.csv")
        small = log.with_name("small.csv")
        with log.open() as lines:
            small.write_text("".join(next(lines) for _ in range(SMALL_ROWS)))
        few, start_up, model_gb = _locate(root, small)
        located, seconds, peak_gb = _locate(root, log)
    return {
        "located_reports": located,
        "log_reports_per_s": (located - few) / (seconds - start_up),
        "log_memory_gb": peak_gb - model_gb,
    }


def _locate(root: Path, log: Path) -> tuple[int, float, float]:
    """Number of located reports, seconds, and the largest memory in GB of the commands so far."""
    answers, start = root / "fixes.jsonl", time.perf_counter()
    command = [sys.executable, "-m", "uel.cli", "locate", str(root / "run"), str(log), "--out", str(answers)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with answers.open() as lines:
        return sum(1 for _ in lines), seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def _run_folder(root: Path) -> Deployment:
    """A run with an untrained locator on a small flat tile in free space."""
    side = round(SIZE / 2)
    flat = np.zeros((side, side), np.float32)
    rasters = dict.fromkeys(("ground", "height", "footprint", "material"), flat)
    meta = {"name": "flat", "size": SIZE, "pixel": 2.0, "materials": ["air"]}
    tile: Tile = write_tile(root / "tile", [], {}, rasters, meta)
    radio = FreeSpace(SITES, size=SIZE).radio_map(Grid(size=SIZE, pixel=PIXEL))
    deployment = Deployment(tile, TileMaps.from_tile(tile, radio))
    torch.manual_seed(0)
    locator = Locator(LocatorConfig(patches=8, width=8, pixel_width=4, depth=1, radio_depth=1), ObservationModel())
    write_run(root / "run", locator, deployment, "bench")
    return deployment


def _write_log(deployment: Deployment, count: int, file: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    reports, _ = deployment.reports_from_map(count, ObservationModel(tier="rsrp"), generator)
    report, cell = (column.numpy() for column in reports.heard.nonzero().unbind(-1))
    level = reports.rsrp_dbm[reports.heard].numpy()
    with file.open("w") as stream:
        stream.write("time,cell,rsrp\n")
        stream.writelines(f"{n},{c},{v:.0f}\n" for n, c, v in zip(report, cell, level, strict=True))
    return file
