"""The evaluation on measured networks: one unit of work for each network and draw of blocks, then the tables."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from scenes.measured_networks.folders import network_folders, read_network
from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.config import ENGINE_FIELDS
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import FieldState, UnitDone
from training.cache import digest
from training.measured_networks.config import MeasuredEvalConfig
from training.measured_networks.methods import MeasuredCase, measured_method
from uel.core.files.write_errors import require_writable
from uel.core.io import array_bytes, as_json, file_hash, replace_file
from uel.errors import UelError
from uel.estimation.scoring import Scores, score
from uel.measurement.drive_test import block_index
from uel.measurement.measured_network import BLOCK_SIDE, MeasuredNetwork, split_days, split_labels
from uel.prediction.label_locator import LabelLocator
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.predictor import LEVEL_MAPS_FILE, MapPredictor
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Squares
from uel.results.measured_evaluation import ABOUT_FILE

REPORTS_PER_CALL = 32
TIMED_REPORTS = 5
MEASURED_VERSION = 2  # raised when a method or a score changes, so that units are made anew
_FIELDS_OUTSIDE_KEY = ("data", "out", "districts", "draws", "maps", *ENGINE_FIELDS)
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MeasuredJob(FieldState):
    """Draws of all networks; a unit is one draw of one network with all methods and budgets."""

    config: MeasuredEvalConfig

    @property
    def folder(self) -> Path:
        return self.config.out

    @cached_property
    def networks(self) -> list[Path]:
        """Folders of the judged networks."""
        folders = {folder.name: folder for folder in network_folders(self.config.data)}
        unknown = [name for name in self.config.districts if name not in folders]
        if unknown:
            do = f"choose from {', '.join(folders)}"
            raise UelError("--districts names a folder that is not there", got=", ".join(unknown), do=do)
        return [folders[name] for name in self.config.districts or folders]

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(len(self.networks) * self.config.draws),)

    def unit(self, number: int) -> tuple[Path, int]:
        """Network and draw of a unit."""
        return self.networks[number // self.config.draws], number % self.config.draws

    def file(self, number: int) -> Path:
        """The result of a unit, named by all that it depends on."""
        folder, draw = self.unit(number)
        files = {file.name: file_hash(file) for file in sorted(folder.iterdir()) if file.is_file()}
        config = {k: v for k, v in asdict(self.config).items() if k not in _FIELDS_OUTSIDE_KEY}
        key = {"version": MEASURED_VERSION, "files": files, "config": config, "draw": draw}
        if self.config.maps is not None:
            key["maps"] = file_hash(self.config.maps / LEVEL_MAPS_FILE)
        return self.folder / "units" / f"{folder.name}-{draw:02}-{digest(key)}.npz"

    def is_done(self, number: int) -> bool:
        return self.file(number).is_file()

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return _MeasuredWorker(self).make


class _MeasuredWorker:
    """Makes units; keeps the network that it read last."""

    def __init__(self, job: MeasuredJob) -> None:
        self.job, self._folder, self._network, self._learned = job, Path(), None, None

    def make(self, number: int) -> UnitDone:
        folder, draw = self.job.unit(number)
        network = self._read(folder)
        arrays = judge_draw(network, self.job.config, draw, self._learned)
        replace_file(self.job.file(number), array_bytes(arrays, compressed=True))
        return UnitDone(number, f"{folder.name}, draw {draw}")

    def _read(self, folder: Path) -> MeasuredNetwork:
        if self._network is None or self._folder != folder:
            self._folder, self._network = folder, read_network(folder).heard_cells()
            self._learned = self._predict_maps(self._network)
        return self._network

    def _predict_maps(self, network: MeasuredNetwork) -> LearnedLocator | None:
        config = self.job.config
        if config.maps is None:
            return None
        squares = Squares.outdoors(network, config.known_squares)
        return LearnedLocator.of(MapPredictor.load(config.maps), network, squares, config.answer)


def judge_draw(
    network: MeasuredNetwork, config: MeasuredEvalConfig, draw: int, learned: LearnedLocator | None = None
) -> dict[str, np.ndarray]:
    """Scores of all methods at all label budgets in one draw of blocks.

    Returns:
        `position` and `block` of the judged squares, and `METHOD/BUDGET/SCORE` for each row, where SCORE is a field of
        `Scores`, or `measured_dbm` and `predicted_dbm`; a method without a density has neither `nll` nor `hpd_level`.
    """
    seed = config.seed + draw
    split = split_days(network, seed) if config.protocol == "duke-days" else split_labels(network, seed)
    order = torch.randperm(len(split.judged), generator=torch.Generator().manual_seed(seed), device="cpu")
    judged = network.select(split.judged[order[: config.phones]])
    squares = Squares.outdoors(network, config.known_squares)
    arrays = {"position": judged.position.numpy(), "block": block_index(judged.position, BLOCK_SIDE).numpy()}
    for budget in _budgets(config.labels, len(split.labelled)):
        labels = network.select(split.labels(min(budget, len(split.labelled))))
        case = MeasuredCase(labels, squares, config.parameters, config.answer, config.learned_parameters, learned)
        for name in config.methods:
            if measured_method(name).takes(budget):
                generator = torch.Generator().manual_seed(seed)
                locate = measured_method(name).fit(case)
                scores = score(
                    locate,
                    LevelReports.of(judged),
                    judged.position,
                    reports_per_call=REPORTS_PER_CALL,
                    generator=generator,
                    timed_reports=TIMED_REPORTS,
                )
                values = _score_arrays(scores) | (_levels(locate, judged) if isinstance(locate, LabelLocator) else {})
                arrays |= {f"{name}/{budget}/{key}": value for key, value in values.items()}
    return arrays


def _budgets(budgets: tuple[int, ...], labels: int) -> list[int]:
    """The budgets that there are labels for, and the least of the others: it takes all labels."""
    ordered = sorted(set(budgets))
    larger = [budget for budget in ordered if budget > labels]
    if larger:
        log.warning("the labelled blocks hold %d labels: a budget of %d takes all of them", labels, larger[0])
    return [budget for budget in ordered if budget <= labels] + larger[:1]


def _levels(locator: LabelLocator, judged: MeasuredNetwork) -> dict[str, np.ndarray]:
    """Measured and predicted levels in dBm at the judged squares, all reported cells in one array."""
    number = locator.squares.number[judged.row, judged.column]
    reported = judged.is_reported & (number >= 0)[:, None]
    predicted = locator.prediction.mean[:, number].T + locator.device_offset[judged.device][:, None]
    return {"measured_dbm": judged.level_dbm[reported].numpy(), "predicted_dbm": predicted[reported].numpy()}


def _score_arrays(scores: Scores) -> dict[str, np.ndarray]:
    values = {"error": scores.error, "nll": scores.nll, "hpd_level": scores.hpd_level, "estimate": scores.estimate}
    kept = {name: value.numpy() for name, value in values.items() if value is not None}
    return {**kept, "cpu_ms": np.array(scores.cpu_ms)}


def run_measured(config: MeasuredEvalConfig) -> Path:
    """Judge all methods; returns the folder of the results, which is complete unless `config.is_partial`."""
    for name in config.methods:
        measured_method(name)
    if config.maps is not None:
        MapPredictor.load(config.maps)  # a folder without learned maps is refused before any work
    job = MeasuredJob(config)
    require_writable(job.folder)
    log.info("%d networks, %d draws of each", len(job.networks), config.draws)
    make_all(job, "eval", config, "draws")
    if not config.is_partial:
        units = dict[str, list[str]]()
        for number in job.phases[0]:
            units.setdefault(job.unit(number)[0].name, []).append(job.file(number).name)
        about = {"protocol": config.protocol, "data": config.data.name, "draws": config.draws, "phones": config.phones}
        replace_file(job.folder / ABOUT_FILE, as_json({**about, "answer": config.answer, "units": units}))
    return job.folder
