"""Material classes of ITU-R P.2040 for walls, roofs and ground, from OpenStreetMap tags."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from scenes.materials.itu_p2040 import ITU_CLASSES

MaterialOrigin = Literal["tag", "type", "prior"]
"""tag: from a material tag; type: likely for the type of building; prior: the default, nothing is known"""


@dataclass(frozen=True, kw_only=True)
class SurfaceMaterials:
    """Names of a building's wall and roof materials, and where each comes from."""

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

# (wall, roof) for types of building that make a material likely; all others are of concrete.
_TYPES_BY_CLASSES = {
    ("brick", "brick"): "house detached semidetached_house terrace bungalow farm villa school kindergarten",
    ("wood", "wood"): "shed hut cabin barn stable sty cowshed farm_auxiliary boathouse",
    ("wood", "metal"): "garage garages carport kiosk container demountable",
    ("metal", "metal"): "industrial warehouse hangar manufacture silo storage_tank stadium grandstand roof",
    ("glass", "glass"): "greenhouse greenhouse_horticulture conservatory",
    ("marble", "marble"): "church cathedral chapel monastery temple synagogue castle palace monument",
}
CLASSES_BY_TYPE = {word: surfaces for surfaces, words in _TYPES_BY_CLASSES.items() for word in words.split()}

# Ground without a feature is paved in a city. P.2040 defines neither asphalt, for which concrete is nearest, nor open
# water, for which wet ground (ε_r 18 at 3.5 GHz) is nearest: water has about 80 in ITU-R P.527 and reflects up to 2 dB
# more. Soils (`…_ground`) are defined from 1 to 10 GHz only: a tile with soil refuses other carriers
# (`Tile.require_carrier`).
CLASS_BY_LAND_COVER = {
    "open": "concrete",
    "road": "concrete",
    "path": "very_dry_ground",
    "water": "wet_ground",
    "green": "medium_dry_ground",
}


def classify_surfaces(tags: Mapping[str, str]) -> SurfaceMaterials:
    """Material classes of a building's wall and roof: from its material tags, else its type, else concrete.

    The first known one of several values (`brick;glass`) counts; unknown values are ignored.
    """
    kinds = (CLASSES_BY_TYPE.get(word) for word in _tag_values(tags, TYPE_TAGS))
    kind = next((kind for kind in kinds if kind), None)
    default, origin = (kind, "type") if kind else ((DEFAULT_CLASS, DEFAULT_CLASS), "prior")
    wall, roof = _class_from_tags(tags, WALL_TAGS), _class_from_tags(tags, ROOF_TAGS)
    return SurfaceMaterials(
        wall=wall or default[0],
        roof=roof or default[1],
        wall_origin="tag" if wall else origin,
        roof_origin="tag" if roof else origin,
    )


def _class_from_tags(tags: Mapping[str, str], keys: Iterable[str]) -> str | None:
    return next((CLASS_BY_VALUE[word] for word in _tag_values(tags, keys) if word in CLASS_BY_VALUE), None)


def _tag_values(tags: Mapping[str, str], keys: Iterable[str]) -> Iterable[str]:
    """Values of the keys in their order, in lower case; the values of a list one after the other."""
    for key in keys:
        for word in tags.get(key, "").split(";"):
            yield word.strip().lower().replace(" ", "_")
