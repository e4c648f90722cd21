"""One fix of `small` on eight cells, report to position with all its stages, and many at once, beside grid Bayes."""

import statistics
import time
from collections.abc import Callable

import torch

from tests.bench.common import compare
from tests.helpers.free_space import CORNERS, draw_pixels, masts, radio_map
from training.commands.config import TrainConfig
from uel.adaptation.site_adaptation import RefinedLocator
from uel.config import load
from uel.estimation.config import RefinementConfig
from uel.estimation.estimates import GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator

SIZE, PIXEL, PHONES, BATCH = 512.0, 4.0, 256, 16


def run() -> dict[str, float]:
    radio = radio_map(masts(*((2 * x, 2 * y) for x, y in CORNERS), (60.0, 10.0), (-50.0, 30.0)), PIXEL, SIZE)
    maps = TileMaps(radio, torch.zeros(2 + len(MATERIAL_CLASSES), *radio.grid.shape), torch.ones(radio.grid.shape))
    model = ObservationModel(sensitivity_dbm=-85.0)  # so that some cells are silent
    at = radio.grid.centres().reshape(-1, 2)[draw_pixels(maps.prior, PHONES)]
    reports = model.observe(radio.pixel_truth(at), maps.power_dbm, torch.Generator().manual_seed(0))
    reports = reports[reports.heard.any(-1)]
    small = load(TrainConfig, "train", ["--config", "train/small"])
    locator = Locator(small.locator, model).eval()
    with torch.no_grad():
        plain = RefinedLocator.of(locator, maps, RefinementConfig())
        ask = {
            "fix": lambda r: plain.locate(r).position,
            "refined_fix": lambda r: plain.without_entropy_gate(r).position,
        }
        figures = _on_one_thread(lambda: {f"{name}_cpu_ms": _cpu_ms(method, reports) for name, method in ask.items()})

        def bayes(r):
            return GridEstimate(radio.grid, grid_posterior(r, radio, maps.prior, model, maps.power_dbm)).position

        def some(turn):
            return reports[turn % 8 * BATCH : (turn % 8 + 1) * BATCH]

        ours, theirs, _ = compare(lambda k: ask["fix"](some(k)), lambda k: bayes(some(k)), "fixes", rounds=20)
    return figures | {"fixes_per_s": BATCH / ours, "grid_bayes_fixes_per_s": BATCH / theirs}


def _on_one_thread(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Threads that wait for each other spin, and would count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(threads)


def _cpu_ms(method: Callable[[Reports], object], reports: Reports, warm: int = 5, rounds: int = 60) -> float:
    """Median CPU time of one report's answer."""
    spent = []
    for index in range(warm + rounds):
        start = time.process_time()
        method(reports[index : index + 1])
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent[warm:])
