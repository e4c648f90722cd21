"""What a calibration works on: tile, masts, what is unknown of them, measurements to learn from and to judge by."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

import scenes
from sim_bridge.chains.atlas import AtlasConfig
from sim_bridge.scene import scene_parameters
from sim_bridge.scene.tracing_config import TracingConfig
from sim_bridge.simulator import Sionna
from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache
from training.calibration import synthetic_truth
from training.calibration.optimizers import FitConfig
from training.calibration.parameters import CalibrationParameters, PriorConfig
from training.pipeline.scene_pipeline import RASTER_PIXEL, SitePlacementConfig, open_tile, require_raster
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.columns import ColumnConfig
from uel.measurement.drive_test import Drive, read_drive_test, reports_from_levels, split_by_block
from uel.mobility.trajectories import draw_positions
from uel.radio.sites import Array, Cell, Site


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
        require_raster(RASTER_PIXEL, self.size)


@dataclass(frozen=True, eq=False)
class CalibrationSetup:
    """All that a calibration works on. `true` are the values of a pretended world, in the unknowns' order."""

    tile: Tile
    sim: Sionna
    known: dict[str, dict[str, float]]
    unknowns: CalibrationParameters
    learn: Drive
    judge: Drive
    true: Tensor | None = None
    true_tile: Tile | None = None
    heard: tuple[Drive, Drive] | None = None
    """a drive's own reports, to learn from and to judge by: neither merged nor outdoors alone"""


def calibration_setup(config: CalibrateConfig, stages: StageCache) -> CalibrationSetup:
    """Tile, masts, unknowns and measurements. Whatever is wrong with them is said before the first ray."""
    tile = open_tile(config.tile, config.size, config.margin, stages)
    sites = _sites(tile, config)
    whole = read_drive_test(tile, config.drive, config.columns) if config.drive is not None else None
    sim = open_simulator(tile, sites, config.tracing)
    known = scene_parameters.materials(sim.scene)
    unknowns = CalibrationParameters.of(tile, sites, known, config.beliefs)
    if whole is None:
        return _synthetic_setup(config, tile, sim, known, unknowns, stages)
    mine = split_by_block(whole.position, config.block, config.learned, config.seed)
    heard = whole.only(mine), whole.only(~mine)
    learn, judged = (merge_reports(part, config.merge) for part in heard)
    learn, judged = learn.only(tile.outdoor(learn.position)), judged.only(tile.outdoor(judged.position))
    return CalibrationSetup(tile, sim, known, unknowns, learn, judged, heard=heard)


def _sites(tile: Tile, config: CalibrateConfig) -> tuple[Site, ...]:
    if (tile.folder / "sites.json").is_file():
        return tile.sites
    if config.drive is not None:
        raise UelError("a drive needs the masts that it heard", got=str(tile.folder), do="put them there: uel place")
    array = Array(rows=config.rows, pattern="tr38901")
    plan, cell = config.sites, Cell(tilt_deg=6.0, array=array)
    return scenes.place(tile, plan.count, config.seed, sectors=plan.sectors, mast=plan.mast, template=cell)


def _synthetic_setup(
    config: CalibrateConfig,
    tile: Tile,
    sim: Sionna,
    known: dict[str, dict[str, float]],
    unknowns: CalibrationParameters,
    stages: StageCache,
) -> CalibrationSetup:
    """A world that is as wrong as is believed, measured at a share of the pixels."""
    plan, random = config.pretend, torch.Generator().manual_seed(config.seed)
    count = max(round(plan.share * tile.grid(plan.pixel).count ** 2), 1)
    position = draw_positions(tile, sim.sites, count + plan.judged, random)
    how = {"tracing": asdict(config.tracing), "chains": asdict(config.chains)}
    key = synthetic_truth.truth_key(tile, unknowns, position, how, config.seed)
    world = (tile, unknowns, known, position, config.tracing, config.chains, config.seed)
    at = stages.make(f"truth-{tile.name}", key, lambda out: synthetic_truth.make_truth(*world, out))
    level, delay = synthetic_truth.read_truth(at)
    noise = (plan.noise_db, plan.range_noise, plan.least_dbm, config.seed)
    learn = synthetic_truth.observe_levels(position[:count], level[:count], delay[:count], *noise)
    exact = (0.0, 0.0, plan.least_dbm, config.seed)
    held = synthetic_truth.observe_levels(position[count:], level[count:], delay[count:], *exact)
    true = unknowns.value(synthetic_truth.draw_parameters(unknowns, config.seed))
    return CalibrationSetup(tile, sim, known, unknowns, learn, held, true, Tile.open(at / "tile"))


def merge_reports(drive: Drive, side: float) -> Drive:
    """Reports of one square of `side` metres as one, in its middle, with the median level of every cell heard there."""
    if not side or not len(drive):
        return drive
    index = (drive.position / side).floor()
    own, where = torch.unique(index, dim=0, return_inverse=True)
    level = torch.full((len(own), drive.reports.heard.shape[1]), torch.nan)
    said = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)
    for number in range(len(own)):
        level[number] = said[where == number].nanmedian(0).values
    return Drive((own + 0.5) * side, reports_from_levels(level), drive.rejected, drive.merged)
