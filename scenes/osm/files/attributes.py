"""Names that other makers of building footprints give to heights, storeys and types, as OpenStreetMap's tags.

Overture, Microsoft, Google, national and city data: one dictionary of names without case and punctuation.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scenes.osm.files.feature_table import has_feature_key, id_list
from scenes.osm.tags import parse_count, parse_length
from uel.core.outside.json_text import parse_json
from uel.errors import UelError

# From the best to the worst: what is measured at the roof's top before means and before eaves.
HEIGHT_NAMES = (
    "height", "buildingheight", "bldgheight", "bldghgt", "bldght", "bldgh", "buildinght", "buildinghgt", "hgt",
    "heightroof", "measuredheight", "totalheight", "heighttotal", "structheight", "heightmax", "hmax", "relhmax",
    "heightaboveground", "heightag", "hag", "renderheight", "gebaeudehoehe", "gebhoehe", "bauwerkshoehe", "gesamthoehe",
    "hoehe", "hauteur", "hoogte", "altura", "altezza", "hojd", "hoejde", "korkeus", "wysokosc", "h", "heightmean",
    "meanheight", "avgheight", "heightavg", "heightmedian", "medianheight", "relh2", "eaveheight", "eavesheight",
    "wallheight",
)  # fmt: skip
LEVEL_NAMES = (
    "buildinglevels", "numfloors", "numfloor", "nofloors", "nfloors", "floors", "floorcount", "numberoffloors",
    "floorsaboveground", "numberoffloorsaboveground", "storeys", "stories", "storeysaboveground", "nostories",
    "nostoreys", "numstories", "numstoreys", "numberofstories", "numberofstoreys", "levels", "numlevels", "bldglevels",
    "buildinglev", "buildingle", "buildingl", "nbetages", "nombredetages", "etages", "geschosse", "geschosszahl",
    "anzahlgeschosse", "anzahlgs", "aog", "plantas", "numplantas", "piani", "numpiani", "verdiepingen", "kondygnacje",
    "liczbakondygnacji", "floor",
)  # fmt: skip
TYPE_NAMES = ("class", "buildingtype", "bldgtype", "buildinguse", "bldguse", "type", "use", "function", "fclass")
UNIT_NAMES = ("heightunit", "heightunits", "hgtunits", "unit", "units", "uom")
OTHER_NAMES = {
    "minheight": "min_height",
    "minfloor": "building:min_level",
    "minlevel": "building:min_level",
    "buildingminlevel": "building:min_level",
    "numfloorsunderground": "building:levels:underground",
    "storeysbelowground": "building:levels:underground",
    "roofheight": "roof:height",  # of the roof alone, as in Overture
    "roofshape": "roof:shape",
    "facadematerial": "building:facade:material",
    "roofmaterial": "roof:material",
}
FOOTPRINT_NAMES = ("confidence", "areainmeters", "capturedatesrange", "release", "hasparts", "fullplusucode")
FOOTPRINT_WORDS = r"build|bldg|footprint|gebaeude|gebäude|\bbati|edific|roof|house|\bbag_|pand\b|bygning|byggnad"
UNIT_IN_METRES = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters", "mtr"), 1.0),
    **dict.fromkeys(("ft", "feet", "foot", "usft"), 0.3048),
    **dict.fromkeys(("cm", "centimetres", "centimeters"), 0.01),
    **dict.fromkeys(("dm", "decimetres", "decimeters"), 0.1),
    **dict.fromkeys(("mm", "millimetres", "millimeters"), 0.001),
}
FEET_NAMES = ("heightroof",)  # New York's column, in feet without saying so in its name
WORDS_WITHOUT_TYPE = ("", "no", "none", "null", "unknown", "other", "building", "building_part", "footprint", "part")
MAX_LISTED_COLUMNS = 12


@dataclass(frozen=True)
class ColumnUse:
    """Which columns of a file gave heights and storeys, and which ones were not understood."""

    used: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)

    def note(self) -> str:
        """One line for the report; empty where all names are OpenStreetMap's."""
        if not self.used:
            return ""
        used = ", ".join(f"{name} ({count})" for name, count in sorted(self.used.items()))
        return f"heights and storeys are from the columns {used}; not used: {self.ignored_names() or 'none'}"

    def ignored_names(self) -> str:
        names = [name for name, _ in self.ignored.most_common()]
        return id_list(names[:MAX_LISTED_COLUMNS])


def osm_tags(properties: Mapping[str, Any], columns: ColumnUse) -> dict[str, str]:
    """Tags of a feature from its properties: OpenStreetMap's own, and those that the dictionary translates.

    Null, NaN, empty, nested and list values are absent. `columns` counts the names that were used.

    Example:
        >>> osm_tags({"HEIGHT_FT": 40, "num_floors": 3, "names": None}, ColumnUse())
        {'HEIGHT_FT': '40', 'num_floors': '3', 'height': '12.192', 'building:levels': '3'}
    """
    tags = {name: _tag_value(value) for name, value in _flat(properties).items() if not _is_absent(value)}
    names = _names_by_plain_name(tags)
    translated: dict[str, str] = {}
    for key, text, name in (_height(tags, names), _levels(tags, names)):
        if text:
            translated[key] = text
            columns.used[name] += 1
    for plain, key in OTHER_NAMES.items():
        if plain in names and key not in tags:
            translated[key] = tags[names[plain]]
    if tags.get(names.get("isunderground", ""), "no").lower() in ("yes", "true", "1"):
        translated["location"] = "underground"
    if not has_feature_key(tags):
        if "level" in tags:  # Overture's is the order of drawing, OpenStreetMap's a storey
            translated["layer"] = tags.pop("level")
        columns.ignored.update(
            name for name in tags if name not in columns.used and name not in ("id", "@id", "height")
        )
    return tags | translated


