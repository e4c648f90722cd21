"""Training data of one new tile with few labels: a pool of phones, some with known positions, and batches of both."""

from dataclasses import dataclass

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.data.batch import Batch
from training.locator.config import LABELS_PER_VALIDATION_PHONE
from training.locator.setup import LocatorTrainingConfig
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.measurement.reports import Reports

MAX_VALIDATION_PHONES = 192  # phones to validate on
PHONES_PER_VALIDATION_BATCH = 64  # phones of a validation batch


@dataclass(frozen=True, eq=False)
class FewLabelPool:
    """Reports of a fixed set of phones; the positions of the first ones are known."""

    reports: Reports
    position: Float[Tensor, "label 2"]
    """m, positions of the labelled phones"""

    def __post_init__(self) -> None:
        if not 2 * LABELS_PER_VALIDATION_PHONE <= len(self.position) <= len(self.reports):
            got = f"{len(self.position)} labels, {len(self.reports)} phones"
            raise UelError(
                "a pool needs enough labels, and a phone for each label",
                got=got,
                do=f"give at least {2 * LABELS_PER_VALIDATION_PHONE}",
            )

    @property
    def held_out(self) -> int:
        """Number of labelled phones held out for validation: the first ones."""
        return min(len(self.position) // LABELS_PER_VALIDATION_PHONE, MAX_VALIDATION_PHONES)

    @property
    def unlabelled(self) -> int:
        """Number of phones without a label."""
        return len(self.reports) - len(self.position)


class FewLabelDataset(Dataset[Batch]):
    """Batches of one epoch: labelled phones, then unlabelled ones; batch i depends on i and the seed alone."""

    def __init__(
        self, config: LocatorTrainingConfig, deployment: Deployment, pool: FewLabelPool, unlabelled: int, numbers: range
    ) -> None:
        self.config, self.deployment, self.pool, self.numbers = config, deployment, pool, numbers
        self.unlabelled = unlabelled if pool.unlabelled else 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self.numbers):
            raise IndexError(index)
        number, pool, size = self.numbers[index], self.pool, self.config.training.batch
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        labelled = torch.randint(
            pool.held_out, len(pool.position), (size,), generator=generator, device=generator.device
        )
        # Drawn after the labelled phones from the same generator: those do not depend on the unlabelled ones.
        first, end = len(pool.position), len(pool.reports)
        unlabelled_index = torch.randint(
            first, max(end, first + 1), (self.unlabelled,), generator=generator, device=generator.device
        )
        unknown_position = torch.zeros(self.unlabelled, 2, device="cpu")
        reports, position = (
            pool.reports[torch.cat([labelled, unlabelled_index])],
            torch.cat([pool.position[labelled], unknown_position]),
        )
        return Batch(0, number, self.deployment.maps, reports, position, labelled_count=size)


class FewLabelDataModule(lightning.LightningDataModule):
    """Training batches of a pool on its deployment, and validation batches of its held-out labelled phones."""

    def __init__(
        self, config: LocatorTrainingConfig, deployment: Deployment, pool: FewLabelPool, unlabelled: int
    ) -> None:
        super().__init__()
        self.config, self.train, self.pool, self.unlabelled = config, [deployment], pool, unlabelled
        chunks = [
            slice(start, min(start + PHONES_PER_VALIDATION_BATCH, pool.held_out))
            for start in range(0, pool.held_out, PHONES_PER_VALIDATION_BATCH)
        ]
        self.validation = [Batch(0, 0, deployment.maps, pool.reports[chunk], pool.position[chunk]) for chunk in chunks]

    def batches(self, numbers: range) -> FewLabelDataset:
        """Training batches by their numbers."""
        return FewLabelDataset(self.config, self.train[0], self.pool, self.unlabelled, numbers)

    def train_dataloader(self) -> DataLoader:
        """One epoch's batches (Lightning calls it at each epoch)."""
        assert self.trainer is not None
        rank, ranks, count = self.trainer.global_rank, self.trainer.world_size, self.config.training.batches_per_epoch
        first = self.trainer.current_epoch * count * ranks + rank
        numbers = range(first, first + count * ranks, ranks)
        return _loader(self.batches(numbers))

    def val_dataloader(self) -> DataLoader:
        return _loader(self.validation)


def _loader(batches: object) -> DataLoader:
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]
