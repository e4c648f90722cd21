"""Buildings: what the map says of a house, in metres of the tile, before it becomes triangles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shapely import MultiPolygon, Polygon

HeightProvenance = Literal["tag", "levels", "neighbours", "prior"]


@dataclass(frozen=True, kw_only=True)
class Height:
    """From where to where a building's walls go, in metres above the ground, and how that is known."""

    base: float
    top: float
    std: float
    """standard deviation of `top` in metres"""
    provenance: HeightProvenance


@dataclass(frozen=True, kw_only=True)
class Building:
    """One prism: a footprint with courtyards, from `base` to `top` metres above the ground beneath it."""

    id: str
    """where it comes from: `way/123`, `relation/45`; pieces of a multipolygon end in `#1`, `#2`, …"""
    footprint: Polygon
    """valid, in metres: x east, y north of the tile's centre; holes are courtyards"""
    top: float
    """height of the flat roof above the ground in metres"""
    base: float = 0.0
    """height in metres at which its walls begin; 0 reaches the ground"""
    whole: Polygon | MultiPolygon | None = None
    """outline in metres of the building that this is a piece of: heights count from its ground; none: its own"""
    tags: Mapping[str, str] = field(default_factory=dict)
    """OSM tags, strings as they were written"""
    provenance: HeightProvenance = "prior"
    """how `top` is known"""
    top_std: float = 0.0
    """standard deviation of `top` in metres"""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A feature that did not become a building, and why."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MapExtract:
    """Everything that a source says about a square of the world, in the square's own metres."""

    name: str
    crs: str
    """of the metres, UTM: `EPSG:32632`"""
    origin: tuple[float, float]
    """easting and northing of the tile's centre in `crs`"""
    center: tuple[float, float]
    """latitude and longitude of the tile's centre in degrees"""
    size: float
    """side of the square in metres"""
    margin: float
    """how far in metres features are kept around it"""
    buildings: tuple[Building, ...]
    exclusions: tuple[Exclusion, ...]
    ground: tuple["LandCoverPatch", ...]
    """roads, water and green, later ones over earlier ones"""
    provenance: Mapping[str, Any]
    """what was read: kind of source, file name and SHA-256 or query, versions"""


@dataclass(frozen=True, kw_only=True)
class LandCoverPatch:
    """A patch of ground with a class of its own, in metres of the tile."""

    id: str
    kind: Literal["road", "path", "water", "green"]
    footprint: Polygon
