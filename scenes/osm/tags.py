"""Numbers in tags, which people type as they like."""

import re
from collections.abc import Mapping

STOREY_HEIGHT = (
    3.6  # metres of one storey: median of height over levels in 363 buildings that tag both, most in New York
)
ROOF_STOREY_FRACTION = 0.5  # of a storey: beneath a pitched roof, about half of it is air outside
MAX_LENGTH = 1000.0  # metres: nothing is higher, so a larger number is a slip
METRES_PER_FOOT = 0.3048

_LENGTH = re.compile(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*(m|metres?|meters?|ft|feet|foot|'|′)?", re.I)
_FEET_AND_INCHES = re.compile(r"(\d+)\s*(?:'|′|ft)\s*(\d+(?:\.\d+)?)\s*(?:\"|″|''|in)", re.I)


def parse_length(text: str | None) -> float | None:
    """A length in metres: `12`, `12 m`, `12,5`, `40'`, `40 ft`, `5'6"`; of a list (`3;2;1`) the largest.

    None for anything else: words, signs, numbers that are 0 or larger than `MAX_LENGTH`.
    """
    found = [value for field in (text or "").split(";") if (value := _length(field.strip())) is not None]
    return max(found, default=None)


def _length(text: str) -> float | None:
    if both := _FEET_AND_INCHES.fullmatch(text):
        value = (float(both[1]) + float(both[2]) / 12) * METRES_PER_FOOT
    elif one := _LENGTH.fullmatch(text):
        value = float(one[1].replace(",", ".")) * (METRES_PER_FOOT if (one[2] or "m")[0].lower() in "f'′" else 1.0)
    else:
        return None
    return value if 0 < value <= MAX_LENGTH else None


def parse_count(text: str | None) -> float | None:
    """A number of levels or lanes, `2` or `2,5`; of a list the largest. None for anything else and for none."""
    fields = [field.strip().replace(",", ".") for field in (text or "").split(";")]
    found = [float(field) for field in fields if re.fullmatch(r"\d{1,3}(\.\d+)?", field)]
    return max(found, default=0.0) or None


def height_from_levels(tags: Mapping[str, str]) -> float | None:
    """Height in metres that `building:levels` and `roof:levels` add up to, or None."""
    roof = ROOF_STOREY_FRACTION * (parse_count(tags.get("roof:levels")) or 0.0)
    total = (parse_count(tags.get("building:levels")) or 0.0) + roof
    return total * STOREY_HEIGHT if total * STOREY_HEIGHT <= MAX_LENGTH and total else None


def wall_base(tags: Mapping[str, str]) -> float:
    """Height in metres at which walls begin: `min_height`, else `building:min_level`, else 0."""
    levels = parse_count(tags.get("building:min_level")) or 0.0
    return parse_length(tags.get("min_height")) or levels * STOREY_HEIGHT
