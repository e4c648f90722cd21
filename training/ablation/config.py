"""Configuration of `uel ablate`. No framework is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from sim_bridge.chains.config import AtlasConfig
from training.locator.config import LABELS_PER_VALIDATION_PHONE, LossFeature, LossKind, OptimizationConfig
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig, SitePlacementConfig, parse_place
from uel.errors import UelError
from uel.measurement.parameters import ObservationParameters
from uel.models.config import LocatorConfig

EvidenceMode = Literal["skip", "input", "none"]


BudgetKind = Literal["steps", "time"]
"""The same steps for all; or the CPU time that training without physics takes for them."""


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """Compare physics losses on a new tile with few labels: `uel ablate --config ablate/florence`, or `--quick`."""

    run: str = "florence"
    """name of the folder under `runs/ablate/`"""
    seed: int = 1
    """of masts, phones and wrong maps"""
    tile: str = "florence@0,100"
    """city@x,y, or a tile's folder"""
    size: float = 512.0
    """m, side of the tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around it"""
    sites: SitePlacementConfig = field(default_factory=SitePlacementConfig)
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    """the true map, how wrong the others are, and how phones' truth is traced"""
    atlas: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    truth: Literal["paths", "map"] = "paths"
    """paths: phones are ray-traced, and the grid posterior on the true map is a reference; map: they are drawn from
    the true map, and it is the limit"""
    pool: int = 6000
    """phones of the tile that training may use, with labels or without"""
    phones: int = 1000
    """others, that it is judged on"""
    labels: tuple[int, ...] = (2000, 500, 0)
    """phones that say where they are, the base first; 0: the whole pool"""
    seeds: int = 3
    """trainings of each kind: labels, batches and networks of their own"""
    first_seed: int = 1
    """of those: other machines can make others of them, with a copy of this one's costs.json, and give their cells"""
    losses: tuple[LossKind, ...] = ("none", "map", "rt", "map+rt", "hybrid")
    """of every condition and number of labels"""
    fractions: tuple[float, ...] = (0.1, 0.01, 0.03, 0.3)
    """shares of batches that are ray-traced, the base first; the others in the base condition"""
    alone: tuple[LossFeature, ...] = ("rsrp", "ta", "aoa")
    """features that a loss by lookup is given by themselves, in the base condition"""
    conditions: tuple[str, ...] = ("exact", "few_rays", "wrong_buildings", "wrong_sites")
    """of the maps that the locator and its loss are given, the base first; the tracer's city is wrong as the map is"""
    budgets: tuple[BudgetKind, ...] = ("steps", "time")
    """equal steps, equal CPU time"""
    evidence: tuple[EvidenceMode, ...] = ("skip", "input")
    """locators, see `LocatorConfig.evidence`: ours, and one that has to learn what the map's evidence is worth"""
    unlabelled: int = 16
    """phones without a label that join each batch of a physics loss; without one they would cost time for nothing"""
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(
        default_factory=lambda: OptimizationConfig(
            epochs=4, steps_per_epoch=75, patience=99, candidates=4, features=("rsrp", "ta", "aoa")
        )
    )
    """of the base; `loss`, `rt_fraction` and the steps of equal time are the grid's"""

    def __post_init__(self) -> None:
        lists = (self.labels, self.losses, self.fractions, self.conditions, self.evidence)
        if not all(lists) or min(self.seeds, self.phones, self.pool, self.unlabelled + 1) < 1:
            raise UelError("an ablation needs losses, labels, maps, seeds and phones", got=self, do="give one of each")
        if "none" not in self.losses or "steps" not in self.budgets:
            got = f"losses {self.losses}, budgets {self.budgets}"
            raise UelError("everything is compared with no physics at equal steps", got=got, do="add none, and steps")
        if not all(0 < fraction <= 1 for fraction in self.fractions):
            raise UelError("a share of batches lies above 0, up to 1", got=self.fractions, do="give 0.1 0.03, say")
        if not all(label == 0 or 2 * LABELS_PER_VALIDATION_PHONE <= label <= self.pool for label in self.labels):
            got = f"labels {self.labels}, pool {self.pool}"
            raise UelError(
                "labels are phones of the pool",
                got=got,
                do=f"give {2 * LABELS_PER_VALIDATION_PHONE} or more, or 0 for all",
            )
        unknown = set(self.conditions) - (set(MAP_CONDITIONS) - {"no_radio_map"})
        if unknown:
            raise UelError(
                "no such map to look up in",
                got=sorted(unknown),
                do="choose from exact, few_rays, wrong_materials, wrong_buildings, wrong_sites",
            )
        self._require_place()

    def _require_place(self) -> None:
        from training.pipeline.scene_pipeline import require_raster
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        if not self.run or "/" in self.run:
            raise UelError("an ablation's name is a folder's", got=self.run, do="give a plain word")
        if "@" in self.tile:
            parse_place(self.tile)
        require_raster(self.maps.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.maps.pixel), self.locator.patches)
