"""How a tile is made to differ from the true one: the parameters and their parser. No framework is imported here."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uel.errors import UelError

PERTURBATION_KEYS = ("heights", "missing", "moved", "materials", "antenna")


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """Errors that a perturbed tile gets; none by default.

    Raises:
        UelError: for fractions outside 0 to 1 and negative deviations.

    Example:
        >>> import scenes
        >>> scenes.Perturbation(heights=0.2, missing=0.1, azimuth_deg=10.0).moved
        0.0
    """

    heights: float = 0.0
    """each building's height is multiplied by a factor drawn uniformly from 1 - heights to 1 + heights; below 1"""
    missing: float = 0.0
    """probability of each building to be missing, 0 to 1"""
    moved: float = 0.0
    """standard deviation in metres of each building's displacement, east and north alike"""
    materials: bool = False
    """each building gets the wall and roof classes of another one, in a random cyclic order; with drawn materials it
    gets the other one's values"""
    azimuth_deg: float = 0.0
    """standard deviation of each cell's azimuth in degrees"""
    antenna_height: float = 0.0
    """standard deviation of each site's antenna height in metres"""

    def __post_init__(self) -> None:
        limits = {
            "heights": (0 <= self.heights < 1, "from 0 to below 1"),
            "missing": (0 <= self.missing <= 1, "from 0 to 1"),
        }
        for name in ("moved", "azimuth_deg", "antenna_height"):
            limits[name] = (0 <= getattr(self, name) < math.inf, "of 0 or more, and finite")
        for name, (is_valid, limit) in limits.items():
            if not is_valid:
                got = getattr(self, name)
                raise UelError(f"perturbation: {name} is out of range", got=got, do=f"give a number {limit}")


def parse_perturbation(text: str) -> Perturbation:
    """Parse `heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m`; each part is optional.

    Fractions have no unit, lengths end in `m`, angles in `deg`; `antenna` takes an angle, a length or both.
    Raises `UelError` for unknown, repeated or empty keys and for wrong units.
    """
    values: dict[str, Any] = {}
    for key, words in _words_by_key(text).items():
        if key in ("heights", "missing"):
            values[key] = _parse_quantity(key, _single_word(key, words), "")
        elif key == "moved":
            values[key] = _parse_quantity(key, _single_word(key, words), "m")
        elif key == "materials":
            values[key] = _parse_swap(_single_word(key, words))
        else:
            values |= _parse_antenna(words)
    return Perturbation(**values)


def _words_by_key(text: str) -> dict[str, list[str]]:
    """The words of each key; a word without `=` belongs to the key before it."""
    words_by_key: dict[str, list[str]] = {}
    words: list[str] = []
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals:
            _require_new(key, words_by_key)
            words = words_by_key[key] = [value]
        elif not words_by_key:
            raise UelError("the perturbation is not a list of key=value", got=repr(text), do=_usage())
        else:
            words.append(key)
    return words_by_key


def _require_new(key: str, words_by_key: Mapping[str, Any]) -> None:
    if key in words_by_key:
        raise UelError(f"the perturbation gives {key} twice", got=key, do="give each key once")
    if key not in PERTURBATION_KEYS:
        close = difflib.get_close_matches(key, PERTURBATION_KEYS, n=1)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError("unknown key in the perturbation", got=key, do=f"{hint}{_usage()}")


def _usage() -> str:
    return "give heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m or a part of it"


def _single_word(key: str, words: list[str]) -> str:
    if len(words) != 1:
        raise UelError(f"the perturbation's {key} takes one value", got=", ".join(words), do=_usage())
    return words[0]


def _parse_swap(word: str) -> bool:
    if word != "swap":
        raise UelError("the perturbation's materials can only be swap", got=repr(word), do="give materials=swap")
    return True


def _parse_antenna(words: list[str]) -> dict[str, float]:
    """The fields that an angle in degrees and a length in metres set."""
    units = {"deg": "azimuth_deg", "m": "antenna_height"}
    values: dict[str, float] = {}
    for word in words:
        unit = re.sub(r"^[\d.+\-eE]*", "", word).strip()
        if unit not in units or units[unit] in values:
            raise UelError(
                "the perturbation's antenna takes one angle, one length or both",
                got=", ".join(words),
                do="give antenna=10deg,3m",
            )
        values[units[unit]] = _parse_quantity("antenna", word, unit)
    return values


def _parse_quantity(key: str, word: str, unit: str) -> float:
    number = word.removesuffix(unit).strip()
    try:
        if not word.endswith(unit):
            raise ValueError("another unit")
        return float(number)
    except ValueError as error:
        example = {"": f"{key}=0.2", "m": f"{key}=2m", "deg": f"{key}=10deg"}[unit]
        do = f"give {example}" + ("" if unit else ", a fraction without a unit")
        raise UelError(f"the perturbation's {key} has a wrong value or unit", got=repr(word), do=do) from error
