"""Fits of a calibration from many starts, each a unit of work that leaves a file."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.engines.config import ENGINE_FIELDS
from sim_bridge.engines.units import FieldState, UnitDone
from sim_bridge.paths.chain_pool import ChainPool, gather_chains
from sim_bridge.simulator import Sionna
from training.cache import StageCache, digest
from training.calibration.config import CalibrateConfig
from training.calibration.objective import CalibrationObjective
from training.calibration.optimizers import FitResult, fit
from training.calibration.setup import CalibrationSetup, calibration_setup
from uel.core.files.folder_names import run_folder
from uel.core.io import as_json, data_folder, replace_file
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError

log = logging.getLogger(__name__)
MAX_HEIGHT_DEVIATIONS = 2.5  # prior standard deviations of heights, range of heights in a fit
HEIGHT_STEP = 0.5  # m between the heights at which chains are tested for paths
_FIELDS_OUTSIDE_KEY = ("run", "starts", "maps", "map_tracing", "overwrite", *ENGINE_FIELDS)


@dataclass(frozen=True, eq=False)
class CalibrationJob(FieldState):
    """The starts of a calibration. A process opens the scene and its chains of walls once, for all its starts."""

    config: CalibrateConfig

    @property
    def folder(self) -> Path:
        return run_folder(self.config.run)

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(self.config.starts),)

    @cached_property
    def stage_cache(self) -> StageCache:
        """The cache of the stages before the fits."""
        return StageCache(data_folder())

    @cached_property
    def setup(self) -> CalibrationSetup:
        """Tile, simulator, parameters and measurements."""
        return calibration_setup(self.config, self.stage_cache)

    @cached_property
    def objectives(self) -> tuple[CalibrationObjective, CalibrationObjective]:
        """The objectives of the fitted and of the held-out reports."""
        return _objectives(self.config, self.setup, self.stage_cache)

    @cached_property
    def key(self) -> str:
        """All that a fit from a start depends on."""
        fit_config = {k: v for k, v in asdict(self.config).items() if k not in _FIELDS_OUTSIDE_KEY}
        return digest({"config": fit_config, "links": self.objectives[0].level_count})

    @cached_property
    def starts(self) -> list[Float[Tensor, " parameter"]]:
        """The prior mean, then draws from the prior."""
        generator, count = torch.Generator().manual_seed(self.config.seed + 1), len(self.objectives[0].parameters)
        return [
            torch.randn(count, generator=generator, dtype=torch.float64, device=generator.device) * (number > 0)
            for number in range(self.config.starts)
        ]

    def is_done(self, number: int) -> bool:
        return self.stored(number) is not None

    def stored(self, number: int) -> dict[str, Any] | None:
        """The file of a start with its `fit`, or its `failure`; None where there is none of this configuration."""
        try:
            stored = read_json_object(self._file(number))
        except UelError:
            return None
        return stored if stored.get("key") == self.key else None

    def require_no_other_fits(self) -> None:
        """Raise `UelError` where the folder holds fits of another configuration, unless they are to be overwritten."""
        others = [n for n in range(self.config.starts) if self._file(n).is_file() and self.stored(n) is None]
        if others and not self.config.overwrite:
            do = "give another --run, or --overwrite to fit anew"
            got = f"{self._file(others[0])}, {len(others)} in all"
            raise UelError("this folder holds fits of another configuration, or damaged ones", got=got, do=do)

    def fits(self) -> list[FitResult]:
        """The fits of finished starts; a draw from which nothing could be fitted is left out, with a warning."""
        fits = list[FitResult]()
        for number in range(self.config.starts):
            stored = self.stored(number) or {}
            if "fit" in stored:
                fits.append(FitResult.from_dict(stored["fit"]))
            else:
                log.warning("start %d skipped: %s", number, stored.get("failure"))
        return fits

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return self.fit_start

    def fit_start(self, number: int) -> UnitDone:
        """Fit from a start and write its file. Raises `UelError` where nothing can be fitted from the first one."""
        start = self.starts[number]
        record: dict[str, Any] = {"key": self.key, "start": start.tolist()}
        try:
            result = fit(self.objectives[0], start, self.config.fit)
        except UelError as error:
            if not number:
                raise
            replace_file(self._file(number), as_json({**record, "failure": str(error)}))
            return UnitDone(number, f"start {number} skipped")
        replace_file(self._file(number), as_json({**record, "fit": result.to_dict()}))
        text = f"start {number}: cost {result.cost:.1f}, {result.scale:.2f} dB, {result.status}"
        log.info("%s", text)
        return UnitDone(number, text)

    def _file(self, number: int) -> Path:
        return self.folder / "starts" / f"{number:02}.json"


def work(config: CalibrateConfig) -> float:
    """How much a calibration of synthetic measurements is: links of all starts."""
    cells, reports = config.sites.count * config.sites.sectors, config.synthetic.pixel_fraction * config.size**2
    return config.starts * cells * reports / config.synthetic.pixel**2


def _objectives(
    config: CalibrateConfig, setup: CalibrationSetup, stage_cache: StageCache
) -> tuple[CalibrationObjective, CalibrationObjective]:
    """The objectives of the fitted and of the held-out reports, on one pool of chains."""
    position = torch.cat([setup.fit_drive.position, setup.test_drive.position])
    height_range = MAX_HEIGHT_DEVIATIONS * config.priors.height
    key = {
        "tile": setup.tile.fingerprint,
        "sites": [asdict(s) for s in setup.simulator.sites],
        "position": position.tolist(),
    }
    key |= {"chains": asdict(config.chains), "reach": height_range, "depth": config.tracing.max_depth}

    def build(out: Path) -> None:
        pool = gather_chains(
            setup.simulator.finder, position, height_range, replace(config.chains, depth=config.tracing.max_depth)
        )
        pool.keep_paths(_candidate_heights(setup.simulator, height_range)).save(out)

    pool = ChainPool.load(stage_cache.make(f"chains-{setup.tile.name}", key, build), setup.simulator.finder, position)
    fit_index = torch.arange(len(setup.fit_drive), device="cpu")
    test_index = torch.arange(len(setup.fit_drive), len(position), device="cpu")
    noise = config.synthetic.range_noise or 5.0
    return tuple(
        CalibrationObjective.of(pool.select(index), setup.parameters, drive, noise)
        for index, drive in ((fit_index, setup.fit_drive), (test_index, setup.test_drive))
    )  # type: ignore[return-value]


def _candidate_heights(simulator: Sionna, height_range: float) -> list[Tensor]:
    """Heights of all cells at which chains are tested for paths."""
    height = torch.tensor([site.position[2] for site in simulator.sites for _ in site.cells], device="cpu")
    count = 2 * math.ceil(height_range / HEIGHT_STEP) + 1
    return [height + offset for offset in torch.linspace(-height_range, height_range, count, device="cpu")]
