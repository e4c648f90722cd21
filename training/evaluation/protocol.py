"""The grid of an evaluation: its conditions, each varied by itself around one base. No framework is imported here."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from sim_bridge.engines.config import EngineConfig
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig
from uel.core.files.folder_names import fit_for_name, require_folder_name
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TruthSource, features_of
from uel.results.condition import Condition

DEFAULT_NAME = "florence"


@dataclass(frozen=True, kw_only=True)
class EvalConfig(EngineConfig):
    """Evaluate a run: `uel eval RUN --protocol florence`.

    Raises:
        UelError: for values that contradict each other, before any stage starts.

    Example:
        >>> from pathlib import Path
        >>> import training
        >>> training.EvalConfig(run=Path("runs/demo"), tiers=("rsrp",)).phones
        1000
    """

    run: tyro.conf.Positional[Path]
    """folder of the run, which holds locator.pt"""
    compare: tuple[Path, ...] = ()
    """folders of other runs, whose locators are evaluated beside it under their folder names"""
    name: str = DEFAULT_NAME
    """folder of the results, under eval/ in the run's folder"""
    seed: int = 1
    """seed of phones, fading and map errors"""
    tiles: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--tile"])] = ("florence@0,100", "florence@-150,-200")
    """unseen tiles: folders of tiles, whose own sites are the first deployment, or bundled cities as city@x,y"""
    log: Path | None = None
    """measured log with positions, of any format that `uel locate` reads: its reports are located instead of drawn
    phones, on one tile (`--tile FOLDER`); half of its blocks are the labelled reports"""
    radio: Path | None = None
    """radio map of that tile (`uel map`): by default the newest one in the data folder, else one traced by `maps`"""
    columns: ColumnConfig = field(default_factory=ColumnConfig)
    """of the log: names of columns and cells where they are not found by themselves, and the limits of rules"""
    block: float = 50.0
    """m, side of the blocks of a log that are labelled or located as a whole"""
    size: float = 512.0
    """m, side of a tile of a bundled city"""
    margin: float = 128.0
    """m of city kept around such a tile"""
    deployments: int = 5
    """sets of sites on each tile"""
    phones: int = 1000
    """reports for each deployment and condition"""
    fingerprints: int = 500
    """labelled reports of each deployment: kNN searches them, and every baseline is tuned on them"""
    tracks: int = 100
    """tracks for each deployment and speed"""
    reports: int = 20
    """reports on a track"""
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    nominal: ObservationParameters = field(default_factory=ObservationParameters)
    """the observation model that methods assume"""
    decorrelation: float = 37.0
    """m along a track after which the fading's correlation is 1/e"""
    truths: tuple[TruthSource, ...] = ("map", "paths")
    tiers: tuple[str, ...] = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa")
    """feature tiers of the base condition"""
    axis_tiers: tuple[str, ...] = ("rsrp", "rsrp_ta_azimuth")
    """feature tiers of conditions with another noise, number of cells, dropout, number of sites or carrier"""
    map_tiers: tuple[str, ...] = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
    """feature tiers of conditions with another map"""
    sigmas: tuple[float, ...] = (6.0, 10.0)
    """dB, other standard deviations of shadow fading than the base"""
    correlations: tuple[float, ...] = (0.5,)
    """other correlations of fading between cells than the base's 0"""
    cells: tuple[int, ...] = (5, 3)
    """other numbers of cells in a report than the base's 8"""
    dropouts: tuple[float, ...] = (0.2, 0.5)
    """other dropouts than the base's 0"""
    conditions: tuple[str, ...] = ("few_rays", "wrong_materials", "wrong_buildings", "wrong_sites", "no_radio_map")
    """map conditions other than exact"""
    sites: tuple[int, ...] = (8, 5, 3)
    """sites of a tile; the first number is the base, the others take the first sites of it"""
    sectors: int = 1
    """cells of each site; more than one are sectors with 120° elements"""
    carriers: tuple[float, ...] = (3.5e9, 28e9)
    """Hz; the first is the base"""
    speeds: tuple[float, ...] = (0.0, 1.0, 10.0)
    """m/s, speeds of tracks"""
    track_maps: tuple[str, ...] = ("exact",)
    """map conditions of tracks"""
    mast: float = 8.0
    """m, height of antennas above their roofs"""
    particles: int = 4000
    """particles of the filter that all methods share on tracks"""
    limit_particles: int = 8000
    """particles of the limit's filter"""
    refinement: RefinementConfig = field(default_factory=lambda: RefinementConfig(entropy=0.0))
    """refinement of the locator's fixes on the map; all fixes are refined, the report tells what a trigger would save
    """
    controls: bool = True
    """also evaluate robust grid Bayes without a map and with a shuffled map, in plain conditions"""
    input_ablation: bool = False
    """also evaluate the locator without buildings and without radio maps, in plain conditions"""
    fit_mast_heights: bool = False
    """also fit mast heights by tracing maps anew (`uel.adaptation.mast_heights`; thirteen maps by a tenth of the rays
    and one by all, for each deployment and map condition), and evaluate grid Bayes and the locator on them
    """
    rt: int = 0
    """phones of each plain condition whose hypotheses are re-scored by the ray tracer, some seconds each; only where
    the methods' map has the true buildings and sites (exact, few_rays)
    """
    rescoring: RayRescoringConfig = field(default_factory=RayRescoringConfig)

    def __post_init__(self) -> None:
        require_numbers(
            self,
            block=(0, 1e5),
            margin=(0, 1e5),
            decorrelation=(0, 1e5),
            sigmas=(0, 100),
            correlations=(0, 1),
            cells=(1, 1e6),
            dropouts=(0, 1),
            carriers=(1e8, 1e12),
            mast=(0, 1e3),
        )
        super().__post_init__()
        least = dict.fromkeys(("deployments", "phones", "tracks", "sectors", "particles", "limit_particles"), 1)
        for name, count in (least | {"fingerprints": 2, "reports": 2, "rt": 0}).items():
            if getattr(self, name) < count:
                raise UelError(f"{name} is too small", got=getattr(self, name), do=f"give {count} or more")
        for name in ("tiles", "truths", "tiers", "sites", "carriers"):
            if not getattr(self, name):
                raise UelError(f"{name} must name at least one", got="none", do=f"give --{name}, or leave the default")
        if self.refinement.entropy:
            do = "leave refinement.entropy at 0"
            raise UelError(
                "an evaluation refines every fix", got=f"refinement.entropy {self.refinement.entropy}", do=do
            )
        if min(self.speeds, default=0.0) < 0:
            raise UelError("speeds must not be negative", got=min(self.speeds), do="give --speeds 0 1 10 (m/s)")
        for tier in (*self.tiers, *self.axis_tiers, *self.map_tiers):
            features_of(tier)
        unknown = {*self.conditions, *self.track_maps} - set(MAP_CONDITIONS)
        if unknown:
            raise UelError(
                "unknown map condition", got=", ".join(sorted(unknown)), do=f"choose from {', '.join(MAP_CONDITIONS)}"
            )
        if max(self.sites) > self.sites[0] or min(self.sites) < 1:
            got = " ".join(map(str, self.sites))
            raise UelError("the first of sites must be the largest, all at least 1", got=got, do="give --sites 8 5 3")
        self._require_tiles()
        self._require_log()
        require_folder_name(self.name, "--name")
        list(protocol_conditions(self))  # checks every condition now

    @property
    def folder(self) -> Path:
        """Folder of the results; without a `name` that of a log has the log's."""
        is_unnamed_log = self.log is not None and self.name == DEFAULT_NAME
        return self.run / "eval" / (fit_for_name(f"log_{self.log.stem}") if self.log and is_unnamed_log else self.name)

    def _require_log(self) -> None:
        if self.log is None:
            if self.radio is not None:
                raise UelError("--radio is the map under a measured log", got="no --log", do="add --log FILE")
            return
        if not self.log.is_file():
            raise UelError("no such file of --log", got=str(self.log), do="give a log with positions")
        if len(self.tiles) != 1 or not (Path(self.tiles[0]) / "tile.json").is_file():
            do = "give --tile FOLDER, with the sites of the network (uel place)"
            raise UelError("a log is of one tile, which is a folder", got=", ".join(self.tiles), do=do)
        if not 0 < self.block < math.inf:
            raise UelError("--block must be above 0 m", got=self.block, do="give --block 50")
        if self.fit_mast_heights and self.radio is not None:
            do = "leave out --radio, or --fit-mast-heights"
            raise UelError("mast heights are fitted by maps of one's own tracing", got=f"--radio {self.radio}", do=do)

    def _require_tiles(self) -> None:
        from training.pipeline.scene_pipeline import city_of, require_raster

        for tile in self.tiles:
            city_of(tile)
        require_raster(self.maps.pixel, self.size)