def building_type(tags: Mapping[str, str]) -> str:
    """The value of `building` that a column of another maker suggests; `yes` without one."""
    names = _names_by_plain_name(tags)
    for name in TYPE_NAMES:
        if name in names:
            word = re.sub(r"\W+", "_", tags[names[name]].strip().lower())
            if word not in WORDS_WITHOUT_TYPE and re.fullmatch(r"[a-z][a-z_]{2,29}", word):
                return word
    return "yes"


def has_size_column(names: Iterable[str]) -> bool:
    """Whether one of the columns is of heights or storeys, also where it holds none: what has it is a building."""
    plain = {_base_name(name)[0] for name in names} | {_plain_name(name) for name in names}
    return not plain.isdisjoint((*HEIGHT_NAMES, *LEVEL_NAMES))


def looks_like_footprints(names: Iterable[str], place: str) -> bool:
    """Whether polygons are buildings, by the names of their columns, of their layer or of their file (`place`).

    Polygons without any column are taken for buildings: so Microsoft's footprints come.
    """
    known = has_size_column(names) or not {_plain_name(name) for name in names}.isdisjoint(FOOTPRINT_NAMES)
    return not names or known or any(re.search(FOOTPRINT_WORDS, text, re.I) for text in (*names, place))


def _flat(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties with the tags that some exporters nest (`tags`) or write in one text (`other_tags` of GDAL)."""
    flat = dict(properties)
    for name in ("tags", "other_tags", "all_tags"):
        nested = flat.get(name)
        if isinstance(nested, str):
            nested = _parsed_tags(nested)
        if isinstance(nested, Mapping):
            del flat[name]
            flat = {**nested, **{key: value for key, value in flat.items() if not _is_absent(value)}}
    return {str(name): value for name, value in flat.items()}


def _parsed_tags(text: str) -> dict[str, Any]:
    """Tags of a JSON object or of PostgreSQL's hstore, `"building"=>"yes","height"=>"12"`."""
    if text.lstrip().startswith("{"):
        try:
            value = parse_json(text, "the tags", is_finite=False)
        except UelError:
            value = None
        if isinstance(value, dict):
            return value
    pairs = re.findall(r'"((?:[^"\\]|\\.)*)"\s*=>\s*"((?:[^"\\]|\\.)*)"', text)
    return {key.replace('\\"', '"'): value.replace('\\"', '"') for key, value in pairs}


def _is_absent(value: Any) -> bool:
    is_nested = isinstance(value, Iterable) and not isinstance(value, str)
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nested or is_nan or str(value).strip() in ("", "<NA>", "NaT")


def _tag_value(value: Any) -> str:
    """A property as the value of an OSM tag; whole numbers without a point."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def _names_by_plain_name(tags: Mapping[str, str]) -> dict[str, str]:
    """The first column of every plain name."""
    return {_plain_name(name): name for name in reversed(list(tags))}


def _height(tags: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, str, str]:
    """(`height`, text in metres, the column's name): of the best column that holds a height.

    The texts are empty where there is none, and where it is OpenStreetMap's own tag.
    """
    columns = {_plain_name(name): (name, None) for name in tags}
    columns |= {
        base: (name, unit) for name in tags for base, unit in (_base_name(name),) if unit or base not in columns
    }
    row_unit = _unit_of_row(tags, names)
    for base in HEIGHT_NAMES:
        if base in columns:
            name, unit = columns[base]
            text = _metres(tags[name], unit or row_unit or ("ft" if base in FEET_NAMES else None))
            if parse_length(text) is not None:
                return ("height", "", "") if name == "height" and text == tags[name] else ("height", text, name)
    return "height", "", ""


def _levels(tags: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, str, str]:
    """(`building:levels`, text, the column's name), as `_height`."""
    if parse_count(tags.get("building:levels")) is None:
        for base in LEVEL_NAMES:
            if base in names and parse_count(tags[names[base]]) is not None:
                return "building:levels", tags[names[base]], names[base]
    return "building:levels", "", ""


def _unit_of_row(tags: Mapping[str, str], names: Mapping[str, str]) -> str | None:
    """The unit that a column of its own gives."""
    units = (_plain_name(tags[names[name]]) for name in UNIT_NAMES if name in names)
    return next((unit for unit in units if unit in UNIT_IN_METRES), None)


def _metres(text: str, unit: str | None) -> str:
    """A height as a tag in metres; text with a unit of its own stays."""
    if unit is None or UNIT_IN_METRES[unit] == 1.0 or not re.fullmatch(r"-?\d+([.,]\d+)?", text):
        return text
    return f"{float(text.replace(',', '.')) * UNIT_IN_METRES[unit]:.6g}"


def _plain_name(name: str) -> str:
    """A column's name without case, punctuation and umlauts."""
    text = name.lower().translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "é": "e", "ł": "l", "ś": "s"}))
    return re.sub(r"[^a-z0-9]+", "", text)


def _base_name(name: str) -> tuple[str, str | None]:
    """A column's plain name without its unit, and the unit: `HEIGHT_FT` is (`height`, `ft`)."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if len(words) > 1 and words[-1] in UNIT_IN_METRES:
        return "".join(words[:-1]), words[-1]
    plain = _plain_name(name)
    for unit in ("feet", "ft", "meters", "metres", "cm", "m"):
        if plain.endswith(unit) and plain.removesuffix(unit) in HEIGHT_NAMES and plain not in HEIGHT_NAMES:
            return plain.removesuffix(unit), unit
    return plain, None
