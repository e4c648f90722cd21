"""What of a map's buildings has walls on the ground, by the tags that say otherwise.

Underground stations, roofs on posts and bridges are mapped as buildings, too; extruded from the ground they would be
walls in streets.
"""

import re
from collections.abc import Mapping

from scenes.osm.files.feature_table import BUILDING_KEYS
from scenes.osm.tags import PASSAGE_CLEARANCE, parse_count, parse_length

ROOFS_WITHOUT_WALLS = ("roof", "carport", "canopy", "awning", "pergola", "sunshade", "gas_canopy")
UNBUILT_VALUES = (
    "proposed",
    "planned",
    "demolished",
    "razed",
    "removed",
    "destroyed",
    "dismantled",
    "abandoned:removed",
)
PASSAGE_VALUES = (
    "bridge", "footbridge", "pedestrian_bridge", "skybridge", "skywalk", "skyway", "walkway", "passage", "passageway",
    "viaduct", "aqueduct", "gangway", "jet_bridge", "conveyor", "conveyor_bridge",
)  # fmt: skip
TUNNELS_ABOVE_GROUND = ("no", "building_passage", "avalanche_protector")


def reason_without_walls(tags: Mapping[str, str]) -> str | None:
    """Why a building of a map has no walls on the ground, or None.

    Example:
        >>> reason_without_walls({"building": "yes", "tunnel": "yes"})
        'underground: tunnel=yes'
    """
    for key in BUILDING_KEYS:
        if tags.get(key) in ROOFS_WITHOUT_WALLS:
            return f"{key}={tags[key]}: a roof without walls"
        if tags.get(key) in UNBUILT_VALUES:
            return f"{key}={tags[key]}: it does not stand"
    for key in ("wall", "walls"):
        if tags.get(key) == "no":
            return f"{key}=no: a roof without walls"
    if all(tags.get(key, "no") == "no" for key in BUILDING_KEYS):
        return f"{next(key for key in BUILDING_KEYS if key in tags)}=no"
    depth = _underground(tags)
    return f"underground: {depth}" if depth else None


def _underground(tags: Mapping[str, str]) -> str | None:
    """The tag that puts a building under the ground, or None.

    A negative layer or a garage under the ground alone do not: where the same tags give a height or storeys, the
    building stands beside something higher, or above its garage.
    """
    for key in BUILDING_KEYS:
        if tags.get(key) in ("underground", "subway"):
            return f"{key}={tags[key]}"
    for key, values in (("location", ("underground", "underwater", "subsurface")), ("underground", ("yes", "true"))):
        if tags.get(key) in values:
            return f"{key}={tags[key]}"
    if tags.get("tunnel", "no") not in TUNNELS_ABOVE_GROUND:
        return f"tunnel={tags['tunnel']}"
    for key in ("level", "max_level", "building:max_level", "building:levels"):
        if _are_all_negative(tags.get(key, "")):
            return f"{key}={tags[key]}"
    if (
        parse_length(tags.get("height"))
        or parse_count(tags.get("building:levels"))
        or parse_count(tags.get("roof:levels"))
    ):
        return None
    if tags.get("parking") == "underground":
        return "parking=underground, and no level above the ground"
    if tags.get("building:levels") == "0" and parse_count(tags.get("building:levels:underground")):
        return "building:levels=0, and levels below"
    return (
        f"layer={tags['layer']}, and no height above the ground" if _are_all_negative(tags.get("layer", "")) else None
    )


def _are_all_negative(text: str) -> bool:
    """Whether a number, a list or a range of numbers (`-1`, `-1;-2`, `-2--1`) is below 0 throughout."""
    numbers = re.findall(r"(?<![\d.])-?\d+(?:\.\d+)?", text)
    is_list = re.fullmatch(r"\s*-?\d+(\.\d+)?(\s*(;|,|-)\s*-?\d+(\.\d+)?)*\s*", text)
    return bool(is_list and numbers) and all(float(number) < 0 for number in numbers)


def is_passage(tags: Mapping[str, str]) -> bool:
    """Whether a building is a bridge: a passage above a street, open below.

    Example:
        >>> is_passage({"building": "bridge", "layer": "1"})
        True
    """
    if any(tags.get(key) in PASSAGE_VALUES for key in BUILDING_KEYS) or tags.get("bridge", "no") != "no":
        return True
    is_corridor = tags.get("indoor") == "corridor" or tags.get("highway") in ("footway", "corridor")
    return tags.get("man_made") == "bridge" or (is_corridor and layer_of(tags) > 0)


def layer_of(tags: Mapping[str, str]) -> float:
    """The layer of a feature; 0 where none is given."""
    text = tags.get("layer", "").strip()
    return float(text) if re.fullmatch(r"[-+]?\d{1,2}(\.\d+)?", text) else 0.0


def passage_clearance(tags: Mapping[str, str], storey: float) -> float:
    """Height in metres at which a bridge without a height begins: what vehicles need, and a storey for each layer."""
    return PASSAGE_CLEARANCE + max(layer_of(tags) - 1.0, 0.0) * storey
