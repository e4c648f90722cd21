"""Wrong twins: the same place, but not quite – heights, walls, materials and masts as a map might have them wrong."""

import difflib
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shapely.affinity import translate

from scenes.materials.osm_materials import ROOF_TAGS, WALL_TAGS, classify
from scenes.materials.random_materials import stream
from scenes.osm.map_features import Building, Exclusion, MapExtract
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import Site

KEYS = ("heights", "missing", "moved", "materials", "antenna")


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """How wrong a twin is; nothing is wrong by default."""

    heights: float = 0.0
    """each building is higher or lower by a factor drawn evenly from 1 - heights to 1 + heights, below 1"""
    missing: float = 0.0
    """chance of each building to be missing, 0 to 1"""
    moved: float = 0.0
    """standard deviation in metres by which each building is moved, east and north alike"""
    materials: bool = False
    """each building has the wall and roof of another one, in turn over all of them in random order; of drawn materials
    the other one's values"""
    azimuth_deg: float = 0.0
    """standard deviation of each cell's azimuth in degrees"""
    antenna_height: float = 0.0
    """standard deviation of each mast's height in metres"""

    def __post_init__(self) -> None:
        lengths = (self.moved, self.azimuth_deg, self.antenna_height)
        if not (0 <= self.heights < 1 and 0 <= self.missing <= 1 and all(0 <= x < math.inf for x in lengths)):
            raise UelError(
                "no twin is wrong like this",
                got=self,
                do="give heights from 0 to below 1, missing from 0 to 1, and deviations that are not negative",
            )


def parse(text: str) -> Perturbation:
    """`heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m`, each part optional.

    Shares have no unit, lengths end in `m`, angles in `deg`; `antenna` takes an angle, a length or both.
    Raises `UelError` for unknown, repeated or empty keys and for wrong units.
    """
    values: dict[str, Any] = {}
    for key, words in _keys(text).items():
        if key in ("heights", "missing"):
            values[key] = _quantity(key, _only(key, words), "")
        elif key == "moved":
            values[key] = _quantity(key, _only(key, words), "m")
        elif key == "materials":
            values[key] = _swap(_only(key, words))
        else:
            values |= _antenna(words)
    return Perturbation(**values)


def perturb_map(place: MapExtract, spec: Perturbation, seed: int) -> tuple[MapExtract, dict[str, Any]]:
    """The wrong twin of a place, and what is wrong with it for `tile.json`: by building id, what was changed.

    Every building has random numbers of its own (by `seed` and id; the pieces of a multipolygon share them), so
    that one kind of error shifts no other, and a building is as wrong in a larger tile as in a smaller one;
    materials go round among the buildings that the place has. Missing buildings become exclusions.
    """
    donors = _donors(place, seed) if spec.materials else {}
    pairs = [_wrong(building, spec, seed, donors.get(building.id)) for building in place.buildings]
    changed = {building.id: change for building, (_, change) in zip(place.buildings, pairs, strict=True) if change}
    gone = [Exclusion(id=name, reason="missing in the wrong twin") for name, c in changed.items() if "missing" in c]
    buildings = tuple(wrong for wrong, change in pairs if "missing" not in change)
    twin = replace(place, buildings=buildings, exclusions=(*place.exclusions, *gone))
    return twin, {"spec": asdict(spec), "seed": seed, "buildings": changed}


def require_variety(place: MapExtract) -> None:
    """Raise `UelError` where swapping classes of materials changes nothing, as in a city of which maps tell none."""
    found = {(classes.wall, classes.roof) for classes in (classify(building.tags) for building in place.buildings)}
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
        random = stream(seed, "site", str(number))
        off = float(spec.antenna_height * random.normal())
        turned = (spec.azimuth_deg * random.normal(size=len(site.cells))).tolist()
        x, y, z = site.position
        top = tile.standing(x, y) if tile else -math.inf
        cells = tuple(
            replace(cell, azimuth_deg=(cell.azimuth_deg + turn) % 360) if turn else cell
            for cell, turn in zip(site.cells, turned, strict=True)
        )
        wrong.append(Site(position=(x, y, max(z + off, top)), cells=cells))
        record.append({"height": off, "azimuth_deg": turned} | ({"raised_to": top} if z + off < top else {}))
    return tuple(wrong), record


def _wrong(
    building: Building, spec: Perturbation, seed: int, donor: Building | None
) -> tuple[Building, dict[str, Any]]:
    """The building as it is in the twin, and what is different; all numbers are drawn, whatever is used."""
    random = stream(seed, "twin", building.id)
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
        building = _dressed(building, donor)
        change["materials_of"] = donor.id
    return building, change


def _donors(place: MapExtract, seed: int) -> Mapping[str, Building]:
    """For each building the one whose materials it gets: the next in an order that seed and ids give."""
    order = sorted(place.buildings, key=lambda b: hashlib.sha256(f"{seed} {b.id}".encode()).digest())
    return {building.id: donor for building, donor in zip(order, [*order[1:], *order[:1]], strict=True)}


def _dressed(building: Building, donor: Building) -> Building:
    """With the donor's classes, said by tags of their own: the kind of building, which also tells, stays."""
    classes = classify(donor.tags)
    tags = {key: value for key, value in building.tags.items() if key not in (*WALL_TAGS, *ROOF_TAGS)}
    return replace(building, tags=tags | {"building:material": classes.wall, "roof:material": classes.roof})


# ---- the text ------------------------------------------------------------------------------------------


def _keys(text: str) -> dict[str, list[str]]:
    """Words by key; a word without `=` belongs to the key before it."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals:
            _require_new(key, found)
            words = found[key] = [value]
        elif not found:
            raise UelError("a perturbation is a list of key=value", got=repr(text), do=_usage())
        else:
            words.append(key)
    return found


def _require_new(key: str, found: Mapping[str, Any]) -> None:
    if key in found:
        raise UelError("a perturbation says something twice", got=key, do="say it once")
    if key not in KEYS:
        close = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError("unknown perturbation", got=key, do=f"{hint}{_usage()}")


def _usage() -> str:
    return "write heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m or a part of it"


def _only(key: str, words: list[str]) -> str:
    if len(words) != 1:
        raise UelError(f"{key} takes one value", got=", ".join(words), do=_usage())
    return words[0]


def _swap(word: str) -> bool:
    if word != "swap":
        raise UelError("materials can be swapped, nothing else", got=word, do="write materials=swap")
    return True


def _antenna(words: list[str]) -> dict[str, float]:
    """An angle, a length, or one of each."""
    units = {"deg": "azimuth_deg", "m": "antenna_height"}
    values: dict[str, float] = {}
    for word in words:
        unit = re.sub(r"^[\d.+\-eE]*", "", word).strip()
        if unit not in units or units[unit] in values:
            raise UelError("antenna takes degrees and metres", got=", ".join(words), do="write antenna=10deg,3m")
        values[units[unit]] = _quantity("antenna", word, unit)
    return values


def _quantity(key: str, word: str, unit: str) -> float:
    number = word.removesuffix(unit).strip()
    try:
        if not word.endswith(unit):
            raise ValueError("another unit")
        return float(number)
    except ValueError as error:
        example = {"": f"{key}=0.2", "m": f"{key}=2m", "deg": f"{key}=10deg"}[unit]
        do = f"write {example}" + ("" if unit else ", a share without a unit")
        raise UelError(f"{key} has a wrong value or unit", got=repr(word), do=do) from error
