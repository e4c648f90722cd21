"""Measured reports with known positions as an evaluation's scenario: methods and scores are those of drawn phones."""

import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from sim_bridge.registry import open as open_simulator
from training.cache import StageCache
from training.evaluation.cells import locator_folders
from training.evaluation.methods import EvaluationCase
from training.evaluation.protocol import EvalConfig
from training.evaluation.scenarios import EvaluationScenario, config_of_sites
from training.pipeline.traced_deployment import traced_deployment
from uel.core.io import data_folder, file_hash
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.geo.tile import Tile
from uel.inference.deployment import Deployment, find_radio_map
from uel.inference.report_source import read_labelled_reports
from uel.measurement.drive_test import Drive, split_by_block
from uel.measurement.logs.config import REJECTED_FILE
from uel.measurement.model import ObservationModel
from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import FEATURE_MASKS, Tier
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.simulator import DeferredSimulator
from uel.results.condition import Condition

log = logging.getLogger(__name__)

LABELLED_FRACTION = 0.5  # of the blocks: their reports are labelled, those of the others are located
MIN_REPORTS = 2  # on either side


@dataclass(frozen=True, eq=False, kw_only=True)
class LogScenario(EvaluationScenario):
    """The reports of a log on a tile. Nobody knows the true map, so there is no limit."""

    labelled: Drive
    located: Drive
    log_key: dict[str, Any]

    @property
    def source_key(self) -> dict[str, Any]:
        return self.log_key

    def case(self, condition: Condition) -> EvaluationCase:
        maps, model = self.deployment(condition).maps, condition.assumed_model(self.nominal)
        labelled, reports = (drive.reports.with_tier(condition.tier) for drive in (self.labelled, self.located))
        problem = LocalizationProblem(maps.radio, maps.prior, model, labelled, self.labelled.position)
        return EvaluationCase(
            problem=problem,
            maps=maps,
            reports=reports,
            position=self.located.position,
            true_maps=maps,
            true_model=model,
            true_reports=reports,
            map_error=True,
            has_limit=False,
        )


def log_scenario(config: EvalConfig, stage_cache: StageCache) -> LogScenario:
    """The scenario of `config.log`: what cannot be used of it is listed in `rejected.csv` in the results' folder.

    Raises `UelError` for a log without positions on the tile, a log of another network, and one that has too few
    reports for both sides of the split by blocks.
    """
    measured = config.log
    assert measured is not None
    tile = Tile.open(config.tiles[0])
    if config.radio is None and not config.fit_mast_heights:
        config = replace(config, radio=_present_radio_map(config, tile))
    deployment = _deployment(config, tile, stage_cache)
    config = config_of_sites(config, deployment.sites)
    step = ObservationModel.from_parameters(config.nominal).range_step
    rejected = config.folder / REJECTED_FILE
    drive = read_labelled_reports(tile, deployment.sites, measured, config.columns, rejected, step)
    is_labelled = split_by_block(drive.position, config.block, LABELLED_FRACTION, config.seed)
    labelled = _thinned(drive.select(is_labelled), config.fingerprints)
    located = _thinned(drive.select(~is_labelled), config.phones)
    if min(len(labelled), len(located)) < MIN_REPORTS:
        got = f"{len(labelled)} labelled reports, {len(located)} to locate, in {measured.name}"
        raise UelError("too few reports to judge", got=got, do="give a longer log, or a smaller --block")
    radio = {} if config.radio is None else radio_map_io.read_provenance(config.radio).get("sha256", {})
    return LogScenario(
        name=f"{tile.name}, {measured.name}",
        seed=config.seed,
        tile=tile,
        open_deployment=lambda _: deployment,
        config=replace(config, tiers=_tiers(drive), sites=config.sites[:1], nominal=_nominal(config, drive)),
        own_sites=deployment.sites,
        labelled=labelled,
        located=located,
        log_key={"log": file_hash(measured), "columns": asdict(config.columns), "block": config.block, "radio": radio},
    )


def _present_radio_map(config: EvalConfig, tile: Tile) -> Path | None:
    """The radio map of the tile's own sites that `uel map` made and all evaluated locators can use, if there is one."""
    patches = math.lcm(*(Locator.load(folder).config.patches for folder in locator_folders(config).values()))
    folder = find_radio_map(tile, patches, data_folder() / "maps", config.maps.tracing.backend)
    if folder is not None:
        log.info("radio map: %s (--radio names another)", folder)
    return folder


def _deployment(config: EvalConfig, tile: Tile, stage_cache: StageCache) -> Deployment:
    """The tile with the radio map that is given, or with one of its own sites that is traced, or was before."""
    if config.radio is None:
        return traced_deployment(tile, tile.sites, config.maps, stage_cache, config.seed)
    opened = Deployment.open(tile.folder, config.radio)
    tracing = replace(config.maps.tracing, backend=opened.backend)
    simulator = DeferredSimulator(opened.sites, lambda: open_simulator(tile, opened.sites, tracing))
    return replace(opened, simulator=simulator)


def _thinned(drive: Drive, count: int) -> Drive:
    """So many reports of a drive, evenly spread over it."""
    return drive.select(torch.linspace(0, len(drive) - 1, min(count, len(drive)), device="cpu").long())


def _nominal(config: EvalConfig, drive: Drive) -> ObservationParameters:
    """The nominal model with as many cells in a report as the log can list, the strongest ones."""
    listed = int(drive.reports.heard.sum(-1).max())
    return replace(config.nominal, cells_max=min(config.nominal.cells_max, listed))


def _tiers(drive: Drive) -> tuple[str, ...]:
    """Levels alone, and the least tier with all features that the log has."""
    present = [bool(getattr(drive.reports, mask).any()) for mask in FEATURE_MASKS.values()]
    highest = max((number for number, has in enumerate(present, 1) if has), default=0)
    return tuple(dict.fromkeys(("rsrp", get_args(Tier)[highest])))
