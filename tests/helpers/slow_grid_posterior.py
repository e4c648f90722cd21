"""Grid posterior in plain Python, one report, one pixel and one feature at a time."""

import math

import numpy as np
import torch
from scipy import integrate

from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

MODEL = ObservationModel(sensitivity_dbm=-85.0, cells_max=3)
SPEED = 299_792_458.0


def phi(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def slow_level(reports: Reports, radio: RadioMap, row: int, column: int) -> float:
    """Product over cells: the bin that was reported, or everything that would not have been."""
    power, total = reference_power_dbm(radio.sites).tolist(), 1.0
    heard, level = reports.heard.tolist(), reports.rsrp_dbm.tolist()
    floor = MODEL.sensitivity_dbm
    last = len(heard)
    if sum(heard) == MODEL.cells_max:
        floor = min(v for v, h in zip(level, heard, strict=True) if h)
        last = max(c for c in range(len(heard)) if heard[c] and level[c] == floor)
    for cell in range(len(heard)):
        if not radio.known[cell, row, column]:
            total *= math.exp(-30) if heard[cell] else 1.0
            continue
        mean = 10 * math.log10(float(radio.gain[cell, row, column])) + power[cell]
        if heard[cell]:
            total *= phi((level[cell] + 0.5 - mean) / 8) - phi((level[cell] - 0.5 - mean) / 8)
        else:
            total *= phi((floor + (0.5 if cell > last else -0.5) - mean) / 8)
    return total


def slow_range(reports: Reports, radio: RadioMap, row: int, column: int) -> float:
    """Probability of the reported step: the excess is integrated numerically."""
    if not reports.has_timing_advance:
        return 1.0
    cell, step = int(reports.serving), MODEL.range_step
    distance = float(radio.delay[cell, row, column]) * SPEED
    low = float(reports.timing_advance) * step if reports.timing_advance > 0 else -math.inf
    high = (float(reports.timing_advance) + 1) * step

    def given(excess: float) -> float:
        centre = distance + excess
        return phi((high - centre) / 5) - (phi((low - centre) / 5) if low > 0 else 0.0)

    if radio.los[cell, row, column]:
        return given(0.0)
    reach = max(0.0, high + 40 - distance)
    return integrate.quad(lambda e: given(e) * math.exp(-e / 30) / 30, 0, reach, limit=200)[0] if reach else 0.0


def slow_azimuth(reports: Reports, radio: RadioMap, row: int, column: int) -> float:
    if not reports.has_azimuth:
        return 1.0
    cell = int(reports.serving)
    x, y, _ = radio.sites[cell].position
    east, north = (radio.grid.centres()[row, column] - torch.tensor([x, y])).tolist()
    sigma = 5 if radio.los[cell, row, column] else 25
    off = float(reports.azimuth_deg) - math.degrees(math.atan2(east, north))
    turns = [off + 360 * k for k in range(-3, 4)]
    return sum(phi((t + 0.5) / sigma) - phi((t - 0.5) / sigma) for t in turns)


def slow_posterior(reports: Reports, radio: RadioMap, prior: torch.Tensor) -> np.ndarray:
    weight = np.zeros(radio.grid.shape)
    for row in range(radio.grid.count):
        for column in range(radio.grid.count):
            if prior[row, column] > 0:
                arguments = (reports, radio, row, column)
                weight[row, column] = float(prior[row, column]) * (
                    slow_level(*arguments) * slow_range(*arguments) * slow_azimuth(*arguments)
                )
    return weight / weight.sum()
