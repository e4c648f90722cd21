"""Heights that the type of a building suggests, and the groups of types that are alike in height."""

from collections.abc import Mapping

DEFAULT_HEIGHT = 8.0  # metres: two storeys, the most common building of most maps
HEIGHT_AND_TYPES = {  # a group of types, its height in metres
    "small": (
        3.0,
        "garage garages carport shed hut kiosk greenhouse cabin toilets guardhouse gatehouse container bunker "
        "substation tent conservatory",
    ),
    "shop": (6.0, "retail supermarket service farm_auxiliary stable barn cowshed sty"),
    "house": (7.0, "house detached semidetached_house semi terrace bungalow farm villa static_caravan allotment_house"),
    "hall": (9.0, "industrial warehouse hangar sports_hall sports_centre train_station manufacture riding_hall"),
    "public": (12.0, "school kindergarten university college hospital civic public"),
    "block": (15.0, "apartments residential dormitory hotel office commercial"),
    "worship": (18.0, "church cathedral mosque temple synagogue chapel monastery religious shrine"),
}
GROUP_BY_TYPE = {word: group for group, (_, words) in HEIGHT_AND_TYPES.items() for word in words.split()}
MIXED_GROUPS = ("", "block", "public")  # of all heights: what stands around tells more than the type
TYPE_BY_USE = {  # (key, value) of other tags, where `building` says only yes
    ("amenity", "place_of_worship"): "church",
    ("amenity", "school"): "school",
    ("amenity", "kindergarten"): "kindergarten",
    ("amenity", "toilets"): "toilets",
    ("amenity", "hospital"): "hospital",
    ("amenity", "university"): "university",
    ("power", "substation"): "substation",
    ("power", "transformer"): "substation",
    ("shop", "supermarket"): "supermarket",
    ("shop", "kiosk"): "kiosk",
    ("leisure", "sports_centre"): "sports_hall",
}


def building_type(tags: Mapping[str, str]) -> str:
    """The type of a building: `building` or `building:part`, or what its use says where these say only `yes`."""
    kind = tags.get("building", tags.get("building:part", "yes"))
    if kind != "yes":
        return kind
    return next((word for (key, value), word in TYPE_BY_USE.items() if tags.get(key) == value), "yes")


def building_group(tags: Mapping[str, str]) -> str:
    """The group of a building's type; empty for an unknown type."""
    return GROUP_BY_TYPE.get(building_type(tags), "")


def height_by_type(tags: Mapping[str, str]) -> float:
    """The height in metres that the type suggests.

    Example:
        >>> height_by_type({"building": "church"}), height_by_type({"building": "yes"})
        (18.0, 8.0)
    """
    group = building_group(tags)
    return HEIGHT_AND_TYPES[group][0] if group else DEFAULT_HEIGHT
