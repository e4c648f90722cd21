"""`uel train-maps`: samples of links, maps of each district by a network that has not seen it, and what weighs them.

Every stage is kept in the folder of generated data, so that a stopped command goes on where it was.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch

from scenes.measured_networks.folders import network_folders, read_network
from training.cache import StageCache
from training.level_maps.config import TrainMapsConfig
from training.level_maps.fit_evidence import fit_evidence
from training.level_maps.fit_links import fit_links
from training.level_maps.link_samples import LinkSamples, join_samples
from training.level_maps.scores import score_fixes
from uel.core.files.folder_names import run_folder
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, file_hash, replace_file, replace_torch_file
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.link_features import LINK_FEATURES
from uel.prediction.learned_maps.link_network import LinkNetwork, LinkPrediction
from uel.prediction.learned_maps.predictor import MapPredictor, PredictedDistrict
from uel.prediction.square_posterior import Squares

log = logging.getLogger(__name__)
STAGE_FILE = "stage.pt"


def train_maps(config: TrainMapsConfig) -> Path:
    """Learn from the districts of a folder; write `level_maps.pt` and `scores.json` into the run's folder.

    Raises:
        UelError: where fewer districts are left than there are folds, or a named one is not there.
    """
    folder, districts = run_folder(config.run), _districts(config)
    require_writable(folder, data_folder())
    stages = _Stages(config, StageCache(data_folder() / "level_maps"), districts)
    for district in districts:
        stages.samples(district)
    predicted = {d.name: (stages.out_of_fold_maps(d), d.network) for d in districts}
    chosen = [d.name for d in districts if d.name not in config.validate]
    evidence = stages.evidence(chosen, predicted)
    predictor = MapPredictor(stages.links("all", districts), evidence)
    predictor.save(folder)
    scores = {name: _scores(predictor, *predicted[name], config.seed) for name in config.validate}
    replace_file(folder / "scores.json", as_json(scores))
    return folder


def _scores(
    predictor: MapPredictor, district: PredictedDistrict, network: MeasuredNetwork, seed: int
) -> dict[str, dict[str, float]]:
    """Scores on maps that do not come from the district itself."""
    every = torch.arange(len(network.cells), device="cpu")
    locator = LearnedLocator(
        predictor=predictor, district=district, squares=Squares.outdoors(network), listed=every, cells=len(every)
    )
    return score_fixes(locator, network, seed)


@dataclass(frozen=True)
class _District:
    """A measured district, read when it is asked for."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def network(self) -> MeasuredNetwork:
        """The cells that reports name and whose antennas are known."""
        heard = read_network(self.folder).heard_cells()
        return heard.with_cells(heard.cells.is_listed.nonzero()[:, 0])

    @cached_property
    def key(self) -> dict[str, str]:
        """Hashes of the files."""
        return {file.name: file_hash(file) for file in sorted(self.folder.iterdir()) if file.is_file()}


def _districts(config: TrainMapsConfig) -> list[_District]:
    """The districts to learn from and to validate on, by name."""
    folders = network_folders(config.data)
    unknown = sorted({*config.leave_out, *config.validate} - {folder.name for folder in folders})
    if unknown:
        got, do = ", ".join(unknown), f"name folders of {config.data}"
        raise UelError("these districts are not there", got=got, do=do)
    districts = [_District(folder) for folder in folders if folder.name not in config.leave_out]
    if len(districts) - len(config.validate) < config.folds:
        got = f"{len(districts)} districts, {len(config.validate)} of them to validate on, {config.folds} folds"
        raise UelError("too few districts to learn from", got=got, do=f"add districts to {config.data}")
    return districts


@dataclass(frozen=True)
class _Stages:
    """The steps of the training, each made once for its inputs."""

    config: TrainMapsConfig
    cache: StageCache
    districts: Sequence[_District]

    def samples(self, district: _District) -> LinkSamples:
        """Links of a district."""
        count, seed = self.config.links.silent_links, self.config.seed
        key = [district.key, count, seed, LINK_FEATURES]
        state = self._state(f"links-{district.name}", key, lambda: vars(LinkSamples.of(district.network, count, seed)))
        return LinkSamples(**state)

    def links(self, name: str, districts: Sequence[_District]) -> LinkNetwork:
        """The network that learned from some districts."""
        links, seed = self.config.links, self.config.seed

        def fitted() -> dict[str, torch.Tensor]:
            samples = join_samples([self.samples(district) for district in districts])
            return fit_links(links, samples, seed, name).state_dict()

        network = LinkNetwork(links.network)
        key = [[district.key for district in districts], asdict(links), seed, LINK_FEATURES]
        network.load_state_dict(self._state(f"network-{name}", key, fitted))
        return network.eval()

    def out_of_fold_maps(self, district: _District) -> PredictedDistrict:
        """Maps of a district by the network that learned from the districts of the other folds."""
        folds = self.config.folds
        fold = self.districts.index(district) % folds
        others = [other for number, other in enumerate(self.districts) if number % folds != fold]
        key = [
            district.key,
            [other.key for other in others],
            asdict(self.config.links),
            self.config.seed,
            LINK_FEATURES,
        ]

        squares = Squares.outdoors(district.network)

        def predicted() -> dict[str, object]:
            district_maps = PredictedDistrict.of(self.links(f"without_{fold}", others), district.network, squares).maps
            return {"maps": {name: value.half() for name, value in vars(district_maps).items()}}

        state = self._state(f"maps-{district.name}", key, predicted)["maps"]
        maps = LinkPrediction(**{name: value.float() for name, value in state.items()})
        return PredictedDistrict.with_maps(district.network, squares, maps)

    def evidence(
        self, names: Sequence[str], predicted: dict[str, tuple[PredictedDistrict, MeasuredNetwork]]
    ) -> EvidenceNetwork:
        """The network that weighs the evidence, learned on the out-of-fold maps of the named districts."""
        config = self.config
        key = [
            [d.key for d in self.districts],
            list(names),
            config.folds,
            asdict(config.links),
            asdict(config.evidence),
        ]

        def fitted() -> dict[str, torch.Tensor]:
            return fit_evidence(config.evidence, [predicted[name] for name in names], config.seed).state_dict()

        network = EvidenceNetwork(config.evidence.network)
        network.load_state_dict(self._state("evidence", [*key, config.seed], fitted))
        return network.eval()

    def _state(self, name: str, key: object, make: Callable[[], dict]) -> dict:
        """Tensors of a stage, made where they are not there."""
        folder = self.cache.make(name, key, lambda part: replace_torch_file(part / STAGE_FILE, make()))
        return torch.load(folder / STAGE_FILE, weights_only=True)
