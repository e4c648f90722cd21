"""Options of an evaluation on measured networks. No framework is imported here."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sim_bridge.engines.config import EngineConfig
from uel.core.outside.whole_files import read_text
from uel.errors import UelError
from uel.prediction.config import Answer, PredictionParameters, around_learned_maps

MeasuredProtocol = Literal["chengdu", "duke-blocks", "duke-days"]
MEASURED_PROTOCOLS: tuple[str, ...] = get_args(MeasuredProtocol)
DEFAULT_METHODS = (
    "knn_5", "knn_1", "knn_tuned", "strongest_cell", "centroid", "path_loss", "law_kriging", "path_loss_kriging"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MeasuredEvalConfig(EngineConfig):
    """Judge methods on measured networks: `uel eval --protocol chengdu --data FOLDER`.

    Raises:
        UelError: for values that cannot be, before any work.
    """

    data: Path
    """folder with a folder for each measured network"""
    protocol: MeasuredProtocol = "chengdu"
    out: Path = Path("runs/measured")
    """folder of the results"""
    districts: tuple[str, ...] = ()
    """networks that are judged, by the names of their folders; default: all of `--data`"""
    methods: tuple[str, ...] = DEFAULT_METHODS
    labels: tuple[int, ...] = (0, 20, 100, 500, 2000)
    """label budgets; where a network's labelled blocks hold fewer, the least such budget takes all of them"""
    draws: int = 10
    """draws of labelled and judged blocks"""
    phones: int = 200
    """judged squares of each draw"""
    answer: Answer = "median"
    """what a posterior answers: the position of least mean error, the mean, or the centre of the 50 m around that hold
    most probability"""
    known_squares: bool = False
    """look for phones only on squares whose height is known: where heights are known only where something was measured,
    these squares tell more than a map of buildings does"""
    maps: Path | None = None
    """run of `uel train-maps` that has not seen these networks, for the methods `learned`, `learned_kriging` and
    `locator`"""
    seed: int = 0
    parameters: PredictionParameters = field(default_factory=PredictionParameters)
    """learned from other districts"""
    learned_parameters: PredictionParameters = field(default_factory=around_learned_maps)
    """the same for levels around learned maps"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("draws", "phones"):
            if getattr(self, name) < 1:
                raise UelError(f"{name} is too small", got=getattr(self, name), do="give 1 or more")
        if not self.labels or min(self.labels) < 0:
            raise UelError("labels must be budgets of 0 or more", got=self.labels, do="give --labels 0 20 100 500 2000")
        if not self.methods:
            raise UelError("methods must name at least one", got="none", do="give --methods knn_5 path_loss_kriging")


def is_measured(args: Sequence[str]) -> bool:
    """Whether the arguments of `uel eval` ask for measured networks: by a protocol of theirs, or by a configuration
    that an array of Slurm was written with."""
    values = dict(itertools.pairwise(args))
    values |= dict(arg.split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
    if values.get("--protocol") in MEASURED_PROTOCOLS:
        return True
    file = Path(values.get("--config", ""))
    return file.suffix in (".yaml", ".yml") and file.is_file() and "\nprotocol: " in "\n" + read_text(file)