def protocol_conditions(config: EvalConfig) -> Iterator[Condition]:
    """All conditions, the base first."""
    if config.log is not None:
        k, sigma = config.nominal.cells_max, config.nominal.shadowing_db
        base = Condition(truth="log", sigma_db=sigma, k=k, sites=config.sites[0], carrier=config.carriers[0])
        yield from (replace(base, tier=tier) for tier in config.tiers)
        return
    for truth in config.truths:
        base = Condition(
            truth=truth,
            sigma_db=config.nominal.shadowing_db,
            k=config.nominal.cells_max,
            sites=config.sites[0],
            carrier=config.carriers[0],
        )
        yield from (replace(base, tier=tier) for tier in config.tiers)
        yield from (replace(base, map=m, tier=t) for m in config.conditions if m != "exact" for t in config.map_tiers)
        yield from (replace(c, tier=tier) for c in _axes(base, config) for tier in config.axis_tiers)
        tracks = itertools.product(config.track_maps, config.speeds, config.axis_tiers)
        yield from (replace(base, map=name, track=speed, tier=tier) for name, speed, tier in tracks)


def _axes(base: Condition, config: EvalConfig) -> Iterator[Condition]:
    """The base with one property changed."""
    yield from (replace(base, sigma_db=sigma) for sigma in config.sigmas)
    yield from (replace(base, correlation=correlation) for correlation in config.correlations)
    yield from (replace(base, k=k) for k in config.cells)
    yield from (replace(base, dropout=dropout) for dropout in config.dropouts)
    yield from (replace(base, sites=count) for count in config.sites[1:])
    yield from (replace(base, carrier=carrier) for carrier in config.carriers[1:])
