"""Tracks in random order: each once an epoch, the same by seed, apart over ranks and workers, resumed where it was."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from tests.helpers.surveys import PLAN, made, toy_work
from uel.errors import UelError
from uel.survey.dataset import Survey
from uel.survey.stream import TrackBatch, TrackStream

TRACKS = [(tile, number) for tile in ("toy", "toya_1") for number in range(40)]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("read") / "survey", tiles=2)


def stream(survey: Survey, **changes) -> TrackStream:
    return TrackStream(survey, survey.tiles, **{"batch": 6, "units_in_memory": 2, "seed": 5} | changes)


def tracks(batches) -> list[list[tuple[str, int]]]:
    return [[(batch.tile, number) for number in batch.track.tolist()] for batch in batches]


def flat(batches: list[list]) -> list:
    return [item for batch in batches for item in batch]


def loaded(of: TrackStream, workers: int, **how) -> list[list[tuple[str, int]]]:
    return tracks(DataLoader(of, batch_size=None, num_workers=workers, **how))


def test_every_track_comes_once_an_epoch(survey: Survey) -> None:
    batches = tracks(stream(survey))
    assert sorted(flat(batches)) == TRACKS
    assert len(batches) == len(stream(survey))
    assert all(len({tile for tile, _ in batch}) == 1 for batch in batches)
    assert {len(batch) for batch in batches} <= {6, 4, 2}


def test_values_belong_to_their_tracks(survey: Survey) -> None:
    whole = {tile: survey[tile] for tile in survey.tiles}
    for batch in stream(survey):
        assert torch.equal(batch.truth.gain_db, whole[batch.tile].truth.gain_db[batch.track])
        assert torch.equal(batch.values["valid"], whole[batch.tile].valid[batch.track])


def test_order_is_a_matter_of_seed_and_epoch(survey: Survey) -> None:
    def order(seed: int, epoch: int) -> list:
        of = stream(survey, seed=seed)
        of.seek(epoch)
        return tracks(of)

    assert order(5, 0) == order(5, 0)
    assert len({str(order(seed, epoch)) for seed in (5, 6) for epoch in (0, 1)}) == 4
    assert sorted(flat(order(5, 1))) == TRACKS


def test_tracks_of_several_units_are_mixed(survey: Survey) -> None:
    """A batch out of two units of 8 holds tracks of both, and the order of tiles is mixed, too."""
    batches = tracks(stream(survey))
    assert any(len({number // 8 for _, number in batch}) > 1 for batch in batches)
    assert [tile for tile, _ in flat(batches)] != sorted(tile for tile, _ in flat(batches))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_get_as_many_batches_and_no_track_twice(survey: Survey, ranks: int) -> None:
    shares = [tracks(stream(survey, rank=(rank, ranks))) for rank in range(ranks)]
    whole = tracks(stream(survey))
    assert {len(share) for share in shares} == {len(whole) // ranks}
    assert [batch for share in shares for batch in share] == whole[: len(whole) // ranks * ranks]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_an_epoch(survey: Survey, workers: int) -> None:
    batches = loaded(stream(survey), workers)
    assert sorted(flat(batches)) == TRACKS
    assert batches == loaded(stream(survey), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_resumes_at_any_batch(survey: Survey, workers: int) -> None:
    whole = loaded(stream(survey), workers)
    for done in (1, 4, len(whole) - 1, len(whole)):
        of = stream(survey)
        of.seek(0, done)
        assert loaded(of, workers) == whole[done:]


def test_persistent_workers_follow_the_epoch(survey: Survey) -> None:
    of = stream(survey)
    loader = DataLoader(of, batch_size=None, num_workers=2, persistent_workers=True)
    first = tracks(loader)
    of.seek(1)
    second = tracks(loader)
    assert first != second
    assert Counter(flat(first)) == Counter(flat(second))
    fresh = stream(survey)
    fresh.seek(1)
    assert loaded(fresh, 2) == second


@pytest.mark.slow
def test_spawned_workers_read_too(survey: Survey) -> None:
    assert loaded(stream(survey), 1, multiprocessing_context="spawn") == tracks(stream(survey))


def test_batches_go_to_another_process_with_all_they_hold(survey: Survey) -> None:
    (batch, *_) = DataLoader(stream(survey, features=("time", "path_gain_db")), batch_size=None, num_workers=1)
    assert isinstance(batch, TrackBatch)
    assert batch.values.keys() == {"time", "path_gain_db"}
    assert batch.values["path_gain_db"].shape == (len(batch.track), 4, 4, 2)


def test_streams_of_nothing(survey: Survey, tmp_path: Path) -> None:
    for wrong in ({"batch": 0}, {"units_in_memory": 0}):
        with pytest.raises(UelError, match="at least one of each"):
            stream(survey, **wrong)
    with pytest.raises(UelError, match="tiles"):
        TrackStream(survey, [])
    with pytest.raises(UelError, match="no such tile"):
        TrackStream(survey, ["florence"])
    toy_work(tmp_path / "survey", PLAN).prepare()
    with pytest.raises(UelError, match="not finished"):
        TrackStream(Survey.open(tmp_path / "survey"), ["toy"])
