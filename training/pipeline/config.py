"""Configurations of sites and maps of a deployment. No framework is imported here."""

import math
from dataclasses import dataclass, field

from scenes.perturbation import Perturbation
from sim_bridge.registry import find_backend
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.tracing_config import ACCURATE_TRACING, TracingConfig

RASTER_PIXEL = 1.0  # m, pixel of a tile's rasters


@dataclass(frozen=True, kw_only=True)
class SitePlacementConfig:
    """Sites drawn on the roofs of a tile."""

    count: int = 8
    """number of rooftop sites"""
    sectors: int = 1
    """cells of each site; more than one are sectors with 120° elements"""
    mast: float = 8.0
    """m, height of the antenna above the roof"""

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("count", "sectors"):
            if getattr(self, name) < 1:
                raise UelError(f"sites.{name} must be at least 1", got=getattr(self, name), do="give 1 or more")
        if not 0 < self.mast < math.inf:
            raise UelError("sites.mast must be positive", got=self.mast, do="give 8 (m above the roof)")


def parse_place(text: str) -> tuple[str, tuple[float, float]]:
    """City and centre in metres of a text "city@x,y"; the centre is (0, 0) when it is left out. Raises `UelError`."""
    city, _, centre = text.partition("@")
    try:
        x, y = (float(v) for v in (centre or "0,0").split(","))
        if not math.isfinite(x + y):
            raise ValueError("not finite")
    except ValueError as error:
        raise UelError(
            "cannot read this tile's name", got=repr(text), do="write city@x,y, for example munich@-300,-150"
        ) from error
    return city, (x, y)


MAP_CONDITIONS = ("exact", "few_rays", "wrong_materials", "wrong_buildings", "wrong_sites", "no_radio_map")
"""Map conditions: the true map; one of few rays; one of wrong materials; one of wrong building heights with buildings
missing; one of wrong antenna azimuths and heights; none.
"""


@dataclass(frozen=True, kw_only=True)
class MapConditionConfig:
    """Quality of the true map, and the errors of the other maps."""

    pixel: float = 4.0
    """m, pixel of radio maps"""
    tracing: TracingConfig = field(default_factory=lambda: ACCURATE_TRACING)
    """ray tracing of the true map and of ray-traced truth"""
    few_rays: int = 2_000_000
    """few_rays: rays per cell, at most those of the true map"""
    heights: float = 0.2
    """wrong_buildings: largest relative error of building heights"""
    missing: float = 0.1
    """wrong_buildings: fraction of buildings that the map lacks"""
    azimuth_deg: float = 10.0
    """wrong_sites: standard deviation of each cell's azimuth error, degrees"""
    antenna_height: float = 3.0
    """wrong_sites: standard deviation of each site's height error, m"""

    def __post_init__(self) -> None:
        require_numbers(self, pixel=(0.01, 1e3))
        find_backend(self.tracing.backend)
        Perturbation(heights=self.heights, missing=self.missing)
        Perturbation(azimuth_deg=self.azimuth_deg, antenna_height=self.antenna_height)
        if not 1 <= self.few_rays <= self.tracing.map_rays:
            raise UelError(
                "maps.few_rays must lie between 1 and tracing.map_rays",
                got=f"few_rays {self.few_rays}, map_rays {self.tracing.map_rays}",
                do="lower few_rays or raise tracing.map_rays",
            )


@dataclass(frozen=True, kw_only=True)
class MapAdaptationConfig:
    """Labelled reports of each deployment that correct its maps."""

    labelled_reports: int = 500
    """reports with known positions, drawn from the true map; with fewer than 64 levels stay as they are"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if self.labelled_reports < 1:
            do = "give 500"
            raise UelError("map_adaptation.labelled_reports must be at least 1", got=self.labelled_reports, do=do)
