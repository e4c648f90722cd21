"""From OpenStreetMap's tags to classes of ITU-R P.2040: of what are the walls, the roof, the ground?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from scenes.materials.itu_p2040 import ITU_CLASSES

MaterialOrigin = Literal["tag", "type", "prior"]
"""a material tag said so; the kind of building suggests it; nothing is known of it"""


@dataclass(frozen=True, kw_only=True)
class SurfaceMaterials:
    """Materials of a building by name, and how each is known."""

    wall: str
    roof: str
    wall_origin: MaterialOrigin = "prior"
    roof_origin: MaterialOrigin = "prior"


WALL_TAGS = ("building:facade:material", "facade:material", "building:material", "building:cladding", "material")
ROOF_TAGS = ("roof:material", "building:roof:material", "roof:cladding")
TYPE_TAGS = ("building", "building:part", "building:use")
DEFAULT_CLASS = "concrete"

# Values of the wiki's pages Key:building:material and Key:roof:material, the outermost layer that carries load:
# plaster and render are thin on masonry or concrete, tar paper, gravel and grass lie on a concrete deck.
_VALUES_BY_CLASS = {
    "concrete": "cement reinforced_concrete concrete_block concrete_blocks cement_block cement_blocks plaster stucco "
    "render eternit fibre_cement tar_paper asphalt bitumen bituminous gravel stones grass green tile_concrete",
    "brick": "bricks brickwork masonry clay adobe rammed_earth roof_tiles roof_tile tile tiles terracotta ceramic",
    "marble": "stone sandstone limestone granite slate natural_stone basalt travertine",
    "wood": "timber timber_framing half_timbered log logs bamboo thatch reed shingle",
    "glass": "mirror glass_wall solar_panels acrylic_glass",
    "metal": "steel iron aluminium aluminum copper tin zinc lead metal_plates metal_sheet corrugated_metal "
    "corrugated_iron sheet_metal",
    "plasterboard": "drywall gypsum",
}
CLASS_BY_VALUE = {word: name for name, words in _VALUES_BY_CLASS.items() for word in words.split()} | {
    name: name for name in ITU_CLASSES
}

# (wall, roof) where the kind of building makes one likely; all others are of concrete.
_TYPES_BY_CLASSES = {
    ("brick", "brick"): "house detached semidetached_house terrace bungalow farm villa school kindergarten",
    ("wood", "wood"): "shed hut cabin barn stable sty cowshed farm_auxiliary boathouse",
    ("wood", "metal"): "garage garages carport kiosk container demountable",
    ("metal", "metal"): "industrial warehouse hangar manufacture silo storage_tank stadium grandstand roof",
    ("glass", "glass"): "greenhouse greenhouse_horticulture conservatory",
    ("marble", "marble"): "church cathedral chapel monastery temple synagogue castle palace monument",
}
CLASSES_BY_TYPE = {word: surfaces for surfaces, words in _TYPES_BY_CLASSES.items() for word in words.split()}

# By kind of cover; what no feature covers in a city is paved, and of asphalt P.2040 knows nothing: concrete is nearest.
# Nor does it know open water, of which wet ground (ε_r 18 at 3.5 GHz) is the nearest; ITU-R P.527 has 80 or so, which
# reflects up to 2 dB more. Ground proper (`…_ground`) is defined from 1 to 10 GHz only: a tile that holds it refuses
# other carriers (`Tile.require_carrier`).
CLASS_BY_LAND_COVER = {
    "open": "concrete",
    "road": "concrete",
    "path": "very_dry_ground",
    "water": "wet_ground",
    "green": "medium_dry_ground",
}


def classify_surfaces(tags: Mapping[str, str]) -> SurfaceMaterials:
    """Classes of a building's wall and roof: its material tags first, then its kind, then concrete.

    Of several values (`brick;glass`) the first known one counts; a value that nobody knows counts as none.
    """
    kinds = (CLASSES_BY_TYPE.get(word) for word in _tag_values(tags, TYPE_TAGS))
    kind = next((kind for kind in kinds if kind), None)
    likely, origin = (kind, "type") if kind else ((DEFAULT_CLASS, DEFAULT_CLASS), "prior")
    wall, roof = _class_from_tags(tags, WALL_TAGS), _class_from_tags(tags, ROOF_TAGS)
    return SurfaceMaterials(
        wall=wall or likely[0],
        roof=roof or likely[1],
        wall_origin="tag" if wall else origin,
        roof_origin="tag" if roof else origin,
    )


def _class_from_tags(tags: Mapping[str, str], keys: Iterable[str]) -> str | None:
    return next((CLASS_BY_VALUE[word] for word in _tag_values(tags, keys) if word in CLASS_BY_VALUE), None)


def _tag_values(tags: Mapping[str, str], keys: Iterable[str]) -> Iterable[str]:
    """Values of the keys in order, in lower case, several of a key one after the other."""
    for key in keys:
        for word in tags.get(key, "").split(";"):
            yield word.strip().lower().replace(" ", "_")
