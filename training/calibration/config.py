"""Configurations of `uel calibrate`. No framework is imported here."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.scene.tracing_config import TracingConfig
from training.pipeline.config import RASTER_PIXEL, SitePlacementConfig
from uel.errors import UelError
from uel.measurement.columns import ColumnConfig


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit."""

    method: Literal["gauss-newton", "adam", "lbfgs"] = "gauss-newton"
    """gauss-newton: least squares with damping (Levenberg and Marquardt), by differences over frozen paths; adam and
    lbfgs: PyTorch's, by gradients through Dr.Jit"""
    steps: int = 25
    """at most; of adam and lbfgs ten times as many"""
    rate: float = 0.03
    """of adam, in deviations of the belief"""
    scan: int = 41
    """values of each permittivity that are tried, since slabs ring; 0 trusts the start"""
    tolerance: float = 0.05
    """largest step, in posterior deviations, after which a fit has come to rest"""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.scan < 0 or not (0 < self.rate < math.inf and 0 < self.tolerance < math.inf):
            raise UelError("a fit needs steps of a size", got=self, do="raise steps, rate and tolerance")


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """How far off the tile may be, as standard deviations; 0 takes the tile's word and learns nothing."""

    azimuth_deg: float = 10.0
    """of each cell's azimuth"""
    tilt_deg: float = 3.0
    """of each cell's tilt"""
    power_db: float = 4.0
    """of each cell's transmit power, which takes in what else is the same on all its links"""
    height: float = 2.0
    """m, of each mast"""
    relative_permittivity: float = 0.25
    """of the logarithm of each material's permittivity less 1"""
    conductivity: float = 0.7
    """of the logarithm of each material's conductivity"""
    scattering_coefficient: float = 0.0
    """of the logit of each material's scattering coefficient: what reflections lose to scattering"""

    def __post_init__(self) -> None:
        if not all(0 <= getattr(self, f.name) < math.inf for f in fields(self)):
            raise UelError("beliefs are standard deviations", got=self, do="give numbers that are not negative")
        if not any(getattr(self, f.name) for f in fields(self)):
            raise UelError("nothing is to be learned", got=self, do="give something a deviation, azimuth_deg 10 say")


@dataclass(frozen=True, kw_only=True)
class SyntheticTruthConfig:
    """A world to be found again, where there is no drive: how much of it phones measure."""

    share: float = 0.01
    """of the pixels, at each of which a phone reports"""
    pixel: float = 2.0
    """m"""
    noise_db: float = 1.0
    """of levels"""
    range_noise: float = 0.0
    """m, of times of flight; 0 measures none"""
    least_dbm: float = -125.0
    """weakest level that a phone reports"""
    judged: int = 400
    """other places, at which what was found is judged"""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not self.pixel > 0 or min(self.noise_db, self.range_noise) < 0 or self.judged < 1:
            raise UelError(
                "phones report at a share of the pixels", got=self, do="give a share from 0 to 1, a noise in dB"
            )


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Learn materials and antennas from measurements: `uel calibrate --config calibrate/munich`."""

    run: str = "calibrate"
    """name of the folder under `runs/`"""
    seed: int = 1
    """of masts, places, noise and starts"""
    tile: str = "munich@0,0"
    """folder of a tile, or a bundled city as `city@x,y`"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    sites: SitePlacementConfig = field(default_factory=lambda: SitePlacementConfig(count=3, sectors=3, mast=8.0))
    """masts of a tile that has none of its own"""
    rows: int = 8
    """elements of such masts' arrays, one above the other"""
    drive: Path | None = None
    """table of measurements (.csv, .csv.gz); without it a world is pretended"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    pretend: SyntheticTruthConfig = field(default_factory=SyntheticTruthConfig)
    block: float = 60.0
    """m, side of the blocks by which a drive is split"""
    learned: float = 0.5
    """share of the blocks that are learned from; the others judge"""
    merge: float = 10.0
    """m: reports of a drive within one square of this side are one, of median levels; 0 keeps all"""
    beliefs: PriorConfig = field(default_factory=PriorConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    starts: int = 20
    """fits: the first from what is believed, the others from draws of the belief"""
    maps: float = 4.0
    """m, pixel of the radio maps before and after; 0 makes none"""
    tracing: TracingConfig = field(default_factory=lambda: TracingConfig(diffraction=False, chunk=64))
    map_tracing: TracingConfig = field(default_factory=lambda: TracingConfig(diffraction=False))
    """of the radio maps"""
    chains: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=500_000))
    """rays that look for chains of walls"""

    def __post_init__(self) -> None:
        if self.starts < 1 or self.rows < 1 or self.block <= 0 or not 0 < self.learned < 1 or self.merge < 0:
            raise UelError("a calibration needs a start, blocks and a share of them", got=self, do="raise them")
        if self.tracing.diffraction or self.tracing.scattering:
            do = "leave diffraction and scattering off in --tracing; `uel map` may have them on"
            raise UelError("frozen chains know reflection and refraction only", got=self.tracing, do=do)
        if self.drive is not None and not self.drive.is_file():
            raise UelError("no such drive", got=str(self.drive), do="give a .csv file")
        from training.pipeline.scene_pipeline import require_raster

        require_raster(RASTER_PIXEL, self.size)
