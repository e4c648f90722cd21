"""The Lightning data module: training batches of an epoch for this process, and validation batches."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from training.data.batch import Batch, BatchDataset, draw_batch
from training.locator.setup import LocatorTrainingConfig
from uel.core.tile_reference import TileReference, require_same_tile
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.measurement.reports import Reports
from uel.radio.link_truth import LinkTruth
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.stream import TrackBatch, TrackStream

PHONES_PER_VALIDATION_BATCH = 64  # bounds memory
EPOCH_STRIDE = 1_000_003  # epochs of the survey between those that start two training epochs


class LocatorDataModule(lightning.LightningDataModule):
    """Training batches of some deployments; those of epoch e are the same after a resume, and differ between
    processes.

    A `survey` gives the ray-traced truth of the training deployments named as its tiles; without it each deployment
    has that in memory. Raises `UelError` without deployments to train on or to validate on.
    """

    def __init__(
        self,
        config: LocatorTrainingConfig,
        train: Sequence[Deployment],
        validate: Sequence[Deployment],
        survey: Survey | None = None,
    ) -> None:
        super().__init__()
        if not train or not validate:
            got = f"{len(train)} to train on, {len(validate)} to validate on"
            raise UelError("training needs deployments of both kinds", got=got, do="give at least one of each")
        self.config, self.train, self.survey = config, train, survey
        self.validation = [
            batch
            for number, deployment in enumerate(validate)
            for batch in _validation_batches(config, deployment, number)
        ]

    def train_dataloader(self) -> DataLoader:
        """One epoch's batches (Lightning calls it at each epoch)."""
        assert self.trainer is not None
        rank, ranks, epoch = self.trainer.global_rank, self.trainer.world_size, self.trainer.current_epoch
        count, batch_config = self.config.training.batches_per_epoch, self.config.batch_config
        first = epoch * count * ranks + rank
        numbers = range(first, first + count * ranks, ranks)
        if self.survey is not None and batch_config.traced_count:
            return _loader(SurveyBatchDataset(self.train, self.config, self.survey, epoch, numbers, (rank, ranks)))
        return _loader(BatchDataset(self.train, batch_config, first, count, ranks))

    def val_dataloader(self) -> DataLoader:
        return _loader(self.validation)


def _loader(batches: object) -> DataLoader:
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


class SurveyBatchDataset(IterableDataset[Batch]):
    """Training batches on the tile that a survey's stream is at, one report of each of its tracks."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        config: LocatorTrainingConfig,
        survey: Survey,
        epoch: int,
        numbers: range,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        self.deployments, self.batch_config, self.epoch, self.numbers = deployments, config.batch_config, epoch, numbers
        self.index_of_tile = deployment_of_tile(deployments, survey)
        self.stream = TrackStream(
            survey,
            list(self.index_of_tile),
            (*TRUTH_FEATURES, "valid"),
            batch=self.batch_config.traced_count,
            seed=config.seed,
            rank=rank,
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        for number, tracks in zip(self.numbers, self._tracks(), strict=False):
            generator = torch.Generator().manual_seed(self.batch_config.seed * EPOCH_STRIDE + number)
            truth = draw_one_report(tracks, generator)
            yield draw_batch(self.deployments, self.batch_config, number, self.index_of_tile[tracks.tile], truth)

    def _tracks(self) -> Iterator[TrackBatch]:
        """The survey's epochs in turn: an epoch of training reads a short survey more than once."""
        for survey_epoch in itertools.count():
            self.stream.seek(self.epoch + survey_epoch * EPOCH_STRIDE)
            if not len(self.stream):
                got = f"{self.stream.ranks} processes, batches of {self.stream.batch} traced phones"
                raise UelError("the survey has too few tracks for these processes", got=got, do="give a smaller batch")
            yield from self.stream


def deployment_of_tile(deployments: Sequence[Deployment], survey: Survey) -> Mapping[str, int]:
    """Index of the deployment of each surveyed tile that has one.

    Raises `UelError` for a deployment that was not surveyed, whose sites or meshes changed after the survey, and for
    two deployments on one tile.
    """
    index_of_tile = {}
    for number, deployment in enumerate(deployments):
        name, entry = deployment.tile.name, survey.manifest.tiles.get(deployment.tile.name)
        if entry is None or name in index_of_tile:
            got = f"{name}; surveyed tiles are {', '.join(survey.tiles)}"
            raise UelError(
                "each tile to train on must be in the survey and given once", got=got, do="train on its tiles' folders"
            )
        do = "survey it again: uel survey"
        made_on = TileReference(name, entry.fingerprint)
        require_same_tile(f"survey ({survey.folder})", made_on, deployment.tile.reference, do)
        if entry.sites != deployment.maps.radio.sites:
            raise UelError("the sites changed after the survey", got=f"{name} of {survey.folder}", do=do)
        index_of_tile[name] = number
    return index_of_tile


def draw_one_report(tracks: TrackBatch, generator: torch.Generator) -> LinkTruth:
    """The link truth of one valid report of each track, drawn at random."""
    valid = tracks.values["valid"]
    chosen = (torch.rand(len(valid), generator=generator, device=generator.device) * valid.sum(1)).long()
    return tracks.truth[torch.arange(len(valid), device=valid.device), chosen]


def _validation_batches(config: LocatorTrainingConfig, deployment: Deployment, number: int) -> list[Batch]:
    """Phones with all features, the same in every epoch, with the traced fraction of training, under each condition."""
    plan, model = config.training, config.measurement
    generator = torch.Generator().manual_seed(config.seed + 7 + 1000 * number)
    traced_count = round(plan.validation * plan.traced_fraction) if deployment.survey is not None else 0
    parts = [deployment.reports_from_survey(model, generator, traced_count)] if traced_count else []
    parts.append(deployment.reports_from_map(plan.validation - traced_count, model, generator))
    reports, position = Reports.cat([r for r, _ in parts]), torch.cat([p for _, p in parts])
    return [
        Batch(
            deployment_index=number,
            number=0,
            maps=deployment.assumed_maps(name),
            reports=deployment.as_reported(reports, name)[i : i + PHONES_PER_VALIDATION_BATCH],
            position=position[i : i + PHONES_PER_VALIDATION_BATCH],
            condition=name,
            assumed_model=deployment.adapted_models.get(name),
        )
        for name in config.conditions
        for i in range(0, len(position), PHONES_PER_VALIDATION_BATCH)
    ]
