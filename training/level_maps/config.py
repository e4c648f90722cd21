"""Configuration of `uel train-maps`. No framework is imported here."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from uel.core.files.folder_names import run_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig


@dataclass(frozen=True, kw_only=True)
class LinkTrainingConfig:
    """Training of the network that predicts levels of links."""

    members: int = 4
    """networks whose predictions are averaged"""
    steps: int = 300
    """AdamW steps"""
    batch: int = 1024
    """links in a step"""
    learning_rate: float = 1.5e-3
    """peak rate, after a warm-up and before a cosine decay to zero"""
    silent_links: int = 40_000
    """links of each district whose cell a report does not name, to learn from; those that are named are all taken"""
    feature_noise: float = 0.5
    """standard deviations of noise that is added to features in training: without it the network knows squares again by
    their surroundings, and fails in other districts"""
    hidden_heights: float = 0.3
    """fraction of links whose surrounding heights are hidden in training, for the same reason"""
    network: LinkNetworkConfig = field(default_factory=LinkNetworkConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        _require_positive("links", self, "members", "steps", "batch", "learning_rate", "silent_links")
        if self.feature_noise < 0 or not 0 <= self.hidden_heights < 1:
            got = f"feature_noise {self.feature_noise}, hidden_heights {self.hidden_heights}"
            do = "give 0.5 and 0.3"
            raise UelError("links.feature_noise is at least 0, links.hidden_heights from 0 to below 1", got=got, do=do)


@dataclass(frozen=True, kw_only=True)
class EvidenceTrainingConfig:
    """Training of the network that weighs the evidence."""

    steps: int = 2500
    """AdamW steps"""
    batch: int = 4
    """reports in a step, of one district"""
    learning_rate: float = 3e-3
    """peak rate"""
    network: EvidenceNetworkConfig = field(default_factory=EvidenceNetworkConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        _require_positive("evidence", self, "steps", "batch", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class TrainMapsConfig:
    """Learn maps of levels from measured districts: `uel train-maps --data FOLDER`.

    Raises:
        UelError: for values that cannot be, before any work.
    """

    data: Path
    """folder with a folder of each measured district"""
    run: str = "level_maps"
    """name of the folder under `runs/`"""
    leave_out: tuple[str, ...] = ()
    """districts that nothing is learned from nor chosen on: those that are to be judged"""
    validate: tuple[str, ...] = ()
    """districts whose fixes are scored with maps from the others; the evidence is not learned from them"""
    folds: int = 2
    """parts of the districts: the evidence is learned on maps of each part by a network that learned from the others"""
    labels: tuple[int, ...] = (20, 100, 500, 2000)
    """label budgets with which the evidence is weighed, too, on maps that labels of the district have corrected"""
    seed: int = 1
    """of drawn links, networks, blocks and reports"""
    links: LinkTrainingConfig = field(default_factory=LinkTrainingConfig)
    evidence: EvidenceTrainingConfig = field(default_factory=EvidenceTrainingConfig)

    def __post_init__(self) -> None:
        run_folder(self.run)
        require_numbers(self)
        if any(budget < 1 for budget in self.labels):
            raise UelError("labels must be budgets of 1 or more", got=self.labels, do="give --labels 20 100 500 2000")
        if self.folds < 2:
            raise UelError("folds must be at least 2", got=self.folds, do="give 2")
        both = sorted({*self.leave_out} & {*self.validate})
        if both:
            do = "name a district once: what is chosen on a judged district is not judged there"
            raise UelError("districts are both left out and validated on", got=", ".join(both), do=do)


def _require_positive(part: str, config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 < value < math.inf:
            raise UelError(f"{part}.{name} must be positive", got=value, do="leave it out for the default")
