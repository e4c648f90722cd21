"""A tile cut out of meshes: a square of a scene whose buildings have no ids and no tags."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scenes.mesh.mesh_parts import MeshPart, cut_part, recentre_part
from scenes.mesh.rasters import material_names, rasterise_parts
from scenes.tiles.writer import write_tile
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile


@dataclass(frozen=True)
class SceneParts:
    """The meshes of a scene by kind and material, and its radio materials by name."""

    name: str
    parts: list[MeshPart]
    bsdfs: Mapping[str, ElementTree.Element]
    notes: tuple[str, ...] = ()
    """what was assumed while it was read"""


@dataclass(frozen=True)
class MeshSquare:
    """The square of a scene that becomes a tile, in metres.

    Raises:
        UelError: for values that are not finite or out of range.
    """

    center: tuple[float, float]
    """x and y of its centre in the scene"""
    size: float
    margin: float
    """width of the border around the square in which meshes are kept, as far as the scene extends"""
    pixel: float

    def __post_init__(self) -> None:
        _require_square(self.center, self.size, self.margin)


def write_mesh_tile(
    folder: Path, scene: SceneParts, square: MeshSquare, metadata: Mapping[str, Any]
) -> tuple[Tile, list[MeshPart]]:
    """Cut a square out of a scene and write its tile; returns the tile and the parts of which it consists.

    `metadata` are entries of `tile.json`; those of the square and of the materials are added. Raises `UelError` when
    the scene's terrain does not cover the square, and when the square has no building.
    """
    grid = Grid(size=square.size, pixel=square.pixel)
    _require_cover(scene.parts, square.center, square.size)
    half = square.size / 2 + square.margin
    parts = [cut_part(recentre_part(part, square.center), half) for part in scene.parts]
    parts = [part for part in parts if len(part.faces)]
    rasters = rasterise_parts(parts, grid)
    _require_building(rasters["footprint"], scene.name, square.center, square.size)
    of_square = {
        "materials": material_names(parts),
        "size": square.size,
        "margin": square.margin,
        "pixel": square.pixel,
    }
    return write_tile(folder, parts, scene.bsdfs, rasters, {**metadata, **of_square}), parts


def terrain_bounds(parts: list[MeshPart]) -> tuple[np.ndarray, np.ndarray]:
    """South-west and north-east corner of the terrain in metres."""
    points = np.concatenate([part.vertices[:, :2] for part in parts if part.kind == "terrain"])
    points = points.astype(np.float64)
    return points.min(axis=0), points.max(axis=0)


def _require_cover(parts: list[MeshPart], center: tuple[float, float], size: float) -> None:
    """Raise `UelError` unless the terrain's bounding box contains the square; `rasterise_parts` finds holes."""
    low, high = terrain_bounds(parts)
    first, last = low + size / 2, high - size / 2
    if (first > last).any():
        widest = math.floor((high - low).min())
        raise UelError("the scene is smaller than the tile", got=f"size {size:g} m", do=f"give at most {widest} m")
    if (center < first).any() or (center > last).any():
        raise UelError(
            "the scene's terrain does not cover the tile",
            got=f"center {center}, size {size:g} m",
            do=f"choose x in {_whole_metres(first[0], last[0])} and y in {_whole_metres(first[1], last[1])}",
        )


def _whole_metres(low: float, high: float) -> str:
    """An interval in metres, rounded inwards where it contains an integer."""
    first, last = math.ceil(low), math.floor(high)
    return f"[{first}, {last}] m" if first <= last else f"[{low:.3f}, {high:.3f}] m"


def _require_square(center: tuple[float, float], size: float, margin: float) -> None:
    if not all(map(math.isfinite, (*center, size, margin))) or size <= 0 or margin < 0:
        raise UelError(
            "centre, size or margin of the square is out of range",
            got=f"center {center}, size {size} m, margin {margin} m",
            do="give finite metres, a positive size and a margin that is not negative",
        )


def _require_building(footprint: np.ndarray, name: str, center: tuple[float, float], size: float) -> None:
    if not footprint.any():
        raise UelError(
            "the tile has no building",
            got=f"{name}, center {center}, size {size:g} m",
            do="make it larger or move its centre",
        )
