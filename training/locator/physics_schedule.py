"""The schedule of the physics loss: which batches query the ray tracer instead of the radio map."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from uel.estimation.fix import Fix
from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import Paths

REMEMBERED_BATCHES = 50  # batches whose uncertainties are remembered
MAX_OVERDUE_BATCHES = 4.0  # batches that the fraction may lag behind before one is traced regardless of its uncertainty


@dataclass
class TracingScheduler:
    """Chooses the batches to trace: those of the largest uncertainty among the last ones, `fraction` of all within
    `MAX_OVERDUE_BATCHES`.

    A batch is traced when a measure of its uncertainty is higher than all but `fraction` of those remembered and the
    fraction allows for one, or when the fraction is `MAX_OVERDUE_BATCHES` batches behind (uncertainties fall as
    training goes on).
    """

    fraction: float
    overdue: float = 0.0
    history: dict[str, deque[float]] = field(default_factory=dict)

    def should_trace(self, **uncertainties: float) -> bool:
        """Whether to trace a batch with these measures of uncertainty, each on its own scale."""
        ranks = [self._rank(name, value) for name, value in uncertainties.items()]
        self.overdue += self.fraction
        traced = self.overdue >= MAX_OVERDUE_BATCHES or (self.overdue >= 1 and max(ranks) >= 1 - self.fraction)
        self.overdue -= traced
        return traced

    def _rank(self, name: str, value: float) -> float:
        """The fraction of the remembered values of this measure that are smaller."""
        history = self.history.setdefault(name, deque(maxlen=REMEMBERED_BATCHES))
        rank = sum(earlier < value for earlier in history) / max(len(history), 1)
        history.append(value)
        return rank

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"overdue": self.overdue, "history": {name: list(values) for name, values in self.history.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.overdue = state["overdue"]
        self.history = {name: deque(values, maxlen=REMEMBERED_BATCHES) for name, values in state["history"].items()}


def mean_map_error(fix: Fix, reports: Reports, maps: TileMaps, candidates: int) -> float:
    """Mean relative error of the map at a batch's candidates, over heard cells; 1 where the map knows no path."""
    position, _, _ = fix.candidates(candidates)
    edge = maps.radio.grid.size / 2 - 1e-3
    samples = maps.radio.samples_at(position.detach().clamp(-edge, edge).flatten(0, 1))
    error = torch.where(samples.known, samples.relative_error, 1.0)[..., 0].T.unflatten(0, (len(reports), -1))
    heard = reports.heard.unsqueeze(1).expand_as(error)
    return float(error[heard].mean()) if heard.any() else 0.0


@dataclass
class TimedSimulator:
    """A simulator or map whose CPU seconds, including the backward pass, are added to `counters["rt_cpu_s"]`."""

    source: Paths
    counters: dict[str, Any]

    def path_gain(self, position: Tensor) -> Tensor:
        """See `PathGain.path_gain`; not timed."""
        return self.source.path_gain(position)

    def paths(self, position: Tensor) -> LinkTruth:
        """See `Paths.paths`."""
        start = time.process_time()
        query = position.view_as(position)
        truth = self.source.paths(query)
        self.counters["rt_cpu_s"] += time.process_time() - start
        if query.requires_grad:
            self._time_backward(query, truth)
        return truth

    def _time_backward(self, query: Tensor, truth: LinkTruth) -> None:
        """Time the backward pass from the first gradient at the result to the gradient at the positions."""
        started: list[float] = []

        def enter(_: Tensor) -> None:
            if not started:
                started.append(time.process_time())

        def leave(_: Tensor) -> None:
            self.counters["rt_cpu_s"] += time.process_time() - started[0] if started else 0.0

        for value in (truth.gain_db, truth.delay, truth.azimuth_deg):
            if value.requires_grad:
                value.register_hook(enter)
        query.register_hook(leave)
