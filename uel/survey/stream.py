"""Tracks of a survey in random order, for training on more of them than memory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from uel.errors import UelError
from uel.radio.link_truth import LinkTruth
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.manifest import WorkUnit


@dataclass(frozen=True, eq=False)
class TrackBatch:
    """Tracks of one tile."""

    tile: str
    track: Int[Tensor, " track"]
    """numbers on the tile"""
    values: dict[str, Tensor]
    """features, axes (track, report, …)"""

    @property
    def truth(self) -> LinkTruth:
        return LinkTruth(**{name: self.values[name] for name in TRUTH_FEATURES})


class _Group(NamedTuple):
    """Units of one tile whose tracks are mixed in memory."""

    units: list[WorkUnit]
    batches: int


class TrackStream(IterableDataset[TrackBatch]):
    """Batches of tracks; give it to `DataLoader(stream, batch_size=None, num_workers=…)`.

    Two shuffles: units in random order, `together` of one tile at a time in memory, and their tracks there. Epoch,
    seed and plan say which batch is which; every track comes once an epoch. Data-parallel ranks take equal parts of
    that one order (which leaves out less than a batch for each rank, others in every epoch), and so do a loader's
    workers: the order does not depend on how many ranks or workers of earlier epochs there were, and `seek`
    resumes at any batch.
    """

    def __init__(
        self,
        survey: Survey,
        tiles: Sequence[str],
        features: Sequence[str] = (*TRUTH_FEATURES, "time", "valid", "velocity"),
        *,
        batch: int = 64,
        together: int = 8,
        seed: int = 0,
        rank: tuple[int, int] | None = None,
    ) -> None:
        """`rank` is (rank, ranks), torch.distributed's own unless given."""
        for tile in tiles:
            survey.require(tile)
        if not tiles or min(batch, together) < 1:
            got = f"{len(tiles)} tiles, batch {batch}, together {together}"
            raise UelError("a stream needs tiles and batches", got=got, do="give at least one of each")
        self.survey, self.tiles, self.features = survey, tuple(tiles), tuple(features)
        self.batch, self.together, self.seed = batch, together, seed
        self.rank, self.ranks = rank or _own_rank()
        self._at = torch.zeros(2, dtype=torch.long).share_memory_()  # a loader's workers see it, persistent ones too

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Go on at a batch of an epoch: number `batch` that this rank gets there."""
        self._at[0], self._at[1] = epoch, batch

    def __len__(self) -> int:
        """Batches that this rank gets in the epoch sought, from its beginning."""
        return self._share(self._groups(int(self._at[0])))

    def _share(self, groups: list[_Group]) -> int:
        return sum(group.batches for group in groups) // self.ranks

    def __iter__(self) -> Iterator[TrackBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, done = self._at.tolist()
        groups = self._groups(epoch)
        mine = self._share(groups)
        # A loader asks its workers in turn, so after `done` batches it is another one's turn first.
        lane = (worker + done) % workers
        first, last = (self._start(mine, workers, n) for n in (lane, lane + 1))
        taken = done // workers + (lane < done % workers)
        offset = self.rank * mine
        yield from self._batches(groups, epoch, range(offset + first + taken, offset + last))

    def _start(self, count: int, lanes: int, lane: int) -> int:
        """Where a lane's share of so many batches begins: the first lanes get one more where it does not divide."""
        return lane * (count // lanes) + min(lane, count % lanes)

    def _groups(self, epoch: int) -> list[_Group]:
        """The epoch's groups, in order."""
        draw = np.random.default_rng((self.seed, epoch))
        groups = []
        for tile in self.tiles:
            units = self.survey.manifest.units_of(tile)
            order = draw.permutation(len(units))
            parts = [[units[i] for i in order[k : k + self.together]] for k in range(0, len(units), self.together)]
            groups += [_Group(part, -(-sum(unit.count for unit in part) // self.batch)) for part in parts]
        return [groups[i] for i in draw.permutation(len(groups))]

    def _batches(self, groups: list[_Group], epoch: int, wanted: range) -> Iterator[TrackBatch]:
        start = 0
        for number, group in enumerate(groups):
            inside = range(max(wanted.start - start, 0), min(wanted.stop - start, group.batches))
            start += group.batches
            if inside:
                yield from self._mixed(group, np.random.default_rng((self.seed, epoch, number)), inside)

    def _mixed(self, group: _Group, draw: np.random.Generator, wanted: range) -> Iterator[TrackBatch]:
        """Some of the batches of a group, whose tracks are all read."""
        parts = [self.survey.read(u.tile, self.features, u.first, u.count) for u in group.units]
        values = {name: torch.cat([part[name] for part in parts]) for name in self.features}
        track = torch.cat([torch.arange(u.first, u.first + u.count) for u in group.units])
        order = torch.from_numpy(draw.permutation(len(track)))
        for number in wanted:
            chosen = order[number * self.batch : (number + 1) * self.batch]
            yield TrackBatch(group.units[0].tile, track[chosen], {name: v[chosen] for name, v in values.items()})


def _own_rank() -> tuple[int, int]:
    """This process among those that train together."""
    there = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if there else (0, 1)
