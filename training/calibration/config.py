"""Configurations of `uel calibrate`. No framework is imported here."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.engines.config import EngineConfig
from sim_bridge.registry import require_paths
from training.pipeline.config import RASTER_PIXEL, SitePlacementConfig
from uel.core.files.folder_names import run_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.radio.tracing_config import TracingConfig


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How the parameters are fitted."""

    method: Literal["gauss-newton", "adam", "lbfgs"] = "gauss-newton"
    """gauss-newton: damped least squares (Levenberg and Marquardt), by finite differences over frozen paths; adam and
    lbfgs: PyTorch's optimizers, by gradients through Dr.Jit
    """
    steps: int = 25
    """largest number of steps; adam and lbfgs take ten times as many"""
    rate: float = 0.03
    """learning rate of adam, in prior standard deviations"""
    scan: int = 41
    """values of each permittivity that are tried, because the reflection of a slab oscillates; 0: no scan"""
    tolerance: float = 0.05
    """a fit has converged when its largest step is smaller, in posterior standard deviations"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.steps < 1:
            raise UelError("fit.steps must be at least 1", got=self.steps, do="give 25")
        if self.scan < 0:
            raise UelError("fit.scan must not be negative", got=self.scan, do="give 41, or 0 for no scan")
        for name in ("rate", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                raise UelError(f"fit.{name} must be positive", got=getattr(self, name), do="leave the default")


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Prior standard deviations of the tile's values; parameters with 0 are not fitted."""

    azimuth_deg: float = 10.0
    """degrees, azimuth of each cell"""
    tilt_deg: float = 3.0
    """degrees, tilt of each cell"""
    power_db: float = 4.0
    """dB, transmit power of each cell, including everything else that is common to its links"""
    height: float = 2.0
    """m, antenna height of each site"""
    relative_permittivity: float = 0.25
    """logarithm of each material's relative permittivity minus 1"""
    conductivity: float = 0.7
    """logarithm of each material's conductivity"""
    scattering_coefficient: float = 0.0
    """logit of each material's scattering coefficient: the part that reflections lose to scattering"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in (f.name for f in fields(self)):
            if not 0 <= getattr(self, name) < math.inf:
                do = "give a standard deviation of 0 or more"
                raise UelError(f"priors.{name} must not be negative", got=getattr(self, name), do=do)
        if not any(getattr(self, f.name) for f in fields(self)):
            do = "give one of them a standard deviation, for example --priors.azimuth-deg 10"
            raise UelError("there is no parameter to fit: all priors are 0", got=0, do=do)


@dataclass(frozen=True, kw_only=True)
class SyntheticTruthConfig:
    """Synthetic measurements, for a calibration without a drive test."""

    pixel_fraction: float = 0.01
    """fraction of the pixels at which a phone reports"""
    pixel: float = 2.0
    """m, pixel"""
    noise_db: float = 1.0
    """dB, standard deviation of level noise"""
    range_noise: float = 0.0
    """m, standard deviation of times of flight; 0: none are measured"""
    min_level_dbm: float = -125.0
    """dBm, weakest level that a phone reports"""
    test_positions: int = 400
    """held-out positions at which the result is evaluated"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 < self.pixel_fraction <= 1:
            do = "give a fraction above 0, up to 1"
            raise UelError("synthetic.pixel_fraction is out of range", got=self.pixel_fraction, do=do)
        if not self.pixel > 0:
            raise UelError("synthetic.pixel must be positive", got=self.pixel, do="give 2")
        for name in ("noise_db", "range_noise"):
            if getattr(self, name) < 0:
                raise UelError(f"synthetic.{name} must not be negative", got=getattr(self, name), do="give 0 or more")
        if self.test_positions < 1:
            raise UelError("synthetic.test_positions must be at least 1", got=self.test_positions, do="give 400")


@dataclass(frozen=True, kw_only=True)
class MapTracingConfig(TracingConfig):
    """Ray tracing of radio maps, beside that of a fit, which has the option `--backend`."""

    backend: tyro.conf.Suppress[str] = "sionna"
    diffraction: bool = False


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(EngineConfig):
    """Fit materials and antennas to measurements: `uel calibrate --config calibrate/munich`.

    Raises:
        UelError: for values that contradict each other, before any stage starts.

    Example:
        >>> import training
        >>> training.CalibrateConfig(run="mine", starts=3).tile
        'munich@0,0'
    """

    run: str = "calibrate"
    """name of the folder under `runs/`"""
    seed: int = 1
    """seed of sites, positions, noise and starts"""
    tile: str = "munich@0,0"
    """folder of a tile, or a bundled city as `city@x,y`"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    sites: SitePlacementConfig = field(default_factory=lambda: SitePlacementConfig(count=3, sectors=3, mast=8.0))
    """sites of a tile that has none of its own"""
    rows: int = 8
    """vertical antenna elements of such sites' arrays"""
    drive: Path | None = None
    """log of a drive test of any format (see `uel locate`); without it measurements are synthetic"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    synthetic: SyntheticTruthConfig = field(default_factory=SyntheticTruthConfig)
    block: float = 60.0
    """m, side of the blocks by which a drive test is split"""
    fit_fraction: float = 0.5
    """fraction of the blocks that are fitted; the others are held out"""
    merge: float = 10.0
    """m, side of the squares whose reports of a drive test are merged to their median levels; 0: no merging"""
    priors: PriorConfig = field(default_factory=PriorConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    starts: int = 20
    """fits: the first starts at the prior mean, the others at draws from the prior"""
    maps: float = 4.0
    """m, pixel of the radio maps before and after; 0: none"""
    tracing: TracingConfig = field(default_factory=lambda: TracingConfig(diffraction=False, chunk=64))
    map_tracing: Annotated[TracingConfig, tyro.conf.arg(constructor=MapTracingConfig)] = field(
        default_factory=MapTracingConfig
    )
    """ray tracing of the radio maps"""
    chains: AtlasConfig = field(default_factory=lambda: AtlasConfig(rays=500_000))
    """rays of the search for chains of walls"""
    overwrite: bool = False
    """replace fits of another configuration in the run's folder, which is kept otherwise"""

    def __post_init__(self) -> None:
        super().__post_init__()
        run_folder(self.run)
        require_numbers(self, margin=(0, 1e5), maps=(0, 1e3))
        for name in ("starts", "rows"):
            if getattr(self, name) < 1:
                raise UelError(f"{name} must be at least 1", got=getattr(self, name), do=f"give --{name} 1 or more")
        if self.block <= 0:
            raise UelError("block must be positive", got=self.block, do="give --block 60")
        if not 0 < self.fit_fraction < 1:
            raise UelError("fit_fraction must lie between 0 and 1", got=self.fit_fraction, do="give --fit-fraction 0.5")
        if self.merge < 0:
            raise UelError("merge must not be negative", got=self.merge, do="give --merge 10, or 0 for no merging")
        require_paths(self.tracing.backend, "calibration")
        if self.tracing.diffraction or self.tracing.scattering:
            got = f"tracing.diffraction {self.tracing.diffraction}, tracing.scattering {self.tracing.scattering}"
            do = "leave both off in --tracing; `uel map` may have them on"
            raise UelError("calibration has reflection and refraction only", got=got, do=do)
        if self.drive is not None and not self.drive.is_file():
            raise UelError("no such drive-test file", got=str(self.drive), do="give a .csv or .csv.gz file")
        from training.pipeline.scene_pipeline import require_raster

        require_raster(RASTER_PIXEL, self.size)
