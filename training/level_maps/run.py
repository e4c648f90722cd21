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
from training.level_maps.labelled_cases import labelled_cases
from training.level_maps.link_samples import LinkSamples, join_samples
from training.level_maps.scores import score_budgets
from uel.core.display.progress import with_progress
from uel.core.files.folder_names import run_folder
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, file_hash, replace_file, replace_torch_file
from uel.core.outside.weight_files import read_weights
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import around_learned_maps
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.learned_locator import LearnedLocator
from uel.prediction.learned_maps.link_features import LINK_FEATURES
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork, LinkPrediction
from uel.prediction.learned_maps.predictor import MapPredictor, PredictedDistrict
from uel.prediction.square_posterior import Squares

log = logging.getLogger(__name__)
STAGE_FILE = "stage.pt"
EVIDENCE_VERSION = 2  # raised when its cases change: 2 asks for squares of labelled blocks, too


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
    evidence = stages.evidence([d for d in districts if not d.is_validated])
    predictor = MapPredictor(stages.links("all", districts), evidence)
    predictor.save(folder)
    scores = {d.name: _scores(predictor, stages.out_of_fold_maps(d), d, config) for d in districts if d.is_validated}
    replace_file(folder / "scores.json", as_json(scores))
    return folder


def _scores(
    predictor: MapPredictor, maps: PredictedDistrict, district: "_District", config: TrainMapsConfig
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by label budget and method, on maps that do not come from the district itself."""
    every = torch.arange(len(district.network.cells), device="cpu")
    learned = LearnedLocator(
        predictor=predictor, district=maps, squares=district.squares, listed=every, cells=len(every)
    )
    return score_budgets(learned, district.network, config.labels, config.seed)


@dataclass(frozen=True)
class _District:
    """A measured district, read when it is asked for."""

    folder: Path
    is_validated: bool

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def network(self) -> MeasuredNetwork:
        """The cells that reports name and whose antennas are known."""
        heard = read_network(self.folder).heard_cells()
        return heard.with_cells(heard.cells.is_listed.nonzero()[:, 0])

    @cached_property
    def squares(self) -> Squares:
        """Where phones can be: to learn from, squares of known height, so that nothing is learned from where nobody
        measured; to validate, all that may be outdoors."""
        return Squares.outdoors(self.network, known_alone=not self.is_validated)

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
    districts = [
        _District(folder, folder.name in config.validate) for folder in folders if folder.name not in config.leave_out
    ]
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

    def links(self, name: str, districts: Sequence[_District]) -> LinkEnsemble:
        """The networks that learned from some districts."""
        links, seed = self.config.links, self.config.seed

        def fitted() -> dict[str, torch.Tensor]:
            samples = join_samples([self.samples(district) for district in districts])
            members = [fit_links(links, samples, seed + number, name) for number in range(links.members)]
            return LinkEnsemble(members).state_dict()

        ensemble = LinkEnsemble([LinkNetwork(links.network) for _ in range(links.members)])
        key = [[district.key for district in districts], asdict(links), seed, LINK_FEATURES]
        ensemble.load_state_dict(self._state(f"networks-{name}", key, fitted))
        return ensemble.eval()

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

        def predicted() -> dict[str, object]:
            links = self.links(f"without_{fold}", others)
            maps = PredictedDistrict.of(links, district.network, district.squares).maps
            return {"maps": {name: value.half() for name, value in vars(maps).items()}}

        name = f"maps-{'all-' if district.is_validated else ''}{district.name}"
        state = self._state(name, key, predicted)["maps"]
        maps = LinkPrediction(**{name: value.float() for name, value in state.items()})
        return PredictedDistrict.with_maps(district.network, district.squares, maps)

    def evidence(self, districts: Sequence[_District]) -> EvidenceNetwork:
        """The network that weighs the evidence, learned on the out-of-fold maps of some districts, without labels and
        with each budget of them."""
        config, around = self.config, around_learned_maps()
        key = [
            [d.key for d in self.districts],
            [d.name for d in districts],
            config.folds,
            config.labels,
            EVIDENCE_VERSION,
            asdict(around),
            asdict(config.links),
            asdict(config.evidence),
        ]

        def fitted() -> dict[str, torch.Tensor]:
            cases = []
            for d in with_progress(districts, "correcting maps by labels"):
                maps = self.out_of_fold_maps(d)
                cases.append((maps, d.network))
                cases += labelled_cases(maps, d.squares, d.network, config.labels, around, config.seed)
            return fit_evidence(config.evidence, cases, config.seed).state_dict()

        network = EvidenceNetwork(config.evidence.network)
        network.load_state_dict(self._state("evidence", [*key, config.seed], fitted))
        return network.eval()

    def _state(self, name: str, key: object, make: Callable[[], dict]) -> dict:
        """Tensors of a stage, made where they are not there."""
        folder = self.cache.make(name, key, lambda part: replace_torch_file(part / STAGE_FILE, make()))
        return read_weights(folder / STAGE_FILE)
