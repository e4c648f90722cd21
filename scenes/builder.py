"""Builds a tile: reads the map, makes meshes, assigns materials, places sites, checks; then moves it into place."""

import difflib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scenes.config import TileBuildConfig
from scenes.height_rasters.buildings import read_height_raster
from scenes.height_rasters.reader import is_height_raster
from scenes.materials.osm_materials import SurfaceMaterials, classify_surfaces
from scenes.materials.random_materials import RandomMaterials, draw_materials, file_slug
from scenes.mesh.extrusion import PrismMesh, extrude_all
from scenes.mesh.gltf import binary_gltf
from scenes.mesh.ground_mesh import ground_parts
from scenes.mesh.material_assignment import assign_materials
from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import (
    LAND_COVERS,
    material_names,
    rasterise_known,
    rasterise_land_cover,
    rasterise_parts,
    rasterise_vegetation,
)
from scenes.mesh.terrain import Terrain
from scenes.osm import reader
from scenes.osm.map_features import Building, MapExtract
from scenes.osm.queries import parse_source
from scenes.perturbation import Perturbation
from scenes.scene_files.mitsuba_reader import is_scene_file
from scenes.sites.placement import place as place_sites
from scenes.tiles import sionna_cities
from scenes.tiles.build_key import build_key, key_metadata, require_no_placed_sites, source_name
from scenes.tiles.metadata import tile_metadata
from scenes.tiles.mitsuba_xml import material_bsdfs
from scenes.tiles.report import map_tile_report, mesh_tile_report
from scenes.tiles.scene_tile import build_scene_tile
from scenes.tiles.writer import is_tile, json_bytes, update_files, write_sites, write_tile
from scenes.variants.map_perturbation import perturb_map, perturb_sites, require_several_classes
from uel.core.grid import Grid
from uel.core.io import file_hash, staged_folder
from uel.errors import UelError
from uel.geo.tile import Tile

MAP_ONLY_OPTIONS = (
    "dem",
    "draw_heights",
    "storey_height",
    "materials",
    "frequency",
    "ground",
    "vegetation",
)  # options that need a map
TileInspection = Callable[[Tile, dict[str, Any]], tuple[dict[str, Any], dict[str, bytes]]]
"""function of a finished tile and its report so far; returns items to add to the report, and files for the folder"""


def build(
    source: str | Path,
    folder: Path | str,
    config: TileBuildConfig | None = None,
    *,
    center: tuple[float, float] | None = None,
    name: str | None = None,
    cache: Path | None = None,
    inspect: TileInspection | None = None,
    progress: bool = True,
    **options: Any,
) -> Tile:
    """Build a tile in `folder`, replacing an older one.

    Args:
        source: what `scenes.osm.reader.read_map` reads (a map file, a point, a box or a place's name), a Sionna scene
            (.xml), a raster of heights (.tif), or the name of a city that Sionna RT bundles
            (`scenes.tiles.sionna_cities.BUNDLED_CITIES`).
        folder: of the tile; it gets the tile, its sites, `build_report.json`, `model.glb` and the files of `inspect`.
            Nothing is left in it when the build fails.
        config: options of the build.
        center: latitude and longitude in degrees of the tile's centre; x and y in metres for a bundled city or a scene.
        name: of the tile; default: the source's.
        cache: folder for answers of map servers; default: `osm` in the data folder.
        inspect: adds items to the report and files to the folder, such as checks with a ray tracer or pictures.
        progress: shows a bar while a bundled city is read.
        options: fields of `TileBuildConfig` that replace those of `config`.

    Returns:
        The tile, opened.

    Raises:
        UelError: when the source, the terrain or the options make no tile, and when `folder` holds something else or a
            tile on which sites were placed after it was built.

    Example:
        >>> import tempfile, scenes
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> tile.verify()  # files that differ from their hashes
        []
    """
    folder, config = Path(folder), replace(config or TileBuildConfig(), **options)
    require_no_placed_sites(folder)
    key = build_key(source, center, name, asdict(config))
    _require_fitting_options(source, config)
    if source in sionna_cities.BUNDLED_CITIES or is_scene_file(source):
        with staged_folder(folder, is_tile, "tile") as stage:
            tile, parts = _build_meshes(source, stage, center, name, config, progress)
            tile = update_files(_with_sites(tile, config), {"model.glb": binary_gltf(parts)})
            _write_report(tile, mesh_tile_report(tile, parts), inspect, key)
        return Tile.open(folder)
    close = difflib.get_close_matches(str(source), sionna_cities.BUNDLED_CITIES, n=1, cutoff=0.8)
    if close and parse_source(source).kind == "name":
        raise UelError(
            "no bundled city of this name",
            got=source,
            do=f"for the bundled city give {close[0]}; for a place of this name add its country",
        )
    extract = _read_extract(source, config, center, name, cache)
    with staged_folder(folder, is_tile, "tile") as stage:
        _fill_folder(stage, extract, config, inspect, key)
    return Tile.open(folder)


