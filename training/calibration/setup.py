"""The inputs of a calibration: tile, sites, parameters, and measurements to fit and to hold out."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import scenes
from sim_bridge.registry import open_ray_tracer
from sim_bridge.scene import scene_parameters
from sim_bridge.simulator import Sionna
from training.cache import StageCache
from training.calibration import synthetic_truth
from training.calibration.config import CalibrateConfig
from training.calibration.parameters import CalibrationParameters
from training.pipeline.scene_pipeline import open_tile
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, read_drive_test, split_by_block
from uel.measurement.reports import reports_from_levels
from uel.mobility.trajectories import draw_positions
from uel.radio.sites import Array, Cell, Site
from uel.radio.tracing_config import tracing_key


@dataclass(frozen=True, eq=False)
class CalibrationSetup:
    """The inputs of a calibration. `true_values` are those of a synthetic truth, in the order of the parameters."""

    tile: Tile
    simulator: Sionna
    materials: dict[str, dict[str, float]]
    parameters: CalibrationParameters
    fit_drive: Drive
    test_drive: Drive
    true_values: Tensor | None = None
    true_tile: Tile | None = None
    raw_drives: tuple[Drive, Drive] | None = None
    """a drive test's own reports, to fit and held out: neither merged nor restricted to outdoors"""


def calibration_setup(config: CalibrateConfig, stage_cache: StageCache) -> CalibrationSetup:
    """Tile, sites, parameters and measurements, checked before the first ray.

    Raises `UelError` for a drive test on a tile without sites, and for measurements that cannot be read.
    """
    tile = open_tile(config.tile, config.size, config.margin, stage_cache)
    sites = _sites(tile, config)
    drive = read_drive_test(tile, config.drive, config.columns) if config.drive is not None else None
    simulator = open_ray_tracer(tile, sites, config.tracing, "calibration")
    materials = scene_parameters.material_values(simulator.scene)
    parameters = CalibrationParameters.of(tile, sites, materials, config.priors)
    if drive is None:
        return _synthetic_setup(config, tile, simulator, materials, parameters, stage_cache)
    in_fit = split_by_block(drive.position, config.block, config.fit_fraction, config.seed)
    raw_drives = drive.select(in_fit), drive.select(~in_fit)
    fit_drive, test_drive = (merge_reports(part, config.merge) for part in raw_drives)
    fit_drive, test_drive = (
        fit_drive.select(tile.is_outdoor(fit_drive.position)),
        test_drive.select(tile.is_outdoor(test_drive.position)),
    )
    return CalibrationSetup(tile, simulator, materials, parameters, fit_drive, test_drive, raw_drives=raw_drives)


def _sites(tile: Tile, config: CalibrateConfig) -> tuple[Site, ...]:
    if tile.has_sites:
        return tile.sites
    if config.drive is not None:
        raise UelError("the tile of a drive test has no sites", got=str(tile.folder), do="add its sites with uel place")
    array = Array(rows=config.rows, pattern="tr38901")
    synthetic, cell = config.sites, Cell(tilt_deg=6.0, array=array)
    return scenes.place(
        tile, synthetic.count, config.seed, sectors=synthetic.sectors, mast=synthetic.mast, template=cell
    )


def _synthetic_setup(
    config: CalibrateConfig,
    tile: Tile,
    simulator: Sionna,
    materials: dict[str, dict[str, float]],
    parameters: CalibrationParameters,
    stage_cache: StageCache,
) -> CalibrationSetup:
    """A synthetic truth drawn from the prior, measured at a fraction of the pixels."""
    synthetic, generator = config.synthetic, torch.Generator().manual_seed(config.seed)
    count = max(round(synthetic.pixel_fraction * tile.grid(synthetic.pixel).count ** 2), 1)
    position = draw_positions(tile, simulator.sites, count + synthetic.test_positions, generator)
    rays = {"tracing": tracing_key(config.tracing), "chains": asdict(config.chains)}
    key = synthetic_truth.truth_key(tile, parameters, position, rays, config.seed)
    scene = (tile, parameters, materials, position, config.tracing, config.chains, config.seed)
    at = stage_cache.make(f"truth-{tile.name}", key, lambda out: synthetic_truth.make_truth(*scene, out))
    level, delay = synthetic_truth.read_truth(at)
    noise = (synthetic.noise_db, synthetic.range_noise, synthetic.min_level_dbm, config.seed)
    fit_drive = synthetic_truth.observe_levels(position[:count], level[:count], delay[:count], *noise)
    exact = (0.0, 0.0, synthetic.min_level_dbm, config.seed)
    test_drive = synthetic_truth.observe_levels(position[count:], level[count:], delay[count:], *exact)
    true_values = parameters.value(synthetic_truth.draw_parameters(parameters, config.seed))
    return CalibrationSetup(
        tile, simulator, materials, parameters, fit_drive, test_drive, true_values, Tile.open(at / "tile")
    )


def merge_reports(drive: Drive, side: float) -> Drive:
    """Reports merged by squares of `side` metres: one at each centre, with the median level of every heard cell."""
    if not side or not len(drive):
        return drive
    index = (drive.position / side).floor()
    squares, square_of_report = torch.unique(index, dim=0, return_inverse=True)
    level = torch.full((len(squares), drive.reports.heard.shape[1]), torch.nan, device="cpu")
    level_or_nan = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)
    for number in range(len(squares)):
        level[number] = level_or_nan[square_of_report == number].nanmedian(0).values
    return Drive((squares + 0.5) * side, reports_from_levels(level), drive.rejected, drive.merged)
