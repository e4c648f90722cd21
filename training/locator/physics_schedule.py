"""Whom a batch's physics loss asks: the map, the ray tracer, or whichever the batch's doubt is worth."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from uel.estimation.fix import Fix
from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Paths

LossKind = Literal["none", "map", "rt", "map+rt", "hybrid"]
"""Physics by nothing, by lookup, by ray tracing on a share of batches and by nothing on others, by ray tracing on that
share and by lookup on the others, and the same with that share where doubt is greatest."""
REMEMBERED_BATCHES = 50  # batches whose doubts are remembered
MAX_OVERDUE_BATCHES = 4.0  # batches that are owed to the ray tracer before one is traced whatever its doubt


@dataclass
class TracingScheduler:
    """Which batches to trace: those of the greatest doubt among the last ones, `fraction` of all within `MAX_OVERDUE_BATCHES`.

    A batch is traced when a measure of its doubt is higher than all but `fraction` of those remembered and the fraction
    allows for one, or when the fraction is `MAX_OVERDUE_BATCHES` batches behind (doubts fall as training goes on).
    """

    fraction: float
    owed: float = 0.0
    seen: dict[str, deque[float]] = field(default_factory=dict)

    def asks(self, **doubts: float) -> bool:
        """Whether to trace a batch of these doubts, each of which has its own scale."""
        ranks = [self._rank(name, value) for name, value in doubts.items()]
        self.owed += self.fraction
        traced = self.owed >= MAX_OVERDUE_BATCHES or (self.owed >= 1 and max(ranks) >= 1 - self.fraction)
        self.owed -= traced
        return traced

    def _rank(self, name: str, value: float) -> float:
        """Share of the remembered doubts of this name that are less."""
        seen = self.seen.setdefault(name, deque(maxlen=REMEMBERED_BATCHES))
        rank = sum(other < value for other in seen) / max(len(seen), 1)
        seen.append(value)
        return rank

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"owed": self.owed, "seen": {name: list(values) for name, values in self.seen.items()}}

    def load(self, state: dict[str, Any]) -> None:
        self.owed = state["owed"]
        self.seen = {name: deque(values, maxlen=REMEMBERED_BATCHES) for name, values in state["seen"].items()}


def mean_map_error(fix: Fix, reports: Reports, maps: TileMaps, candidates: int) -> float:
    """Mean relative error of the map at a batch's candidates, of the cells that are heard; 1 where it knows no path."""
    position, _, _ = fix.candidates(candidates)
    edge = maps.radio.grid.size / 2 - 1e-3
    spots = maps.radio.spots(position.detach().clamp(-edge, edge).flatten(0, 1))
    error = torch.where(spots.known, spots.relative_error, 1.0)[..., 0].T.unflatten(0, (len(reports), -1))
    heard = reports.heard.unsqueeze(1).expand_as(error)
    return float(error[heard].mean()) if heard.any() else 0.0


@dataclass
class TimedSimulator:
    """A source whose CPU seconds are added to `spent["rt_cpu_s"]`, those of its backward pass too."""

    source: Paths
    spent: dict[str, Any]

    def path_gain(self, position: Tensor) -> Tensor:
        """See `PathGain.path_gain`; not timed."""
        return self.source.path_gain(position)

    def paths(self, position: Tensor) -> LinkTruth:
        """See `Paths.paths`."""
        start = time.process_time()
        asked = position.view_as(position)
        truth = self.source.paths(asked)
        self.spent["rt_cpu_s"] += time.process_time() - start
        if asked.requires_grad:
            self._time_backward(asked, truth)
        return truth

    def _time_backward(self, asked: Tensor, truth: LinkTruth) -> None:
        """From the first gradient that comes to the answer to the one that has come through it."""
        began: list[float] = []

        def enter(_: Tensor) -> None:
            if not began:
                began.append(time.process_time())

        def leave(_: Tensor) -> None:
            self.spent["rt_cpu_s"] += time.process_time() - began[0] if began else 0.0

        for value in (truth.gain_db, truth.delay, truth.azimuth_deg):
            if value.requires_grad:
                value.register_hook(enter)
        asked.register_hook(leave)