def _build_meshes(
    source: str | Path,
    folder: Path,
    center: tuple[float, float] | None,
    name: str | None,
    config: TileBuildConfig,
    progress: bool,
) -> tuple[Tile, list[MeshPart]]:
    """The tile of a bundled city or of a scene file, and its meshes."""
    _require_mesh_options(config)
    square = {"margin": config.margin, "pixel": config.pixel, "progress": progress}
    if source in sionna_cities.BUNDLED_CITIES:
        size, middle = config.size or 512.0, center or (0.0, 0.0)
        return sionna_cities.build_city_tile(str(source), folder, center=middle, size=size, **square)
    file, place = Path(source).expanduser(), {"origin": config.origin, "center": center, "size": config.size}
    return build_scene_tile(file, folder, name or source_name(source), config.scene, **place, **square)


def _read_extract(
    source: str | Path,
    config: TileBuildConfig,
    center: tuple[float, float] | None,
    name: str | None,
    cache: Path | None,
) -> MapExtract:
    """The buildings of a map or of a raster of heights."""
    if is_height_raster(source):
        square = {"size": config.size, "margin": config.margin, "center": center}
        file = Path(source).expanduser()
        return read_height_raster(file, config.raster, name or source_name(source), dem=config.dem, **square)
    seed = config.seed if config.draw_heights else None
    return reader.read_map(
        source,
        size=config.size,
        margin=config.margin,
        center=center,
        name=name,
        seed=seed,
        storey_height=config.storey_height,
        cache=cache,
    )


def _require_mesh_options(config: TileBuildConfig) -> None:
    """Raise `UelError` for options that need single buildings or a map of the ground, which meshes lack."""
    refused = [name for name in MAP_ONLY_OPTIONS if getattr(config, name) != getattr(TileBuildConfig(), name)]
    if replace(config.perturbation, azimuth_deg=0.0, antenna_height=0.0) != Perturbation():
        refused.append("perturb")
    if refused:
        raise UelError(
            "these options need a map, and bundled cities and scenes are meshes only",
            got=", ".join(refused),
            do="leave them out (--perturb antenna=… works), or build from a map",
        )


def _require_fitting_options(source: str | Path, config: TileBuildConfig) -> None:
    """Raise `UelError` for options of scene files or of rasters that are given with another source."""
    default = TileBuildConfig()
    given = {name: getattr(config, name) != getattr(default, name) for name in ("origin", "scene", "raster")}
    refused = [f"--{name}" for name in ("origin", "scene") if given[name] and not is_scene_file(source)]
    refused += ["--vegetation"] if config.vegetation and is_height_raster(source) else []
    refused += ["--raster"] if given["raster"] and not is_height_raster(source) else []
    if refused:
        do = "give a Sionna scene (.xml) with --origin and --scene, a raster of heights (.tif) with --raster"
        raise UelError(f"{' and '.join(refused)} do not apply to this source", got=str(source), do=do)


