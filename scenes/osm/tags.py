"""Numbers in tags, which people type as they like."""

import re
from collections.abc import Mapping

LEVEL = 3.6  # metres of one storey: median of height over levels in 363 buildings that tag both, most in New York
ROOF_LEVEL = 0.5  # of a storey: beneath a pitched roof, about half of it is air outside
HIGHEST = 1000.0  # metres: nothing is higher, so a larger number is a slip
FOOT = 0.3048

_LENGTH = re.compile(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*(m|metres?|meters?|ft|feet|foot|'|′)?", re.I)
_FEET_AND_INCHES = re.compile(r"(\d+)\s*(?:'|′|ft)\s*(\d+(?:\.\d+)?)\s*(?:\"|″|''|in)", re.I)


def metres(text: str | None) -> float | None:
    """A length in metres: `12`, `12 m`, `12,5`, `40'`, `40 ft`, `5'6"`; of a list (`3;2;1`) the largest.

    None for anything else: words, signs, numbers that are 0 or larger than `HIGHEST`.
    """
    found = [value for field in (text or "").split(";") if (value := _length(field.strip())) is not None]
    return max(found, default=None)


def _length(text: str) -> float | None:
    if both := _FEET_AND_INCHES.fullmatch(text):
        value = (float(both[1]) + float(both[2]) / 12) * FOOT
    elif one := _LENGTH.fullmatch(text):
        value = float(one[1].replace(",", ".")) * (FOOT if (one[2] or "m")[0].lower() in "f'′" else 1.0)
    else:
        return None
    return value if 0 < value <= HIGHEST else None


def count(text: str | None) -> float | None:
    """A number of levels or lanes, `2` or `2,5`; of a list the largest. None for anything else and for none."""
    fields = [field.strip().replace(",", ".") for field in (text or "").split(";")]
    found = [float(field) for field in fields if re.fullmatch(r"\d{1,3}(\.\d+)?", field)]
    return max(found, default=0.0) or None


def storeys(tags: Mapping[str, str]) -> float | None:
    """Height in metres that `building:levels` and `roof:levels` add up to, or None."""
    roof = ROOF_LEVEL * (count(tags.get("roof:levels")) or 0.0)
    total = (count(tags.get("building:levels")) or 0.0) + roof
    return total * LEVEL if total * LEVEL <= HIGHEST and total else None


def base(tags: Mapping[str, str]) -> float:
    """Height in metres at which walls begin: `min_height`, else `building:min_level`, else 0."""
    levels = count(tags.get("building:min_level")) or 0.0
    return metres(tags.get("min_height")) or levels * LEVEL
