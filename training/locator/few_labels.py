"""One new tile with few labels: a pool of phones of which some say where they are, and batches of both kinds."""

from dataclasses import dataclass

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.batch import Batch
from training.data.deployment import Deployment
from training.locator.config import LocatorTrainingConfig
from uel.errors import UelError
from uel.measurement.reports import Reports

HELD = 5  # of so many labelled phones one is kept to validate on
MOST = 192  # phones to validate on
CHUNK = 64  # phones of a validation batch


@dataclass(frozen=True, eq=False)
class FewLabelPool:
    """Reports as they came in, once and for all; of the first of them it is known where they were sent from."""

    reports: Reports
    position: Float[Tensor, "label 2"]
    """m, of the labelled ones"""

    def __post_init__(self) -> None:
        if not 2 * HELD <= len(self.position) <= len(self.reports):
            got = f"{len(self.position)} labels of {len(self.reports)} phones"
            raise UelError("a pool needs labels, and a phone for each", got=got, do=f"give at least {2 * HELD}")

    @property
    def held(self) -> int:
        """Labelled phones that are not learned from: the first ones."""
        return min(len(self.position) // HELD, MOST)

    @property
    def unlabelled(self) -> int:
        return len(self.reports) - len(self.position)


class FewLabelDataset(Dataset[Batch]):
    """Batches of one epoch: labelled phones, then unlabelled ones; batch i is a matter of i and the seed alone."""

    def __init__(
        self, recipe: LocatorTrainingConfig, world: Deployment, pool: FewLabelPool, unlabelled: int, numbers: range
    ) -> None:
        self.recipe, self.world, self.pool, self.numbers = recipe, world, pool, numbers
        self.unlabelled = unlabelled if pool.unlabelled else 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self.numbers):
            raise IndexError(index)
        number, pool, size = self.numbers[index], self.pool, self.recipe.training.batch
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        told = torch.randint(pool.held, len(pool.position), (size,), generator=generator)
        # Drawn from the same generator after the labels, so that these are the same with and without them.
        first, end = len(pool.position), len(pool.reports)
        untold = torch.randint(first, max(end, first + 1), (self.unlabelled,), generator=generator)
        nowhere = torch.zeros(self.unlabelled, 2)
        reports, position = pool.reports[torch.cat([told, untold])], torch.cat([pool.position[told], nowhere])
        return Batch(0, number, self.world.maps, reports, position, labelled=size)


class FewLabelDataModule(lightning.LightningDataModule):
    """Training batches of a pool on its world, and those of its labelled phones that are held back to validate on."""

    def __init__(self, recipe: LocatorTrainingConfig, world: Deployment, pool: FewLabelPool, unlabelled: int) -> None:
        super().__init__()
        self.recipe, self.train, self.pool, self.unlabelled = recipe, [world], pool, unlabelled
        cut = [slice(start, min(start + CHUNK, pool.held)) for start in range(0, pool.held, CHUNK)]
        self.validation = [Batch(0, 0, world.maps, pool.reports[part], pool.position[part]) for part in cut]

    def batches(self, numbers: range) -> FewLabelDataset:
        """Training batches by their numbers."""
        return FewLabelDataset(self.recipe, self.train[0], self.pool, self.unlabelled, numbers)

    def train_dataloader(self) -> DataLoader:
        """One epoch's batches (Lightning asks again at each epoch)."""
        assert self.trainer is not None
        rank, ranks, count = self.trainer.global_rank, self.trainer.world_size, self.recipe.training.batches_per_epoch
        first = self.trainer.current_epoch * count * ranks + rank
        numbers = range(first, first + count * ranks, ranks)
        return _loader(self.batches(numbers))

    def val_dataloader(self) -> DataLoader:
        return _loader(self.validation)


def _loader(batches: object) -> DataLoader:
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]