def _fill_folder(
    stage: Path, extract: MapExtract, config: TileBuildConfig, inspect: TileInspection | None, key: dict[str, Any]
) -> None:
    if config.perturbation.materials and config.materials == "itu":
        require_several_classes(extract)
    perturbed, record = perturb_map(extract, config.perturbation, config.seed)
    terrain = _terrain(perturbed, config)
    meshes, failures = extrude_all(perturbed.buildings, terrain)
    perturbed = replace(
        perturbed,
        buildings=tuple(building for building in perturbed.buildings if building.id in meshes),
        exclusions=(*perturbed.exclusions, *failures),
    )
    surfaces = {building.id: classify_surfaces(building.tags) for building in perturbed.buildings}
    parts = [*ground_parts(terrain, perturbed.land_cover, config.ground), *_walls_and_roofs(meshes, surfaces)]
    grid = Grid(size=perturbed.size, pixel=config.pixel)
    rasters = rasterise_parts(parts, grid) | {"cover": rasterise_land_cover(perturbed.land_cover, grid)}
    if perturbed.known_squares is not None:
        rasters["known"] = rasterise_known(perturbed.known_squares, grid)
    if config.vegetation:
        rasters |= rasterise_vegetation(perturbed.vegetation, rasters["footprint"], grid)
    draws = _random_materials(perturbed, surfaces, config, _donors(extract, record))
    metadata = tile_metadata(perturbed, surfaces, pixel=config.pixel, seed=config.seed, draws=draws)
    metadata |= {
        "materials": material_names(parts),
        "covers": list(LAND_COVERS),
        "terrain": _terrain_metadata(config, terrain),
    }
    metadata |= {"perturbation": record} if config.perturb else {}
    final_parts = assign_materials(parts, draws) if draws else parts
    bsdfs = material_bsdfs(material_names(final_parts), draws.materials if draws else None)
    tile = write_tile(stage, final_parts, bsdfs, rasters, metadata)
    tile = _with_sites(tile, config)
    tile = update_files(tile, {"model.glb": binary_gltf(parts)})
    _write_report(tile, map_tile_report(perturbed, meshes, tile), inspect, key)


def _write_report(tile: Tile, report: dict[str, Any], inspect: TileInspection | None, key: dict[str, Any]) -> None:
    """Write the report, with what `inspect` adds to it, and the build key into the folder."""
    items, files = inspect(tile, report) if inspect else ({}, {})
    update_files(tile, {"build_report.json": json_bytes(report | items), **files}, key_metadata(key, tile))


def _terrain(extract: MapExtract, config: TileBuildConfig) -> Terrain:
    half = extract.size / 2 + extract.margin
    if config.dem is None:
        return Terrain.flat(half=half)
    if extract.known_squares is not None:
        return Terrain.from_dem_with_holes(config.dem, extract.crs, extract.origin, half, unknown=config.raster.unknown)
    return Terrain.from_dem(config.dem, extract.crs, extract.origin, half)


def _terrain_metadata(config: TileBuildConfig, terrain: Terrain) -> dict[str, Any]:
    """The ground's entry in `tile.json`."""
    if config.dem is None:
        return {"kind": "flat", "note": "no elevation raster was given: the ground is a plane at 0 m"}
    known = {"known": round(terrain.known, 4)} if terrain.known < 1 else {}
    return {"kind": "dem", "file": config.dem.name, "sha256": file_hash(config.dem), **known}


def _walls_and_roofs(meshes: dict[str, PrismMesh], surfaces: dict[str, SurfaceMaterials]) -> list[MeshPart]:
    """Two parts for each building: its walls with its floor, and its roof."""
    parts = []
    for identity, mesh in meshes.items():
        parts.append(mesh.part(("wall", "floor"), surfaces[identity].wall, f"{file_slug(identity)}-wall"))
        parts.append(mesh.part(("roof",), surfaces[identity].roof, f"{file_slug(identity)}-roof"))
    return parts


def _random_materials(
    extract: MapExtract, surfaces: dict[str, SurfaceMaterials], config: TileBuildConfig, donors: dict[str, Building]
) -> RandomMaterials | None:
    if config.materials == "itu":
        return None
    return draw_materials(extract.buildings, surfaces, config.seed, frequency=config.frequency, donors=donors)


def _donors(extract: MapExtract, record: dict[str, Any]) -> dict[str, Building]:
    """For each building of the perturbed map that swapped materials, the building whose materials it got."""
    by_id = {building.id: building for building in extract.buildings}
    changes = record["buildings"].items()
    return {name: by_id[change["materials_of"]] for name, change in changes if "materials_of" in change}


def _with_sites(tile: Tile, config: TileBuildConfig) -> Tile:
    """The tile with sites, at perturbed heights and azimuths where the configuration asks for it."""
    if not config.sites:
        return tile
    sites = place_sites(tile, config.sites, config.seed, sectors=config.sectors)
    perturbed, record = perturb_sites(sites, config.perturbation, config.seed, tile)
    tile = write_sites(tile, perturbed)
    if perturbed == sites:
        return tile
    return update_files(tile, {}, {"perturbation": {**tile.meta.get("perturbation", {}), "sites": record}})
