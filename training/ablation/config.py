"""Configuration of `uel ablate`. No framework is imported here."""

from dataclasses import dataclass, field
from typing import Literal

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.engines.config import EngineConfig
from training.locator.config import LABELS_PER_VALIDATION_PHONE, LossFeature, LossKind, OptimizationConfig
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig, SitePlacementConfig, parse_place
from uel.core.files.folder_names import require_folder_name
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.measurement.parameters import ObservationParameters
from uel.models.config import LocatorConfig

EvidenceMode = Literal["skip", "input", "none"]


BudgetKind = Literal["steps", "time"]
"""The same steps for all; or the CPU time that training without physics loss takes for them."""


@dataclass(frozen=True, kw_only=True)
class AblateConfig(EngineConfig):
    """Compare physics losses on a new tile with few labels: `uel ablate --config ablate/florence`, or `--quick`.

    Raises:
        UelError: for values that contradict each other, before any stage starts.

    Example:
        >>> import training
        >>> training.AblateConfig(run="mine", seeds=1).labels
        (2000, 500, 0)
    """

    run: str = "florence"
    """name of the folder under `runs/ablate/`"""
    seed: int = 1
    """seed of sites, phones and wrong maps"""
    tile: str = "florence@0,100"
    """city@x,y, or a tile's folder"""
    size: float = 512.0
    """m, side of the tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around it"""
    sites: SitePlacementConfig = field(default_factory=SitePlacementConfig)
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    """the true map, the errors of the others, and the ray tracing of phones' truth"""
    atlas: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=300_000))
    """chains of walls kept for the ray tracing in training"""
    truth: Literal["paths", "map"] = "paths"
    """paths: phones are ray-traced, and the grid posterior on the true map is a reference; map: phones are drawn from
    the true map, and that posterior is the limit
    """
    pool: int = 6000
    """phones of the tile that training may use, with labels or without"""
    phones: int = 1000
    """other phones, on which trainings are evaluated"""
    labels: tuple[int, ...] = (2000, 500, 0)
    """phones with known positions, the base first; 0: the whole pool"""
    seeds: int = 3
    """trainings of each variant, with their own labels, batches and networks"""
    first_seed: int = 1
    """first of these seeds: other machines can train others of them, with a copy of this one's costs.json, and hand
    over their cells
    """
    losses: tuple[LossKind, ...] = ("none", "map", "rt", "map+rt", "hybrid")
    """physics losses, for every condition and number of labels"""
    fractions: tuple[float, ...] = (0.1, 0.01, 0.03, 0.3)
    """fractions of batches that are ray-traced, the base first; the others in the base condition"""
    single_features: tuple[LossFeature, ...] = ("rsrp", "ta", "aoa")
    """features that a loss by map lookup also compares one at a time, in the base condition"""
    conditions: tuple[str, ...] = ("exact", "few_rays", "wrong_buildings", "wrong_sites")
    """conditions of the maps of the locator and its loss, the base first; the ray tracer's city has the same errors as
    the map
    """
    budgets: tuple[BudgetKind, ...] = ("steps", "time")
    """equal steps, equal CPU time"""
    evidence: tuple[EvidenceMode, ...] = ("skip", "input")
    """locators, see `LocatorConfig.evidence`: the default, and one that has to learn what the map's evidence is worth
    """
    unlabelled: int = 16
    """phones without a label that join each batch of a physics loss (without one they would cost time for nothing)"""
    measurement: ObservationParameters = field(default_factory=ObservationParameters)
    locator: LocatorConfig = field(default_factory=LocatorConfig)
    training: OptimizationConfig = field(
        default_factory=lambda: OptimizationConfig(
            epochs=4, steps_per_epoch=75, patience=99, candidates=4, features=("rsrp", "ta", "aoa")
        )
    )
    """training of the base; `loss`, `rt_fraction` and the steps of equal time are set by the grid"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, margin=(0, 1e5))
        for name in ("labels", "losses", "fractions", "conditions", "evidence", "budgets"):
            if not getattr(self, name):
                raise UelError(f"{name} must name at least one", got="none", do=f"give --{name}, or leave the default")
        for name, least in {"seeds": 1, "phones": 1, "pool": 1, "unlabelled": 0}.items():
            if getattr(self, name) < least:
                raise UelError(f"{name} is too small", got=getattr(self, name), do=f"give {least} or more")
        if "none" not in self.losses:
            do = "add none to --losses: all losses are compared with it"
            raise UelError("losses must contain none", got=" ".join(self.losses), do=do)
        if "steps" not in self.budgets:
            do = "add steps to --budgets: equal time is measured by it"
            raise UelError("budgets must contain steps", got=" ".join(self.budgets), do=do)
        for fraction in self.fractions:
            if not 0 < fraction <= 1:
                raise UelError("fractions must lie above 0, up to 1", got=fraction, do="give --fractions 0.1 0.03")
        least = 2 * LABELS_PER_VALIDATION_PHONE
        for label in self.labels:
            if label and not least <= label <= self.pool:
                do = f"give {least} to {self.pool} (the pool), or 0 for all phones of the pool"
                raise UelError("labels is out of range", got=label, do=do)
        allowed = [name for name in MAP_CONDITIONS if name != "no_radio_map"]
        if unknown := set(self.conditions) - set(allowed):
            do = f"choose from {', '.join(allowed)}"
            raise UelError("an ablation needs a radio map", got=", ".join(sorted(unknown)), do=do)
        self._require_tile()

    def _require_tile(self) -> None:
        from training.pipeline.scene_pipeline import require_raster
        from uel.core.grid import Grid
        from uel.models.locator import require_nesting

        require_folder_name(self.run, "--run")
        if "@" in self.tile:
            parse_place(self.tile)
        require_raster(self.maps.pixel, self.size)
        require_nesting(Grid(size=self.size, pixel=self.maps.pixel), self.locator.patches)
