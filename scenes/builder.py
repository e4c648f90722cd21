"""Build a tile from a map: read, raise walls on the ground, dress them, put masts, check; then move it into place."""

import difflib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scenes.config import TileBuildConfig
from scenes.materials.osm_materials import SurfaceMaterials, classify_surfaces
from scenes.materials.random_materials import RandomMaterials, draw_materials, file_slug
from scenes.mesh.extrusion import PrismMesh, extrude_all
from scenes.mesh.gltf import binary_gltf
from scenes.mesh.ground_mesh import ground_parts
from scenes.mesh.material_assignment import assign_materials
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import LAND_COVERS, material_names, rasterise_land_cover, rasterise_parts
from scenes.mesh.terrain import Terrain
from scenes.osm import reader
from scenes.osm.map_features import Building, MapExtract
from scenes.osm.queries import parse_source
from scenes.perturbation import Perturbation
from scenes.sites.placement import place as place_masts
from scenes.tiles import sionna_cities
from scenes.tiles.build_key import build_key, key_metadata, require_no_placed_sites
from scenes.tiles.metadata import tile_metadata
from scenes.tiles.mitsuba_xml import material_bsdfs
from scenes.tiles.report import map_tile_report, mesh_tile_report
from scenes.tiles.writer import json_bytes, staged_folder, update_files, write_sites, write_tile
from scenes.variants.map_perturbation import perturb_map, perturb_sites, require_several_classes
from uel.core.grid import Grid
from uel.core.io import file_hash
from uel.errors import UelError
from uel.geo.tile import Tile

MAP_ONLY_OPTIONS = ("dem", "draw_heights", "materials", "frequency", "ground")  # what a plan can ask of a map alone
TileInspection = Callable[[Tile, dict[str, Any]], tuple[dict[str, Any], dict[str, bytes]]]
"""looks at a finished tile and its report so far; returns findings to add to it, and files to put into the folder"""


def build(
    source: str | Path,
    folder: Path | str,
    plan: TileBuildConfig | None = None,
    *,
    center: tuple[float, float] | None = None,
    name: str | None = None,
    cache: Path | None = None,
    inspect: TileInspection | None = None,
    progress: bool = True,
    **options: Any,
) -> Tile:
    """Build a tile in `folder`, replacing an old one; `options` are those of `TileBuildConfig`.

    `source` and `center` (latitude, longitude) are those of `scenes.osm.reader.read_map`; or `source` is a city that
    Sionna RT brings along, and `center` in its own metres, see `scenes.tiles.sionna_cities.build_city_tile`. The folder
    gets the tile, its masts, `build_report.json`, `model.glb`, and what `inspect` adds: this room knows no ray tracer
    and draws no pictures. Nothing is left where anything fails. `progress` shows a bar while a bundled city is read.

    Raises `UelError` for a source, a terrain or a plan that makes no tile, and when `folder` holds something else, or
    a tile on which somebody has placed masts since.
    """
    folder, plan = Path(folder), replace(plan or TileBuildConfig(), **options)
    require_no_placed_sites(folder)
    made_from = build_key(source, center, name, asdict(plan))
    if source in sionna_cities.BUNDLED_CITIES:
        with staged_folder(folder) as stage:
            tile, parts = _build_city(str(source), stage, center, plan, progress)
            tile = update_files(_with_sites(tile, plan), {"model.glb": binary_gltf(parts)})
            _write_report(tile, mesh_tile_report(tile, parts), inspect, made_from)
        return Tile.open(folder)
    close = difflib.get_close_matches(str(source), sionna_cities.BUNDLED_CITIES, n=1, cutoff=0.8)
    if close and parse_source(source).kind == "name":
        raise UelError("no such bundled city", got=source, do=f"perhaps {close[0]}? else add its country")
    seed = plan.seed if plan.draw_heights else None
    place = reader.read_map(
        source, size=plan.size, margin=plan.margin, center=center, name=name, seed=seed, cache=cache
    )
    with staged_folder(folder) as stage:
        _fill_folder(stage, place, plan, inspect, made_from)
    return Tile.open(folder)


def _build_city(
    city: str, folder: Path, center: tuple[float, float] | None, plan: TileBuildConfig, progress: bool
) -> tuple[Tile, list[MeshPart]]:
    _require_mesh_options(plan)
    square = plan.size or 512.0
    return sionna_cities.build_city_tile(
        city,
        folder,
        center=center or (0.0, 0.0),
        size=square,
        margin=plan.margin,
        pixel=plan.pixel,
        progress=progress,
    )


def _require_mesh_options(plan: TileBuildConfig) -> None:
    """Whatever needs single buildings and a map of the ground, a bundled city cannot do."""
    asked = [name for name in MAP_ONLY_OPTIONS if getattr(plan, name) != getattr(TileBuildConfig(), name)]
    if replace(plan.wrong, azimuth_deg=0.0, antenna_height=0.0) != Perturbation():
        asked.append("perturb")
    if asked:
        raise UelError(
            "bundled cities are meshes without single buildings, a georeference or a map of their ground",
            got=", ".join(asked),
            do="leave it out (perturb=antenna=… works), or build from a map",
        )


