"""The grid of an evaluation: its conditions, each varied by itself around one base. No framework is imported here."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig, parse_place
from uel.errors import UelError
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.measurement.parameters import ObservationParameters
from uel.measurement.tiers import TruthSource, features_of
from uel.results.condition import Condition


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Judge a run: `uel eval RUN --protocol florence`."""

    run: tyro.conf.Positional[Path]
    """folder of the run, which holds locator.pt"""
    compare: tuple[Path, ...] = ()
    """folders of other runs, whose locators are judged beside it under their folders' names"""
    name: str = "florence"
    """of the folder that results go to, under eval/ in the run's"""
    seed: int = 1
    """of phones, fading, and what is wrong with maps"""
    tiles: tuple[str, ...] = ("florence@0,100", "florence@-150,-200")
    """city@x,y of unseen places"""
    size: float = 512.0
    """m, side of a tile"""
    margin: float = 128.0
    """m of city kept around it"""
    deployments: int = 5
    """sets of masts on each tile"""
    phones: int = 1000
    """reports for each deployment and condition"""
    fingerprints: int = 500
    """labelled reports of each deployment: what kNN searches, and what every baseline is tuned on"""
    tracks: int = 100
    """tracks for each deployment and speed"""
    reports: int = 20
    """on a track"""
    maps: MapConditionConfig = field(default_factory=MapConditionConfig)
    nominal: ObservationParameters = field(default_factory=ObservationParameters)
    """the realism that methods take for granted"""
    decorrelation: float = 37.0
    """m along a track after which fading's correlation is 1/e"""
    truths: tuple[TruthSource, ...] = ("map", "paths")
    tiers: tuple[str, ...] = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa")
    """of the base condition"""
    axis_tiers: tuple[str, ...] = ("rsrp", "rsrp_ta_azimuth")
    """of conditions in which noise, cells, dropout, sites or the carrier vary"""
    map_tiers: tuple[str, ...] = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
    """of conditions in which the map varies"""
    sigmas: tuple[float, ...] = (6.0, 10.0)
    """dB of shadow fading, beside the base's 8"""
    correlations: tuple[float, ...] = (0.5,)
    """of fading between cells, beside none"""
    cells: tuple[int, ...] = (5, 3)
    """cells in a report, beside 8"""
    dropouts: tuple[float, ...] = (0.2, 0.5)
    """beside none"""
    conditions: tuple[str, ...] = ("few_rays", "wrong_materials", "wrong_buildings", "wrong_sites", "no_radio_map")
    """map conditions beside exact"""
    sites: tuple[int, ...] = (8, 5, 3)
    """on a tile; the first is the base, others are the first masts of it"""
    carriers: tuple[float, ...] = (3.5e9, 28e9)
    """Hz; the first is the base"""
    speeds: tuple[float, ...] = (0.0, 1.0, 10.0)
    """m/s of tracks"""
    track_maps: tuple[str, ...] = ("exact",)
    """map conditions of tracks"""
    mast: float = 8.0
    """m of antennas above their roofs"""
    particles: int = 4000
    """of the filter that every method's reports go through on a track"""
    limit_particles: int = 8000
    """of the limit's filter"""
    refinement: RefinementConfig = field(default_factory=lambda: RefinementConfig(entropy=0.0))
    """of the locator's fixes on the map; every fix is refined, the report says what a trigger would save"""
    input_ablation: bool = False
    """judge the locator without buildings and without radio maps, too, in plain conditions: an ablation"""
    fit_mast_heights: bool = False
    """find the heights of masts by tracing maps anew, thirteen by a tenth of the rays and one by all of each deployment
    and map condition (`uel.adaptation.mast_heights`), and judge grid Bayes and the locator on these, too"""
    rt: int = 0
    """phones of each plain condition whose hypotheses are put to the ray tracer: some seconds each. Only where the
    methods' map is of the true buildings and masts (exact, few_rays): elsewhere the tracer would be as wrong as the
    map"""
    rescoring: RayRescoringConfig = field(default_factory=RayRescoringConfig)

    def __post_init__(self) -> None:
        counts = (self.deployments, self.phones, self.fingerprints - 1, self.tracks, self.reports - 1, self.particles)
        if min(*counts, self.limit_particles) < 1 or not self.tiles:
            raise UelError(
                "a protocol needs tiles, deployments, phones, fingerprints, tracks and particles",
                got=self,
                do="give at least one of each, two fingerprints and reports",
            )
        if self.rt < 0 or self.refinement.entropy:
            got = f"rt {self.rt}, refinement.entropy {self.refinement.entropy}"
            raise UelError("an evaluation refines every fix, and 0 or more by rays", got=got, do="give --rt 40, say")
        if not self.truths or not self.tiers or min(self.speeds, default=0.0) < 0:
            got = f"truths {self.truths}, tiers {self.tiers}, speeds {self.speeds}"
            raise UelError("a protocol has truths, tiers, and speeds from 0 on", got=got, do="give rsrp and 0 1, say")
        for tier in (*self.tiers, *self.axis_tiers, *self.map_tiers):
            features_of(tier)
        unknown = {*self.conditions, *self.track_maps} - set(MAP_CONDITIONS)
        if unknown:
            raise UelError("no such map condition", got=sorted(unknown), do=f"choose from {', '.join(MAP_CONDITIONS)}")
        if not self.sites or not self.carriers or max(self.sites) > self.sites[0] or min(self.sites) < 1:
            raise UelError("the base has the most sites, and a carrier", got=self.sites, do="give 8 5 3, say")
        for tile in self.tiles:
            parse_place(tile)
        if not self.name or "/" in self.name:
            raise UelError("a protocol's name is a folder's", got=self.name, do="give a plain word")
        list(protocol_conditions(self))  # whatever a condition refuses is refused now


def protocol_conditions(config: EvalConfig) -> Iterator[Condition]:
    """All conditions, the base first."""
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
    """The base with one thing changed."""
    yield from (replace(base, sigma_db=sigma) for sigma in config.sigmas)
    yield from (replace(base, correlation=correlation) for correlation in config.correlations)
    yield from (replace(base, k=k) for k in config.cells)
    yield from (replace(base, dropout=dropout) for dropout in config.dropouts)
    yield from (replace(base, sites=count) for count in config.sites[1:])
    yield from (replace(base, carrier=carrier) for carrier in config.carriers[1:])
