"""The serving cell through time: event A3 with hysteresis and time to trigger, handovers, and what they leave behind.

One step for each report, over all tracks at once. A track's reports that are not `valid` change nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.radio.config import EventA3


@dataclass(frozen=True, eq=False)
class ServingCellTrack:
    """Who serves a phone at each report."""

    cell: Int[Tensor, "track report"]
    """the serving cell after the report; 0 where nothing is `known`"""
    known: Bool[Tensor, "track report"]
    """a valid report with an audible cell"""
    handover: Bool[Tensor, "track report"]
    """the cell took over from another by event A3"""
    failure: Bool[Tensor, "track report"]
    """the cell before was lost, and the strongest was chosen anew"""


def track_serving_cell(
    level_db: Float[Tensor, "track report cell"],
    known: Bool[Tensor, "track report cell"],
    time: Float[Tensor, "track report"],
    valid: Bool[Tensor, "track report"],
    event: EventA3 | None = None,
) -> ServingCellTrack:
    """Follow the serving cell through levels in dB or dBm, of cells that are `known`, at times in seconds.

    The first cell is the strongest. A neighbour takes over once Mn - Hys > Mp + Off held at all reports over the time
    to trigger; of several the strongest. Where the serving cell is lost, the strongest follows at once.
    """
    event = event or EventA3()
    level = torch.where(known & valid.unsqueeze(-1), level_db, -torch.inf)
    state = _State.start(level)
    rows = []
    for report in range(level.shape[1]):
        rows.append(state.step(level[:, report], time[:, report], event))
    return ServingCellTrack(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


class _State:
    """Serving cells of all tracks, and since when each neighbour has been better."""

    def __init__(self, serving: Tensor, since: Tensor) -> None:
        self.serving, self.since = serving, since

    @staticmethod
    def start(level: Float[Tensor, "track report cell"]) -> "_State":
        none = torch.full((len(level),), -1)
        return _State(none, torch.full_like(level[:, 0], torch.inf))

    def step(self, level: Float[Tensor, "track cell"], time: Float[Tensor, " track"], event: EventA3) -> tuple:
        best, strongest = level.max(-1)
        heard = best > -torch.inf
        mine = _pick(level, self.serving)
        lost = heard & (self.serving >= 0) & (mine == -torch.inf)
        self.serving = torch.where(heard & ((self.serving < 0) | lost), strongest, self.serving)
        ready = self._ready(level, time, heard, event)
        taken, target = torch.where(ready, level, -torch.inf).max(-1)
        handover = taken > -torch.inf
        self.serving = torch.where(handover, target, self.serving)
        # A new serving cell starts all timers anew.
        self.since = torch.where((handover | lost).unsqueeze(-1), torch.inf, self.since)
        return torch.where(heard, self.serving, 0), heard, handover, lost

    def _ready(self, level: Tensor, time: Tensor, heard: Tensor, event: EventA3) -> Bool[Tensor, "track cell"]:
        """Neighbours that have been better for long enough; notes since when."""
        entered = level - event.hysteresis_db > _pick(level, self.serving).unsqueeze(-1) + event.offset_db
        entered &= torch.arange(level.shape[-1]) != self.serving.unsqueeze(-1)
        now = time.unsqueeze(-1).expand_as(level)
        since = torch.where(entered, torch.minimum(self.since, now), torch.inf)
        self.since = torch.where(heard.unsqueeze(-1), since, self.since)
        # Times are sums of steps: one millionth of a second short is long enough.
        return entered & heard.unsqueeze(-1) & (now - since >= event.time_to_trigger - 1e-6)


def _pick(level: Tensor, cell: Tensor) -> Tensor:
    return level.gather(-1, cell.clamp(min=0).unsqueeze(-1))[:, 0]


def ping_pong(
    served: ServingCellTrack, time: Float[Tensor, "track report"], within: float = 1.0
) -> Bool[Tensor, "track report"]:
    """Handovers back to the cell that was left less than `within` seconds before (1 s in TR 36.839)."""
    left, here = torch.full((2, len(time)), -1)
    at = torch.full((len(time),), -torch.inf)
    back = torch.zeros_like(served.handover)
    for report in range(time.shape[1]):
        now, cell, moved = time[:, report], served.cell[:, report], served.handover[:, report]
        back[:, report] = moved & (cell == left) & (now - at < within)
        left = torch.where(moved, here, torch.where(served.failure[:, report], -1, left))
        at = torch.where(moved, now, at)
        here = torch.where(served.known[:, report], cell, here)
    return back


def same_serving_cell(served: ServingCellTrack) -> Bool[Tensor, "track report"]:
    """Reports with the serving cell of the report before; none on the first."""
    same = served.known[:, 1:] & served.known[:, :-1] & (served.cell[:, 1:] == served.cell[:, :-1])
    return torch.nn.functional.pad(same, (1, 0))


def serving_cell_stability(served: ServingCellTrack) -> Float[Tensor, " track"]:
    """Share of the reports after the first that have the same serving cell as the one before; 1 where there is none."""
    pairs = (served.known[:, 1:] & served.known[:, :-1]).sum(1)
    return torch.where(pairs > 0, same_serving_cell(served).sum(1) / pairs.clamp(min=1), 1.0)


def strongest_neighbours(
    level_db: Float[Tensor, "*n cell"], known: Bool[Tensor, "*n cell"], serving: Int[Tensor, "*n"], count: int
) -> tuple[Int[Tensor, "*n neighbour"], Bool[Tensor, "*n neighbour"]]:
    """The `count` strongest cells other than the serving one, strongest first, and which of them are there."""
    other = known & (torch.arange(level_db.shape[-1]) != serving.unsqueeze(-1))
    level, cell = torch.where(other, level_db, -torch.inf).topk(min(count, level_db.shape[-1]), dim=-1)
    more = count - cell.shape[-1]
    there = torch.nn.functional.pad(level > -torch.inf, (0, more))
    return torch.where(there, torch.nn.functional.pad(cell, (0, more)), 0), there
