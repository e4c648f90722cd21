"""Shuffled batches of a survey's tracks, for training on more of them than memory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from uel.core.display.short_repr import ShortRepr
from uel.errors import UelError
from uel.radio.link_truth import LinkTruth
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.manifest import WorkUnit


@dataclass(frozen=True, eq=False, repr=False)
class TrackBatch(ShortRepr):
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
    """Units of one tile whose tracks are shuffled in memory."""

    units: list[WorkUnit]
    batches: int


class TrackStream(IterableDataset[TrackBatch]):
    """Batches of tracks; give it to `DataLoader(stream, batch_size=None, num_workers=…)`.

    Two shuffles: units come in random order, `units_in_memory` of one tile at a time, and their tracks are shuffled
    in memory. Epoch, seed and survey plan determine every batch; every track comes once an epoch. Data-parallel ranks
    take equal parts of that order (each rank drops less than one batch, other ones every epoch), and so do a loader's
    workers: the order does not depend on the number of ranks or workers, and `seek` resumes at any batch.
    """

    def __init__(
        self,
        survey: Survey,
        tiles: Sequence[str],
        features: Sequence[str] = (*TRUTH_FEATURES, "time", "valid", "velocity"),
        *,
        batch: int = 64,
        units_in_memory: int = 8,
        seed: int = 0,
        rank: tuple[int, int] | None = None,
    ) -> None:
        """`rank` is (rank, ranks), torch.distributed's own unless given."""
        for tile in tiles:
            survey.require(tile)
        if not tiles or min(batch, units_in_memory) < 1:
            got = f"{len(tiles)} tiles, batch {batch}, units_in_memory {units_in_memory}"
            raise UelError(
                "a track stream needs tiles, batch ≥ 1 and units_in_memory ≥ 1", got=got, do="give at least one of each"
            )
        self.survey, self.tiles, self.features = survey, tuple(tiles), tuple(features)
        self.batch, self.units_in_memory, self.seed = batch, units_in_memory, seed
        self.rank, self.ranks = rank or _own_rank()
        self._position = torch.zeros(
            2, dtype=torch.long, device="cpu"
        ).share_memory_()  # (epoch, batch), seen by a loader's workers

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Continue at batch number `batch` of this rank in an epoch."""
        self._position[0], self._position[1] = epoch, batch

    def __len__(self) -> int:
        """Number of this rank's batches in the epoch last set by `seek`, from its beginning."""
        return self._batches_per_rank(self._groups(int(self._position[0])))

    def _batches_per_rank(self, groups: list[_Group]) -> int:
        return sum(group.batches for group in groups) // self.ranks

    def __iter__(self) -> Iterator[TrackBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, done = self._position.tolist()
        groups = self._groups(epoch)
        count = self._batches_per_rank(groups)
        # A loader asks its workers in turn, so after `done` batches another worker is first.
        lane = (worker + done) % workers
        first, last = (self._lane_start(count, workers, n) for n in (lane, lane + 1))
        taken = done // workers + (lane < done % workers)
        offset = self.rank * count
        yield from self._batches(groups, epoch, range(offset + first + taken, offset + last))

    def _lane_start(self, count: int, lanes: int, lane: int) -> int:
        """First batch of a lane when `count` batches are split over lanes; the first lanes get the remainder."""
        return lane * (count // lanes) + min(lane, count % lanes)

    def _groups(self, epoch: int) -> list[_Group]:
        """The epoch's groups, in order."""
        draw = np.random.default_rng((self.seed, epoch))
        groups = []
        for tile in self.tiles:
            units = self.survey.manifest.units_of(tile)
            order = draw.permutation(len(units))
            parts = [
                [units[i] for i in order[k : k + self.units_in_memory]]
                for k in range(0, len(units), self.units_in_memory)
            ]
            groups += [_Group(part, -(-sum(unit.count for unit in part) // self.batch)) for part in parts]
        return [groups[i] for i in draw.permutation(len(groups))]

    def _batches(self, groups: list[_Group], epoch: int, numbers: range) -> Iterator[TrackBatch]:
        start = 0
        for number, group in enumerate(groups):
            inside = range(max(numbers.start - start, 0), min(numbers.stop - start, group.batches))
            start += group.batches
            if inside:
                yield from self._shuffled(group, np.random.default_rng((self.seed, epoch, number)), inside)

    def _shuffled(self, group: _Group, draw: np.random.Generator, numbers: range) -> Iterator[TrackBatch]:
        """Batches `numbers` of a group; reads all tracks of the group."""
        parts = [self.survey.read(u.tile, self.features, u.first, u.count) for u in group.units]
        values = {name: torch.cat([part[name] for part in parts]) for name in self.features}
        track = torch.cat([torch.arange(u.first, u.first + u.count, device="cpu") for u in group.units])
        order = torch.from_numpy(draw.permutation(len(track)))
        for number in numbers:
            chosen = order[number * self.batch : (number + 1) * self.batch]
            yield TrackBatch(group.units[0].tile, track[chosen], {name: v[chosen] for name, v in values.items()})


def _own_rank() -> tuple[int, int]:
    """(rank, number of ranks) of this process in torch.distributed; (0, 1) without it."""
    distributed = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
