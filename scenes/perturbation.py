"""How a tile is to differ from the truth: the description and its parser. No framework is imported here."""

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


def parse_perturbation(text: str) -> Perturbation:
    """`heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m`, each part optional.

    Shares have no unit, lengths end in `m`, angles in `deg`; `antenna` takes an angle, a length or both.
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
    if key not in PERTURBATION_KEYS:
        close = difflib.get_close_matches(key, PERTURBATION_KEYS, n=1)
        hint = f"perhaps you meant {close[0]}; " if close else ""
        raise UelError("unknown perturbation", got=key, do=f"{hint}{_usage()}")


def _usage() -> str:
    return "write heights=0.2,missing=0.1,moved=2m,materials=swap,antenna=10deg,3m or a part of it"


def _single_word(key: str, words: list[str]) -> str:
    if len(words) != 1:
        raise UelError(f"{key} takes one value", got=", ".join(words), do=_usage())
    return words[0]


def _parse_swap(word: str) -> bool:
    if word != "swap":
        raise UelError("materials can be swapped, nothing else", got=word, do="write materials=swap")
    return True


def _parse_antenna(words: list[str]) -> dict[str, float]:
    """An angle, a length, or one of each."""
    units = {"deg": "azimuth_deg", "m": "antenna_height"}
    values: dict[str, float] = {}
    for word in words:
        unit = re.sub(r"^[\d.+\-eE]*", "", word).strip()
        if unit not in units or units[unit] in values:
            raise UelError("antenna takes degrees and metres", got=", ".join(words), do="write antenna=10deg,3m")
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
        do = f"write {example}" + ("" if unit else ", a share without a unit")
        raise UelError(f"{key} has a wrong value or unit", got=repr(word), do=do) from error
