"""Configurations of `uel map` and `uel survey`. No framework is imported here."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import tyro

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.engines.config import EngineConfig
from sim_bridge.registry import find_backend
from sim_bridge.survey.config import SurveyMakingConfig
from uel.core.io import data_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.mobility.config import TrackConfig
from uel.radio.tracing_config import TracingConfig


@dataclass(frozen=True, kw_only=True)
class SurveyConfig(TrackConfig, EngineConfig):
    """Tracks over tiles, measured: `uel survey TILE... --tracks 5000 --reports 20 --out data/survey`."""

    tiles: tyro.conf.Positional[tuple[Path, ...]]
    """folders of tiles with sites"""
    out: Path = field(default_factory=lambda: data_folder() / "survey")
    """the survey's folder; one that was begun with the same configuration goes on"""
    seed: int = 1
    """of tracks and rays"""
    unit_tracks: int = 256
    """tracks in a unit of work"""
    measure: FeatureConfig = field(default_factory=FeatureConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    atlas: AtlasConfig = field(default_factory=AtlasConfig)
    """of chains of walls, where tracing neither diffracts nor scatters"""
    resume: bool = True
    """go on with a survey in the folder; --no-resume refuses one"""
    verify: bool = False
    """measure nothing: compare every shard with its hash; units that differ will be made again"""
    export: Literal["none", "parquet"] = "none"
    """measure nothing: write the finished survey as tables, too"""
    report: bool = False
    """measure nothing: write the finished survey's report.md and pictures again"""

    def __post_init__(self) -> None:
        require_numbers(self)
        TrackConfig.__post_init__(self)
        EngineConfig.__post_init__(self)
        if not self.tiles and self.measures:
            raise UelError("no tile to survey", got="no folder", do="name a tile's folder: uel build makes them")
        self.making  # noqa: B018  (checks its fields now)

    @property
    def measures(self) -> bool:
        """Whether reports are measured; --verify, --export and --report work on a finished survey and need no tiles."""
        return not (self.verify or self.report or self.export != "none")

    @property
    def making(self) -> SurveyMakingConfig:
        """The part that determines the survey's contents, whatever machine makes it."""
        tracks = TrackConfig(**{f.name: getattr(self, f.name) for f in fields(TrackConfig)})
        common = {"measure": self.measure, "tracing": self.tracing, "atlas": self.atlas, "seed": self.seed}
        return SurveyMakingConfig(tracks=tracks, unit=self.unit_tracks, **common)


@dataclass(frozen=True, kw_only=True)
class RadioMapConfig(EngineConfig):
    """Radio maps of tiles: `uel map TILE --pixel 2`."""

    tiles: tyro.conf.Positional[tuple[Path, ...]]
    """folders of tiles with sites"""
    pixel: float = 2.0
    """m, side of a pixel"""
    frequencies: tuple[float, ...] = ()
    """Hz, a map for each; the sites' own carrier unless given"""
    load: float = 1.0
    """fraction of time that the other cells transmit, for SINR"""
    noise_figure_db: float = 7.0
    """of the phone's receiver"""
    bler_target: float = 0.1
    """error rate of transport blocks that link adaptation allows"""
    check: int = 256
    """positions outdoors at which the map is compared with traced paths"""
    tracing: TracingConfig = field(default_factory=TracingConfig)
    out: Path | None = None
    """folder of the maps; `data/maps` unless given"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(self, pixel=(0.01, 1e3), frequencies=(1e8, 1e12), load=(0, 1), bler_target=(1e-6, 1))
        if not self.tiles:
            raise UelError("no tile to map", got="no folder", do="name one: uel map data/tiles/florence")
        if self.check < 1:
            raise UelError("--check must be at least 1", got=self.check, do="give --check 256, say")
        find_backend(self.tracing.backend)

    @property
    def folder(self) -> Path:
        """Folder of the maps."""
        return self.out or data_folder() / "maps"
