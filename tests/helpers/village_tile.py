"""A tile of a few houses on a lattice, made without a map file."""

from pathlib import Path

import numpy as np
import trimesh
from shapely import box

from scenes.materials.osm_materials import SurfaceMaterials
from scenes.materials.random_materials import RandomMaterials, file_slug
from scenes.mesh.material_assignment import assign_materials
from scenes.mesh.mesh_parts import MeshPart, merge_parts
from scenes.mesh.rasters import material_names, rasterise_parts
from scenes.osm.map_features import Building, Exclusion, MapExtract
from scenes.tiles.metadata import tile_metadata
from scenes.tiles.mitsuba_xml import material_bsdfs
from scenes.tiles.writer import write_tile
from uel.core.grid import Grid
from uel.geo.tile import Tile

SIZE = 64.0


def village(count: int = 4) -> MapExtract:
    """Houses of 8 m on a lattice of 15 m, of brick under concrete."""
    corners = [(15 * (k % 4) - 28, 15 * (k // 4) - 28) for k in range(count)]
    buildings = tuple(
        Building(id=f"way/{k}", footprint=box(x, y, x + 8, y + 8), top=12.0 + k) for k, (x, y) in enumerate(corners)
    )
    return MapExtract(
        name="village",
        crs="EPSG:32632",
        origin=(500_000.0, 5_300_000.0),
        center=(47.85, 9.0),
        size=SIZE,
        margin=8.0,
        buildings=buildings,
        exclusions=(Exclusion(id="way/99", reason="underground"),),
        land_cover=(),
        provenance={"source": "made up"},
    )


CLASSES = SurfaceMaterials(wall="brick", roof="concrete")


def parts_of(place: MapExtract, ground: str = "concrete") -> list[MeshPart]:
    """A plane, and walls and roof of every building, of classes."""
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 40
    parts = [MeshPart("terrain", ground, corners, np.array([[0, 1, 2], [0, 2, 3]]))]
    for building in place.buildings:
        west, south, east, north = building.footprint.bounds
        mesh = trimesh.creation.box(bounds=[[west, south, 0], [east, north, building.top]])
        flat, vertices = np.abs(mesh.face_normals[:, 2]) > 0.5, np.array(mesh.vertices)
        for side, faces in (("wall", ~flat), ("roof", flat)):
            label = f"{file_slug(building.id)}-{side}"
            parts.append(MeshPart("building", getattr(CLASSES, side), vertices, np.array(mesh.faces[faces]), label))
    return parts


def write(
    folder: Path, place: MapExtract, ground: str = "concrete", draws: RandomMaterials | None = None, **cover: np.ndarray
) -> Tile:
    classes = {building.id: CLASSES for building in place.buildings}
    parts = parts_of(place, ground)
    rasters = rasterise_parts(merge_parts(parts), Grid(size=SIZE, pixel=1.0)) | cover
    meta = tile_metadata(place, classes, pixel=1.0, seed=3, draws=draws) | {"materials": material_names(parts)}
    parts = assign_materials(parts, draws) if draws else parts
    bsdfs = material_bsdfs({part.material for part in parts}, draws.materials if draws else None)
    return write_tile(folder, parts, bsdfs, rasters, meta)
