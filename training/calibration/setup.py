"""What a calibration works on: tile, masts, what is unknown of them, measurements to learn from and to judge by."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import scenes
from sim_bridge.scene import scene_parameters
from sim_bridge.simulator import Sionna
from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache
from training.calibration import synthetic_truth
from training.calibration.config import CalibrateConfig
from training.calibration.parameters import CalibrationParameters
from training.pipeline.scene_pipeline import open_tile
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, read_drive_test, reports_from_levels, split_by_block
from uel.mobility.trajectories import draw_positions
from uel.radio.sites import Array, Cell, Site


@dataclass(frozen=True, eq=False)
class CalibrationSetup:
    """All that a calibration works on. `true` are the values of a pretended world, in the unknowns' order."""

    tile: Tile
    sim: Sionna
    known: dict[str, dict[str, float]]
    parameters: CalibrationParameters
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
    parameters = CalibrationParameters.of(tile, sites, known, config.beliefs)
    if whole is None:
        return _synthetic_setup(config, tile, sim, known, parameters, stages)
    mine = split_by_block(whole.position, config.block, config.learned, config.seed)
    heard = whole.select(mine), whole.select(~mine)
    learn, judged = (merge_reports(part, config.merge) for part in heard)
    learn, judged = learn.select(tile.is_outdoor(learn.position)), judged.select(tile.is_outdoor(judged.position))
    return CalibrationSetup(tile, sim, known, parameters, learn, judged, heard=heard)


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
    parameters: CalibrationParameters,
    stages: StageCache,
) -> CalibrationSetup:
    """A world that is as wrong as is believed, measured at a share of the pixels."""
    plan, random = config.pretend, torch.Generator().manual_seed(config.seed)
    count = max(round(plan.share * tile.grid(plan.pixel).count ** 2), 1)
    position = draw_positions(tile, sim.sites, count + plan.judged, random)
    how = {"tracing": asdict(config.tracing), "chains": asdict(config.chains)}
    key = synthetic_truth.truth_key(tile, parameters, position, how, config.seed)
    world = (tile, parameters, known, position, config.tracing, config.chains, config.seed)
    at = stages.make(f"truth-{tile.name}", key, lambda out: synthetic_truth.make_truth(*world, out))
    level, delay = synthetic_truth.read_truth(at)
    noise = (plan.noise_db, plan.range_noise, plan.least_dbm, config.seed)
    learn = synthetic_truth.observe_levels(position[:count], level[:count], delay[:count], *noise)
    exact = (0.0, 0.0, plan.least_dbm, config.seed)
    held = synthetic_truth.observe_levels(position[count:], level[count:], delay[count:], *exact)
    true = parameters.value(synthetic_truth.draw_parameters(parameters, config.seed))
    return CalibrationSetup(tile, sim, known, parameters, learn, held, true, Tile.open(at / "tile"))


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
