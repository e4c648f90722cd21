"""Features of a map in metres of the tile: buildings with heights, land cover, and what was left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Bool
from numpy import ndarray as Array
from shapely import MultiPolygon, Polygon

HeightProvenance = Literal["tag", "levels", "building", "neighbours", "prior", "raster"]


@dataclass(frozen=True, kw_only=True)
class Height:
    """Lower and upper end of a building's walls in metres above the ground, and where the upper one comes from."""

    base: float
    top: float
    std: float
    """standard deviation of `top` in metres"""
    provenance: HeightProvenance


@dataclass(frozen=True, kw_only=True)
class Building:
    """One prism: a footprint with courtyards, from `base` to `top` metres above the ground beneath it."""

    id: str
    """OSM element: `way/123`, `relation/45`; pieces of a multipolygon end in `#1`, `#2`, …"""
    footprint: Polygon
    """valid polygon in metres, x east and y north of the tile's centre; holes are courtyards"""
    top: float
    """height of the flat roof above the ground in metres"""
    base: float = 0.0
    """height in metres at which the walls begin; 0: on the ground"""
    outline: Polygon | MultiPolygon | None = None
    """outline in metres of the building that this is a piece of, from whose ground heights count; None: `footprint`"""
    tags: Mapping[str, str] = field(default_factory=dict)
    """OSM tags, unchanged"""
    provenance: HeightProvenance = "prior"
    """where `top` comes from: the height tag, the levels, the building that it is a part of, neighbouring buildings,
    the type of building, or a raster"""
    top_std: float = 0.0
    """standard deviation of `top` in metres"""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A feature that did not become a building, and why."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MapExtract:
    """The features of a square of a map, in metres east and north of its centre."""

    name: str
    crs: str
    """projection of the metres, a UTM zone: `EPSG:32632`"""
    origin: tuple[float, float]
    """easting and northing of the tile's centre in `crs`"""
    center: tuple[float, float]
    """latitude and longitude of the tile's centre in degrees"""
    size: float
    """side of the square in metres"""
    margin: float
    """width in metres of the border around the square in which features are kept"""
    buildings: tuple[Building, ...]
    exclusions: tuple[Exclusion, ...]
    land_cover: tuple["LandCoverPatch", ...]
    """roads, paths, water and green; later ones cover earlier ones"""
    provenance: Mapping[str, Any]
    """kind of source, file name and SHA-256 or query, how well heights are known, how much of the tile the map covers,
    versions of libraries"""
    vegetation: tuple["VegetationPatch", ...] = ()
    """crowns of trees and woods"""
    notes: tuple[str, ...] = ()
    """what a user should know of the map: its edge, what it lacks, how heights are known"""
    known_squares: "KnownSquares | None" = None
    """where a raster of heights knows the height; None for a map of buildings"""


@dataclass(frozen=True, eq=False)
class KnownSquares:
    """Where a raster knows the height of a building or of open ground, and what was done elsewhere."""

    is_known: Bool[Array, "row column"]
    """on a square grid around the tile's centre, row 0 in the south"""
    half: float
    """half the side of that grid in metres"""
    fill: float
    """m up to which a square took the height of the nearest known one"""
    known: float
    """fraction of the tile's squares whose height is known"""
    filled: float
    """fraction of the tile's squares that took the height of the nearest known one"""

    @property
    def open(self) -> float:
        """Fraction of the tile's squares that are taken for open ground, because no height near them is known."""
        return max(1.0 - self.known - self.filled, 0.0)

    @property
    def report(self) -> dict[str, float]:
        """The fractions, for the tile's build report."""
        return {name: round(getattr(self, name), 4) for name in ("known", "filled", "open")}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know; nothing where all heights are known."""
        if self.known == 1.0:
            return ()
        return (
            f"heights are known on {self.known:.1%} of the tile; {self.filled:.1%} took the nearest height within "
            f"{self.fill:g} m, {self.open:.1%} are farther from any and taken for open ground (raster `known`)",
        )


@dataclass(frozen=True, kw_only=True)
class LandCoverPatch:
    """A piece of ground of one land-cover class, in metres of the tile."""

    id: str
    kind: Literal["road", "path", "water", "green"]
    footprint: Polygon


@dataclass(frozen=True, kw_only=True)
class VegetationPatch:
    """Crowns of a tree, a row of trees or a wood, in metres of the tile."""

    id: str
    footprint: Polygon | MultiPolygon
    base: float
    """lower end of the crowns in metres above the ground"""
    top: float
    """upper end of the crowns in metres above the ground"""
