"""Perturbs a map: heights, positions, materials and antennas get errors like those of real maps."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from shapely.affinity import translate

from scenes.materials.osm_materials import ROOF_TAGS, WALL_TAGS, classify_surfaces
from scenes.materials.random_materials import building_generator
from scenes.osm.map_features import Building, Exclusion, MapExtract
from scenes.perturbation import Perturbation
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site


def perturb_map(extract: MapExtract, spec: Perturbation, seed: int) -> tuple[MapExtract, dict[str, Any]]:
    """The perturbed map, and a record of the changes of each building for `tile.json`.

    Every building has its own random numbers (from `seed` and id; the pieces of a multipolygon share them), so that one
    kind of error does not shift another, and a building gets the same errors in tiles of different size. Materials are
    swapped among the buildings of the extract. Missing buildings become exclusions.

    Example:
        >>> import scenes
        >>> from shapely.geometry import box
        >>> from scenes.osm.map_features import Building, MapExtract
        >>> buildings = (Building(id="way/1", footprint=box(0, 0, 10, 10), top=9.0),)
        >>> extract = MapExtract(
        ...     name="yard", crs="EPSG:32632", origin=(0.0, 0.0), center=(48.0, 9.0), size=64.0, margin=0.0,
        ...     buildings=buildings, exclusions=(), land_cover=(), provenance={},
        ... )
        >>> perturbed, record = scenes.perturb_map(extract, scenes.Perturbation(heights=0.2), seed=1)
        >>> 7.2 < perturbed.buildings[0].top < 10.8, perturbed.buildings[0].top != 9.0
        (True, True)
    """
    donors = _donors(extract, seed) if spec.materials else {}
    pairs = [_perturb_building(building, spec, seed, donors.get(building.id)) for building in extract.buildings]
    changes = {building.id: change for building, (_, change) in zip(extract.buildings, pairs, strict=True) if change}
    missing = [
        Exclusion(id=name, reason="removed by the perturbation")
        for name, change in changes.items()
        if "missing" in change
    ]
    buildings = tuple(building for building, change in pairs if "missing" not in change)
    perturbed = replace(extract, buildings=buildings, exclusions=(*extract.exclusions, *missing))
    return perturbed, {"spec": asdict(spec), "seed": seed, "buildings": changes}


def require_several_classes(extract: MapExtract) -> None:
    """Raise `UelError` when swapping classes changes nothing, because all buildings are of the same classes."""
    pairs = {
        (classes.wall, classes.roof) for classes in (classify_surfaces(building.tags) for building in extract.buildings)
    }
    if len(pairs) < 2:
        raise UelError(
            "materials=swap changes nothing: all buildings have the same materials",
            got=f"{extract.name}: {len(extract.buildings)} buildings of {' under '.join(*pairs)}",
            do="add --materials drawn, which gives each building its own, or choose a map with material tags",
        )


def perturb_sites(
    sites: tuple[Site, ...], spec: Perturbation, seed: int, tile: Tile | None = None
) -> tuple[tuple[Site, ...], list[dict[str, Any]]]:
    """Sites with errors of height and azimuth, and a record of the errors: metres and, for each cell, degrees.

    Each site draws by `seed` and its number. With `tile` (the perturbed one) an antenna inside a wall is raised to 1 m
    above the roof, and the record contains that elevation.

    Example:
        >>> import scenes, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 20.0)),)
        >>> assumed, record = scenes.perturb_sites(sites, scenes.Perturbation(azimuth_deg=10.0), seed=1)
        >>> assumed[0].position == sites[0].position, assumed[0].cells[0].azimuth_deg != sites[0].cells[0].azimuth_deg
        (True, True)
    """
    perturbed, record = [], []
    for number, site in enumerate(sites):
        random = building_generator(seed, "site", str(number))
        height_error = float(spec.antenna_height * random.normal())
        azimuth_errors = (spec.azimuth_deg * random.normal(size=len(site.cells))).tolist()
        x, y, z = site.position
        top = tile.min_mast_z(x, y) if tile else -math.inf
        cells = tuple(
            replace(cell, azimuth_deg=(cell.azimuth_deg + error) % 360) if error else cell
            for cell, error in zip(site.cells, azimuth_errors, strict=True)
        )
        perturbed.append(Site(position=(x, y, max(z + height_error, top)), cells=cells))
        record.append(
            {"height": height_error, "azimuth_deg": azimuth_errors}
            | ({"raised_to": top} if z + height_error < top else {})
        )
    return tuple(perturbed), record


def _perturb_building(
    building: Building, spec: Perturbation, seed: int, donor: Building | None
) -> tuple[Building, dict[str, Any]]:
    """The perturbed building and its changes; all numbers are drawn, also those that are not used."""
    random = building_generator(seed, "twin", building.id)
    factor = float(1 + spec.heights * random.uniform(-1, 1))
    missing = bool(random.uniform() < spec.missing)
    east, north = (spec.moved * random.normal(size=2)).tolist()
    if missing:
        return building, {"missing": True}
    change: dict[str, Any] = {}
    if spec.heights:
        building = replace(
            building, base=building.base * factor, top=building.top * factor, top_std=building.top_std * factor
        )
        change["height_factor"] = factor
    if spec.moved:
        outline = building.outline and translate(building.outline, east, north)
        building = replace(building, footprint=translate(building.footprint, east, north), outline=outline)
        change["moved"] = [east, north]
    if donor is not None:
        building = _with_materials_of(building, donor)
        change["materials_of"] = donor.id
    return building, change


def _donors(extract: MapExtract, seed: int) -> Mapping[str, Building]:
    """For each building the one whose materials it gets: the next in an order of seed and ids."""
    order = sorted(extract.buildings, key=lambda b: hashlib.sha256(f"{seed} {b.id}".encode()).digest())
    return {building.id: donor for building, donor in zip(order, [*order[1:], *order[:1]], strict=True)}


def _with_materials_of(building: Building, donor: Building) -> Building:
    """The building with tags for the donor's material classes; its other tags stay."""
    classes = classify_surfaces(donor.tags)
    tags = {key: value for key, value in building.tags.items() if key not in (*WALL_TAGS, *ROOF_TAGS)}
    return replace(building, tags=tags | {"building:material": classes.wall, "roof:material": classes.roof})


# ---- the text ------------------------------------------------------------------------------------------
