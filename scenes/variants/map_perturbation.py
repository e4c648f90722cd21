"""Wrong twins: the same place, but not quite – heights, walls, materials and masts as a map might have them wrong."""

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


def perturb_map(place: MapExtract, spec: Perturbation, seed: int) -> tuple[MapExtract, dict[str, Any]]:
    """The wrong twin of a place, and what is wrong with it for `tile.json`: by building id, what was changed.

    Every building has random numbers of its own (by `seed` and id; the pieces of a multipolygon share them), so
    that one kind of error shifts no other, and a building is as wrong in a larger tile as in a smaller one;
    materials go round among the buildings that the place has. Missing buildings become exclusions.
    """
    donors = _donors(place, seed) if spec.materials else {}
    pairs = [_perturb_building(building, spec, seed, donors.get(building.id)) for building in place.buildings]
    changed = {building.id: change for building, (_, change) in zip(place.buildings, pairs, strict=True) if change}
    gone = [Exclusion(id=name, reason="missing in the wrong twin") for name, c in changed.items() if "missing" in c]
    buildings = tuple(wrong for wrong, change in pairs if "missing" not in change)
    twin = replace(place, buildings=buildings, exclusions=(*place.exclusions, *gone))
    return twin, {"spec": asdict(spec), "seed": seed, "buildings": changed}


def require_several_classes(place: MapExtract) -> None:
    """Raise `UelError` where swapping classes of materials changes nothing, as in a city of which maps tell none."""
    found = {
        (classes.wall, classes.roof) for classes in (classify_surfaces(building.tags) for building in place.buildings)
    }
    if len(found) < 2:
        raise UelError(
            "materials=swap changes nothing here: all buildings are alike",
            got=f"{place.name}: {len(place.buildings)} buildings of {' under '.join(*found)}",
            do="add --materials drawn, which gives each its own, or choose a place whose map tells materials",
        )


def perturb_sites(
    sites: tuple[Site, ...], spec: Perturbation, seed: int, tile: Tile | None = None
) -> tuple[tuple[Site, ...], list[dict[str, Any]]]:
    """Masts as somebody believes them to be, and by how much each is off: metres and, for each cell, degrees.

    Each site draws by `seed` and its number. With `tile` (the twin's) a mast that would stand inside a wall is
    raised to 1 m above the roof, and the record says how high that is.
    """
    wrong, record = [], []
    for number, site in enumerate(sites):
        random = building_generator(seed, "site", str(number))
        off = float(spec.antenna_height * random.normal())
        turned = (spec.azimuth_deg * random.normal(size=len(site.cells))).tolist()
        x, y, z = site.position
        top = tile.min_mast_z(x, y) if tile else -math.inf
        cells = tuple(
            replace(cell, azimuth_deg=(cell.azimuth_deg + turn) % 360) if turn else cell
            for cell, turn in zip(site.cells, turned, strict=True)
        )
        wrong.append(Site(position=(x, y, max(z + off, top)), cells=cells))
        record.append({"height": off, "azimuth_deg": turned} | ({"raised_to": top} if z + off < top else {}))
    return tuple(wrong), record


def _perturb_building(
    building: Building, spec: Perturbation, seed: int, donor: Building | None
) -> tuple[Building, dict[str, Any]]:
    """The building as it is in the twin, and what is different; all numbers are drawn, whatever is used."""
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
        whole = building.whole and translate(building.whole, east, north)
        building = replace(building, footprint=translate(building.footprint, east, north), whole=whole)
        change["moved"] = [east, north]
    if donor is not None:
        building = _with_materials_of(building, donor)
        change["materials_of"] = donor.id
    return building, change


def _donors(place: MapExtract, seed: int) -> Mapping[str, Building]:
    """For each building the one whose materials it gets: the next in an order that seed and ids give."""
    order = sorted(place.buildings, key=lambda b: hashlib.sha256(f"{seed} {b.id}".encode()).digest())
    return {building.id: donor for building, donor in zip(order, [*order[1:], *order[:1]], strict=True)}


def _with_materials_of(building: Building, donor: Building) -> Building:
    """With the donor's classes, said by tags of their own: the kind of building, which also tells, stays."""
    classes = classify_surfaces(donor.tags)
    tags = {key: value for key, value in building.tags.items() if key not in (*WALL_TAGS, *ROOF_TAGS)}
    return replace(building, tags=tags | {"building:material": classes.wall, "roof:material": classes.roof})


# ---- the text ------------------------------------------------------------------------------------------
