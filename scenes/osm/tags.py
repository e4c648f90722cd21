"""Numbers in OSM tags, which mappers write in many forms."""

import re
from collections.abc import Mapping

STOREY_HEIGHT = (
    3.6  # metres of one storey: median of height over levels in 363 buildings that tag both, most in New York
)
ROOF_STOREY_FRACTION = 0.5  # of a storey: about half of the volume of a pitched roof is outside
PASSAGE_CLEARANCE = 4.5  # metres: what roads need below a bridge, 4.2 to 4.9 m by country
MAX_LENGTH = 1000.0  # metres: nothing is taller, so a larger number is a mistake
METRES_PER_FOOT = 0.3048

_LENGTH = re.compile(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*(m|metres?|meters?|ft|feet|foot|'|′)?", re.I)
_FEET_AND_INCHES = re.compile(r"(\d+)\s*(?:'|′|ft)\s*(\d+(?:\.\d+)?)\s*(?:\"|″|''|in)", re.I)


def parse_length(text: str | None) -> float | None:
    """Length in metres of `12`, `12 m`, `12,5`, `40'`, `40 ft`, `5'6"`; the largest of a list (`3;2;1`).

    None for anything else: words, signs, 0, numbers larger than `MAX_LENGTH`.
    """
    lengths = [value for field in (text or "").split(";") if (value := _length(field.strip())) is not None]
    return max(lengths, default=None)


def _length(text: str) -> float | None:
    if match := _FEET_AND_INCHES.fullmatch(text):
        value = (float(match[1]) + float(match[2]) / 12) * METRES_PER_FOOT
    elif match := _LENGTH.fullmatch(text):
        value = float(match[1].replace(",", ".")) * (METRES_PER_FOOT if (match[2] or "m")[0].lower() in "f'′" else 1.0)
    else:
        return None
    return value if 0 < value <= MAX_LENGTH else None


def parse_count(text: str | None) -> float | None:
    """Number of levels or lanes, `2` or `2,5`; the largest of a list. None for 0 and for anything else."""
    fields = [field.strip().replace(",", ".") for field in (text or "").split(";")]
    numbers = [float(field) for field in fields if re.fullmatch(r"\d{1,3}(\.\d+)?", field)]
    return max(numbers, default=0.0) or None


def level_count(tags: Mapping[str, str]) -> float | None:
    """Storeys above the ground: `building:levels`, and a part of each of `roof:levels`; None without levels."""
    roof = ROOF_STOREY_FRACTION * (parse_count(tags.get("roof:levels")) or 0.0)
    return (parse_count(tags.get("building:levels")) or 0.0) + roof or None


def height_from_levels(tags: Mapping[str, str], storey: float = STOREY_HEIGHT) -> float | None:
    """Height in metres of all levels, each of `storey` metres, or None without levels."""
    height = (level_count(tags) or 0.0) * storey
    return height if 0 < height <= MAX_LENGTH else None


def wall_base(tags: Mapping[str, str], storey: float = STOREY_HEIGHT) -> float:
    """Height in metres at which walls begin: `min_height`, else `building:min_level` times `storey`, else 0."""
    levels = parse_count(tags.get("building:min_level")) or 0.0
    return parse_length(tags.get("min_height")) or levels * storey
