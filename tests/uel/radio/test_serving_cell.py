"""Who serves: tracks made by hand, and a loop over one track at a time that says the same."""

import math

import pytest
import torch
from torch import Tensor

from uel.errors import UelError
from uel.radio import serving_cell
from uel.radio.config import EventA3
from uel.radio.serving_cell import ServingCellTrack

AT_ONCE = EventA3(offset_db=3.0, hysteresis_db=1.0, time_to_trigger=0.0)


def served(
    levels: list[list[float]], event: EventA3 = AT_ONCE, step: float = 0.1, valid: Tensor | None = None
) -> ServingCellTrack:
    """One track; a level of -inf is a cell that is not known."""
    level = torch.tensor([levels])
    time = torch.arange(level.shape[1])[None] * step
    known = level.isfinite()
    all_valid = torch.ones(1, level.shape[1], dtype=torch.bool)
    return serving_cell.track_serving_cell(
        torch.where(known, level, 0.0), known, time, all_valid if valid is None else valid, event
    )


def test_a_neighbour_must_be_better_by_offset_and_hysteresis() -> None:
    """Mn - Hys > Mp + Off: 4 dB are not enough, 4.1 dB are."""
    track = served([[-80, -90], [-80, -76], [-80, -75.9], [-80, -80]])
    assert track.cell[0].tolist() == [0, 0, 1, 1]
    assert track.handover[0].tolist() == [False, False, True, False]


def test_time_to_trigger_starts_again_where_the_event_was_left() -> None:
    event = EventA3(offset_db=0.0, hysteresis_db=0.0, time_to_trigger=0.2)
    track = served([[0, -1], [0, 1], [0, 1], [0, -1], [0, 1], [0, 1], [0, 1]], event)
    assert track.cell[0].tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_of_several_neighbours_the_strongest_takes_over() -> None:
    assert served([[0, -9, -9], [0, 10, 12]]).cell[0].tolist() == [0, 2]


def test_a_lost_cell_is_replaced_at_once_and_that_is_no_handover() -> None:
    gone = -math.inf
    track = served([[0, -20], [gone, -20], [gone, gone], [0, -20]])
    assert track.cell[0].tolist() == [0, 1, 0, 0]
    assert track.known[0].tolist() == [True, True, False, True]
    assert track.failure[0].tolist() == [False, True, False, False]
    assert track.handover[0].tolist() == [False, False, False, True]


def test_padding_changes_nothing() -> None:
    valid = torch.tensor([[True, True, False]])
    track = served([[0, -9], [0, 10], [30, 10]], valid=valid)
    assert (track.cell[0].tolist(), track.known[0].tolist()) == ([0, 1, 0], valid[0].tolist())
    assert not track.handover[0, 2]


def test_there_and_back_within_a_second_is_a_ping_pong() -> None:
    levels = [[0, -9], [0, 9], [0, -9], [0, 9]]
    quick, slow = served(levels, step=0.5), served(levels, step=1.0)
    time = torch.arange(4.0)[None]
    assert serving_cell.ping_pong(quick, time * 0.5)[0].tolist() == [False, False, True, True]
    assert not serving_cell.ping_pong(slow, time).any()


def test_stability_by_hand() -> None:
    track = served([[0, -9], [0, 9], [0, 9], [0, 9]])
    assert serving_cell.same_serving_cell(track)[0].tolist() == [False, False, True, True]
    assert float(serving_cell.serving_cell_stability(track)) == pytest.approx(2 / 3)
    assert float(serving_cell.serving_cell_stability(served([[0, -9]]))) == 1.0


def test_neighbours_without_the_serving_cell() -> None:
    level = torch.tensor([[-80.0, -70.0, -90.0, 0.0]])
    known = torch.tensor([[True, True, True, False]])
    cell, there = serving_cell.strongest_neighbours(level, known, torch.tensor([1]), 5)
    assert (cell.tolist(), there.tolist()) == ([[0, 2, 0, 0, 0]], [[True, True, False, False, False]])


def test_negative_times_are_refused() -> None:
    with pytest.raises(UelError, match="must not be negative"):
        EventA3(time_to_trigger=-1.0)


def one_by_one(level: Tensor, time: Tensor, event: EventA3) -> list[tuple[int, bool, bool, bool]]:
    """The obvious twin: one track, plain Python; the level of a cell that is not known is -inf."""
    serving, since, rows = -1, dict[int, float](), []
    for now, row in zip(time.tolist(), level.tolist(), strict=True):
        if max(row) == -math.inf:
            rows.append((0, False, False, False))
            continue
        lost = serving >= 0 and row[serving] == -math.inf
        if serving < 0 or lost:
            serving = row.index(max(row))
        if lost:
            since = {}
        better = {
            c for c, v in enumerate(row) if c != serving and v - event.hysteresis_db > row[serving] + event.offset_db
        }
        since = {c: since.get(c, now) for c in better}
        ready = [c for c in better if now - since[c] >= event.time_to_trigger - 1e-6]
        if ready:
            serving, since = max(ready, key=lambda c: row[c]), {}
        rows.append((serving, True, bool(ready), lost))
    return rows


@pytest.mark.parametrize("trigger", [0.0, 0.15, 0.4])
def test_all_tracks_at_once_are_each_by_itself(trigger: float) -> None:
    generator = torch.Generator().manual_seed(0)
    tracks, reports, cells = 200, 20, 4
    level = torch.randn(tracks, reports, cells, generator=generator).cumsum(1) * 3
    known = torch.rand(tracks, reports, cells, generator=generator) > 0.15
    known &= torch.rand(tracks, reports, 1, generator=generator) > 0.1
    valid = torch.arange(reports) < torch.randint(1, reports + 1, (tracks, 1), generator=generator)
    time = (torch.rand(tracks, reports, generator=generator) * 0.2).cumsum(1)
    event = EventA3(offset_db=1.0, hysteresis_db=0.5, time_to_trigger=trigger)
    found = serving_cell.track_serving_cell(level, known, time, valid, event)
    heard = torch.where(known & valid[..., None], level, -torch.inf)
    for track in range(tracks):
        mine = [column[track].tolist() for column in (found.cell, found.known, found.handover, found.failure)]
        assert list(zip(*mine, strict=True)) == one_by_one(heard[track], time[track], event)
    assert found.handover.sum() > 20
    assert found.failure.sum() > 50
