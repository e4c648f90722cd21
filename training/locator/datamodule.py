"""The Lightning data module: training batches of an epoch for this process, and the phones to validate on."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from training.data.batch import Batch, BatchDataset, draw_batch
from training.data.deployment import Deployment
from training.locator.config import LocatorTrainingConfig
from uel.errors import UelError
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.stream import TrackBatch, TrackStream

PHONES_PER_VALIDATION_BATCH = 64  # phones of a validation batch: bounds memory
EPOCH_STRIDE = 1_000_003  # epochs of a survey between those that begin two training epochs


class LocatorDataModule(lightning.LightningDataModule):
    """Batches of some worlds; those of epoch e are the same after a resume, and others in each process.

    A `survey` gives the traced truth of training worlds of the names of its tiles; without it that is what each world
    holds in memory.
    """

    def __init__(
        self,
        recipe: LocatorTrainingConfig,
        train: Sequence[Deployment],
        validate: Sequence[Deployment],
        survey: Survey | None = None,
    ) -> None:
        super().__init__()
        if not train or not validate:
            raise UelError("training needs worlds to learn from and to validate on", got=(len(train), len(validate)))
        self.recipe, self.train, self.survey = recipe, train, survey
        self.validation = [batch for number, world in enumerate(validate) for batch in _phones(recipe, world, number)]

    def train_dataloader(self) -> DataLoader:
        """One epoch's batches (Lightning asks again at each epoch)."""
        assert self.trainer is not None
        rank, ranks, epoch = self.trainer.global_rank, self.trainer.world_size, self.trainer.current_epoch
        count, drawing = self.recipe.training.batches_per_epoch, self.recipe.drawing
        first = epoch * count * ranks + rank
        numbers = range(first, first + count * ranks, ranks)
        if self.survey is not None and drawing.traced:
            return _loader(SurveyBatchDataset(self.train, self.recipe, self.survey, epoch, numbers, (rank, ranks)))
        return _loader(BatchDataset(self.train, drawing, first, count, ranks))

    def val_dataloader(self) -> DataLoader:
        return _loader(self.validation)


def _loader(batches: object) -> DataLoader:
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


class SurveyBatchDataset(IterableDataset[Batch]):
    """Training batches on whatever tile a survey's stream has come to, one report of each of its tracks."""

    def __init__(
        self,
        worlds: Sequence[Deployment],
        recipe: LocatorTrainingConfig,
        survey: Survey,
        epoch: int,
        numbers: range,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        self.worlds, self.drawing, self.epoch, self.numbers = worlds, recipe.drawing, epoch, numbers
        self.which = deployment_of_tile(worlds, survey)
        self.stream = TrackStream(
            survey, list(self.which), (*TRUTH_FEATURES, "valid"), batch=self.drawing.traced, seed=recipe.seed, rank=rank
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        for number, tracks in zip(self.numbers, self._tracks(), strict=False):
            generator = torch.Generator().manual_seed(self.drawing.seed * EPOCH_STRIDE + number)
            truth = draw_one_report(tracks, generator)
            yield draw_batch(self.worlds, self.drawing, number, self.which[tracks.tile], truth)

    def _tracks(self) -> Iterator[TrackBatch]:
        """The survey's epochs, one after the other: a short survey comes more than once in an epoch of training."""
        for lap in itertools.count():
            self.stream.seek(self.epoch + lap * EPOCH_STRIDE)
            if not len(self.stream):
                got = f"{self.stream.ranks} processes, batches of {self.stream.batch} traced phones"
                raise UelError("this survey is too short for these processes", got=got, do="give a smaller batch")
            yield from self.stream


def deployment_of_tile(worlds: Sequence[Deployment], survey: Survey) -> Mapping[str, int]:
    """Which world belongs to each tile of a survey that has one.

    Raises `UelError` for a world that was not surveyed, or whose masts or meshes are not those that were, and for two
    worlds of one tile.
    """
    which = {}
    for number, world in enumerate(worlds):
        name, entry = world.tile.name, survey.manifest.tiles.get(world.tile.name)
        if entry is None or name in which:
            got = f"{name}; surveyed are {', '.join(survey.tiles)}"
            raise UelError("a survey has each place to train on once", got=got, do="train on its tiles' folders")
        if entry.fingerprint != world.tile.fingerprint or entry.sites != world.maps.radio.sites:
            got = f"{name} of {survey.folder}"
            raise UelError("this tile or its masts changed after the survey", got=got, do="survey it again: uel survey")
        which[name] = number
    return which


def draw_one_report(tracks: TrackBatch, generator: torch.Generator) -> LinkTruth:
    """Of each track one report at random."""
    valid = tracks.values["valid"]
    chosen = (torch.rand(len(valid), generator=generator) * valid.sum(1)).long()
    return tracks.truth[torch.arange(len(valid)), chosen]


def _phones(recipe: LocatorTrainingConfig, world: Deployment, number: int) -> list[Batch]:
    """Phones with all features, the same in every epoch, in the truths' shares of training, under each condition."""
    plan, model = recipe.training, recipe.measurement
    generator = torch.Generator().manual_seed(recipe.seed + 7 + 1000 * number)
    share = round(plan.validation * plan.traced_fraction) if world.survey is not None else 0
    parts = [world.from_survey(model, generator, share)] if share else []
    parts.append(world.from_map(plan.validation - share, model, generator))
    reports, position = Reports.cat([r for r, _ in parts]), torch.cat([p for _, p in parts])
    return [
        Batch(
            world=number,
            index=0,
            maps=world.given(name),
            reports=world.said(reports, name)[i : i + PHONES_PER_VALIDATION_BATCH],
            position=position[i : i + PHONES_PER_VALIDATION_BATCH],
            condition=name,
            believed=world.models.get(name),
        )
        for name in recipe.conditions
        for i in range(0, len(position), PHONES_PER_VALIDATION_BATCH)
    ]
