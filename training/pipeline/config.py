"""Configurations of sites and maps of a deployment. No framework is imported here."""

import math
from dataclasses import dataclass, field

from scenes.perturbation import Perturbation
from sim_bridge.scene.tracing_config import TracingConfig
from uel.errors import UelError

RASTER_PIXEL = 1.0  # m, pixel of a tile's rasters


@dataclass(frozen=True, kw_only=True)
class SitePlacementConfig:
    """Sites on each tile."""

    count: int = 8
    """rooftop sites"""
    sectors: int = 1
    """cells on each site; more than one are sectors of 120° elements"""
    mast: float = 8.0
    """m of the antenna above the roof"""

    def __post_init__(self) -> None:
        if min(self.count, self.sectors) < 1 or not 0 < self.mast < math.inf:
            raise UelError("a tile needs sites with cells above the roofs", got=self, do="try 8 sites, 1 sector, 8 m")


def parse_place(text: str) -> tuple[str, tuple[float, float]]:
    """ "city@x,y" → city and centre in metres; the centre is (0, 0) when it is left out."""
    city, _, centre = text.partition("@")
    try:
        x, y = (float(v) for v in (centre or "0,0").split(","))
        if not math.isfinite(x + y):
            raise ValueError("not finite")
    except ValueError as error:
        raise UelError(
            "cannot read this place", got=repr(text), do="write city@x,y, for example munich@-300,-150"
        ) from error
    return city, (x, y)


MAP_CONDITIONS = ("exact", "few_rays", "wrong_materials", "wrong_buildings", "wrong_sites", "no_radio_map")
"""exact exact, few_rays few rays, wrong_materials wrong materials, wrong_buildings wrong heights and missing
buildings, wrong_sites masts off, no_radio_map no radio map."""


@dataclass(frozen=True, kw_only=True)
class MapConditionConfig:
    """How good the true map is, and how wrong the others are."""

    pixel: float = 4.0
    """m, pixel of radio maps"""
    tracing: TracingConfig = field(
        default_factory=lambda: TracingConfig(max_depth=5, samples=20_000, scattering=0.3, map_rays=20_000_000)
    )
    """of the true map and of traced truth"""
    few_rays: int = 2_000_000
    """rays per cell of few_rays, at most those of the true map"""
    heights: float = 0.2
    """wrong_buildings: each building is higher or lower by up to this share"""
    missing: float = 0.1
    """wrong_buildings: share of buildings that the map lacks"""
    azimuth_deg: float = 10.0
    """wrong_sites: standard deviation in degrees of each cell's believed azimuth"""
    antenna_height: float = 3.0
    """wrong_sites: standard deviation in metres of each mast's believed height"""

    def __post_init__(self) -> None:
        Perturbation(heights=self.heights, missing=self.missing)
        Perturbation(azimuth_deg=self.azimuth_deg, antenna_height=self.antenna_height)
        if not 1 <= self.few_rays <= self.tracing.map_rays:
            raise UelError(
                "few rays are at most those of the true map",
                got=f"few_rays {self.few_rays}, map_rays {self.tracing.map_rays}",
                do="lower few_rays or raise tracing.map_rays",
            )


@dataclass(frozen=True, kw_only=True)
class MapAdaptationConfig:
    """Labelled reports of each place to train or validate on."""

    labelled: int = 500
    """reports with known positions, drawn from the true map; of fewer than 64 levels are left as they are"""

    def __post_init__(self) -> None:
        if self.labelled < 1:
            raise UelError("labelled reports put maps right", got=f"labelled {self.labelled}", do="give 500, say")
