"""Serving cell of a moving phone: event A3 with hysteresis and time to trigger, handovers and their statistics.

One step per report, for all tracks at once. Reports that are not `valid` change nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.radio.config import EventA3


@dataclass(frozen=True, eq=False, repr=False)
class ServingCellTrack(ShortRepr):
    """Serving cell and handovers of each track at each report."""

    cell: Int[Tensor, "track report"]
    """the serving cell after the report; 0 where nothing is `known`"""
    known: Bool[Tensor, "track report"]
    """the report is valid and hears a cell"""
    handover: Bool[Tensor, "track report"]
    """the serving cell has just changed by event A3"""
    failure: Bool[Tensor, "track report"]
    """the serving cell before was lost, and the strongest cell replaces it"""


def track_serving_cell(
    level_db: Float[Tensor, "track report cell"],
    known: Bool[Tensor, "track report cell"],
    time: Float[Tensor, "track report"],
    valid: Bool[Tensor, "track report"],
    event: EventA3 | None = None,
) -> ServingCellTrack:
    """Serving cell of each track, from levels in dB or dBm of `known` cells at times in seconds.

    The first serving cell is the strongest. A neighbour takes over once Mn - Hys > Mp + Off held at all reports during
    the time to trigger; among several, the strongest. A lost serving cell is replaced by the strongest at once.
    """
    event = event or EventA3()
    level = torch.where(known & valid.unsqueeze(-1), level_db, -torch.inf)
    state = _State.start(level)
    rows = []
    for report in range(level.shape[1]):
        rows.append(state.step(level[:, report], time[:, report], event))
    return ServingCellTrack(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


class _State:
    """Serving cells of all tracks, and the time since which each neighbour has fulfilled event A3."""

    def __init__(self, serving: Tensor, since: Tensor) -> None:
        self.serving, self.since = serving, since

    @staticmethod
    def start(level: Float[Tensor, "track report cell"]) -> "_State":
        no_cell = torch.full((len(level),), -1, device=level.device)
        return _State(no_cell, torch.full_like(level[:, 0], torch.inf))

    def step(self, level: Float[Tensor, "track cell"], time: Float[Tensor, " track"], event: EventA3) -> tuple:
        best, strongest = level.max(-1)
        heard = best > -torch.inf
        serving_level = _level_of(level, self.serving)
        lost = heard & (self.serving >= 0) & (serving_level == -torch.inf)
        self.serving = torch.where(heard & ((self.serving < 0) | lost), strongest, self.serving)
        ready = self._ready(level, time, heard, event)
        target_level, target = torch.where(ready, level, -torch.inf).max(-1)
        handover = target_level > -torch.inf
        self.serving = torch.where(handover, target, self.serving)
        # A new serving cell resets all timers.
        self.since = torch.where((handover | lost).unsqueeze(-1), torch.inf, self.since)
        return torch.where(heard, self.serving, 0), heard, handover, lost

    def _ready(self, level: Tensor, time: Tensor, heard: Tensor, event: EventA3) -> Bool[Tensor, "track cell"]:
        """Neighbours that have fulfilled event A3 for the time to trigger; updates `since`."""
        entered = level - event.hysteresis_db > _level_of(level, self.serving).unsqueeze(-1) + event.offset_db
        entered &= torch.arange(level.shape[-1], device=level.device) != self.serving.unsqueeze(-1)
        now = time.unsqueeze(-1).expand_as(level)
        since = torch.where(entered, torch.minimum(self.since, now), torch.inf)
        self.since = torch.where(heard.unsqueeze(-1), since, self.since)
        # Times are sums of steps: a tolerance of one microsecond absorbs rounding.
        return entered & heard.unsqueeze(-1) & (now - since >= event.time_to_trigger - 1e-6)


def _level_of(level: Tensor, cell: Tensor) -> Tensor:
    return level.gather(-1, cell.clamp(min=0).unsqueeze(-1))[:, 0]


def ping_pong(
    served: ServingCellTrack, time: Float[Tensor, "track report"], within: float = 1.0
) -> Bool[Tensor, "track report"]:
    """Handovers back to the cell that a track left less than `within` seconds before (1 s in TR 36.839)."""
    previous, current = torch.full((2, len(time)), -1, device=time.device)
    handover_time = torch.full((len(time),), -torch.inf, device=time.device)
    returned = torch.zeros_like(served.handover)
    for report in range(time.shape[1]):
        now, cell, handover = time[:, report], served.cell[:, report], served.handover[:, report]
        returned[:, report] = handover & (cell == previous) & (now - handover_time < within)
        previous = torch.where(handover, current, torch.where(served.failure[:, report], -1, previous))
        handover_time = torch.where(handover, now, handover_time)
        current = torch.where(served.known[:, report], cell, current)
    return returned


def same_serving_cell(served: ServingCellTrack) -> Bool[Tensor, "track report"]:
    """Whether a report has the same serving cell as the report before; False for the first."""
    same = served.known[:, 1:] & served.known[:, :-1] & (served.cell[:, 1:] == served.cell[:, :-1])
    return torch.nn.functional.pad(same, (1, 0))


def serving_cell_stability(served: ServingCellTrack) -> Float[Tensor, " track"]:
    """Fraction of consecutive reports with the same serving cell; 1 for a track without such pairs."""
    pairs = (served.known[:, 1:] & served.known[:, :-1]).sum(1)
    return torch.where(pairs > 0, same_serving_cell(served).sum(1) / pairs.clamp(min=1), 1.0)


def strongest_neighbours(
    level_db: Float[Tensor, "*n cell"], known: Bool[Tensor, "*n cell"], serving: Int[Tensor, "*n"], count: int
) -> tuple[Int[Tensor, "*n neighbour"], Bool[Tensor, "*n neighbour"]]:
    """The `count` strongest known cells beside the serving one, strongest first, and a mask of those that exist."""
    other = known & (torch.arange(level_db.shape[-1], device=level_db.device) != serving.unsqueeze(-1))
    level, cell = torch.where(other, level_db, -torch.inf).topk(min(count, level_db.shape[-1]), dim=-1)
    padding = count - cell.shape[-1]
    exists = torch.nn.functional.pad(level > -torch.inf, (0, padding))
    return torch.where(exists, torch.nn.functional.pad(cell, (0, padding)), 0), exists