def _fill_folder(
    stage: Path, place: MapExtract, plan: TileBuildConfig, inspect: TileInspection | None, made_from: dict[str, Any]
) -> None:
    if plan.wrong.materials and plan.materials == "itu":
        require_several_classes(place)
    wrong, record = perturb_map(place, plan.wrong, plan.seed)
    terrain = _terrain(wrong, plan)
    meshes, failures = extrude_all(wrong.buildings, terrain)
    wrong = replace(
        wrong,
        buildings=tuple(building for building in wrong.buildings if building.id in meshes),
        exclusions=(*wrong.exclusions, *failures),
    )
    surfaces = {building.id: classify_surfaces(building.tags) for building in wrong.buildings}
    parts = [*ground_parts(terrain, wrong.ground, plan.ground), *_walls_and_roofs(meshes, surfaces)]
    grid = Grid(size=wrong.size, pixel=plan.pixel)
    rasters = rasterise_parts(parts, grid) | {"cover": rasterise_land_cover(wrong.ground, grid)}
    draws = _random_materials(wrong, surfaces, plan, _donors(place, record))
    meta = tile_metadata(wrong, surfaces, pixel=plan.pixel, seed=plan.seed, draws=draws)
    meta |= {"materials": material_names(parts), "covers": list(LAND_COVERS), "terrain": _terrain_metadata(plan)}
    meta |= {"perturbation": record} if plan.perturb else {}
    dressed = assign_materials(parts, draws) if draws else parts
    bsdfs = material_bsdfs(material_names(dressed), draws.materials if draws else None)
    tile = write_tile(stage, dressed, bsdfs, rasters, meta)
    tile = _with_sites(tile, plan)
    tile = update_files(tile, {"model.glb": binary_gltf(parts)})
    _write_report(tile, map_tile_report(wrong, meshes, tile), inspect, made_from)


def _write_report(tile: Tile, told: dict[str, Any], inspect: TileInspection | None, made_from: dict[str, Any]) -> None:
    """The report, and what goes with it, into the folder."""
    more, seen = inspect(tile, told) if inspect else ({}, {})
    update_files(tile, {"build_report.json": json_bytes(told | more), **seen}, key_metadata(made_from, tile))


def _terrain(place: MapExtract, plan: TileBuildConfig) -> Terrain:
    half = place.size / 2 + place.margin
    return Terrain.flat(half=half) if plan.dem is None else Terrain.from_dem(plan.dem, place.crs, place.origin, half)


def _terrain_metadata(plan: TileBuildConfig) -> dict[str, Any]:
    """What `tile.json` says about the ground."""
    if plan.dem is None:
        return {"kind": "flat", "note": "no elevation raster was given: the ground is a plane at 0 m"}
    return {"kind": "dem", "file": plan.dem.name, "sha256": file_hash(plan.dem)}


def _walls_and_roofs(meshes: dict[str, PrismMesh], surfaces: dict[str, SurfaceMaterials]) -> list[MeshPart]:
    """Two parts for each building: its roof, and everything else."""
    parts = []
    for identity, mesh in meshes.items():
        parts.append(mesh.part(("wall", "floor"), surfaces[identity].wall, f"{file_slug(identity)}-wall"))
        parts.append(mesh.part(("roof",), surfaces[identity].roof, f"{file_slug(identity)}-roof"))
    return parts


def _random_materials(
    place: MapExtract, surfaces: dict[str, SurfaceMaterials], plan: TileBuildConfig, donors: dict[str, Building]
) -> RandomMaterials | None:
    if plan.materials == "itu":
        return None
    return draw_materials(place.buildings, surfaces, plan.seed, frequency=plan.frequency, donors=donors)


def _donors(place: MapExtract, record: dict[str, Any]) -> dict[str, Building]:
    """By building, the one whose materials it has in the twin."""
    by_id = {building.id: building for building in place.buildings}
    changes = record["buildings"].items()
    return {name: by_id[change["materials_of"]] for name, change in changes if "materials_of" in change}


def _with_sites(tile: Tile, plan: TileBuildConfig) -> Tile:
    """Masts, at a wrong height and turned the wrong way where the twin is to be wrong."""
    if not plan.sites:
        return tile
    sites = place_masts(tile, plan.sites, plan.seed, sectors=plan.sectors)
    wrong, record = perturb_sites(sites, plan.wrong, plan.seed, tile)
    tile = write_sites(tile, wrong)
    if wrong == sites:
        return tile
    return update_files(tile, {}, {"perturbation": {**tile.meta.get("perturbation", {}), "sites": record}})
