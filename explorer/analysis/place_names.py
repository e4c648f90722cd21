"""Names of places for people."""

import re
from typing import Any


def place_label(name: str, place: object = None, center: Any = None) -> str:
    """The name of a tile for people.

    Args:
        name: of the tile, or `city@east,north` as a configuration has it.
        place, center: the tile's own record of its city, and of its middle in metres from the city's (east, north).

    Example:
        >>> from explorer.analysis.place_names import place_label
        >>> place_label("munich-300-150", "munich", [-300, -150])
        'Munich, 300 m west and 150 m south'
        >>> place_label("florence@0,100")
        'Florence, 100 m north'
        >>> place_label("san_francisco")
        'San Francisco'
        >>> place_label("paris-2024-05")
        'Paris-2024-05'
    """
    if match := re.fullmatch(r"(\w+)@(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?)", name):
        return _with_offset(match[1], float(match[2]), float(match[3]))
    if isinstance(place, str) and isinstance(center, list | tuple) and len(center) == 2:
        east, north = (float(v) if isinstance(v, int | float) else 0.0 for v in center)
        if name == f"{place}{east:+g}{north:+g}":
            return _with_offset(place, east, north)
    return _capital(name)


def _with_offset(city: str, east: float, north: float) -> str:
    parts = [(east, "east", "west"), (north, "north", "south")]
    words = [f"{abs(metres):g} m {ahead if metres > 0 else back}" for metres, ahead, back in parts if metres]
    return ", ".join([_capital(city), *([" and ".join(words)] if words else [])])


def _capital(name: str) -> str:
    """A name in words with capitals: `san_francisco` is San Francisco."""
    return " ".join(word[:1].upper() + word[1:] for word in name.replace("_", " ").split()) or name
