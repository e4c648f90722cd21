"""OpenStreetMap's XML: exports, JOSM's files, answers of Overpass, files with history."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from scenes.osm.files.osm_elements import Member, OsmElements
from scenes.osm.geo_box import GeoBox
from uel.core.outside.compression import open_unpacked
from uel.errors import UelError

INLINE_ID_START = -(10**15)  # ids below it are of nodes that Overpass wrote into their way, without ids


def read_osm_xml(path: Path) -> OsmElements:
    """The elements of an XML file."""
    elements = OsmElements()
    with open_unpacked(path) as stream:
        events = ElementTree.iterparse(stream, events=("start", "end"))
        _, root = next(events)
        depth = 0
        for event, item in events:
            depth += 1 if event == "start" else -1
            if event == "end" and depth == 0:
                _add(elements, item, path)
                root.clear()
    return elements


def bounds_box(bounds: Mapping[str, str | float]) -> GeoBox | None:
    """The box of `minlat`, `minlon`, `maxlat`, `maxlon`; None where one is missing, or the box is empty."""
    try:
        west, south, east, north = (float(bounds[name]) for name in ("minlon", "minlat", "maxlon", "maxlat"))
    except (KeyError, ValueError):
        return None
    east += 360.0 if east < west else 0.0
    is_box = -180 <= west < east <= 540 and -90 <= south < north <= 90
    return GeoBox(west, south, east, north) if is_box else None


def answer_cut_error(path: object, remark: str) -> UelError:
    """The error of an answer of Overpass that ends early."""
    return UelError(
        "Overpass did not finish this answer, so that buildings are missing",
        got=f"{path}: {remark.strip()}",
        do="ask for a smaller area, or with a longer [timeout:…]",
    )


def inline_ref(elements: OsmElements, longitude: float | None, latitude: float | None) -> int:
    """The id of a node that has none in the file: the same for the same place; missing without a place."""
    if longitude is None or latitude is None:
        return INLINE_ID_START
    key = INLINE_ID_START - 1 - (round((longitude + 180.0) * 1e7) * 2_000_000_000 + round((latitude + 90.0) * 1e7))
    if key not in elements.nodes:
        elements.add_node(key, longitude, latitude, {})
    return key


def _add(elements: OsmElements, item: Element, path: Path) -> None:
    if item.tag in ("bounds", "bound"):
        corners = item.attrib["box"].split(",") if "box" in item.attrib else ()  # Osmosis: <bound box="S,W,N,E">
        box = bounds_box(dict(zip(("minlat", "minlon", "maxlat", "maxlon"), corners, strict=False)) or item.attrib)
        elements.boxes += [box] if box else []
    elif item.tag == "remark" and "error" in (item.text or "").lower():
        raise answer_cut_error(path, item.text or "")
    elif item.tag in ("node", "way", "relation"):
        _add_element(elements, item, path)


def _add_element(elements: OsmElements, item: Element, path: Path) -> None:
    id, tags = int(_attribute(item, "id", path)), _tags(item)
    how = _deletion(item)
    if how:
        elements.delete(item.tag, id, how, tags)
    elif item.tag == "node":
        if "lat" in item.attrib and "lon" in item.attrib:  # JOSM writes incomplete nodes without a place
            elements.add_node(id, _degrees(item, "lon", path), _degrees(item, "lat", path), tags)
    elif item.tag == "way":
        elements.add_way(id, [_ref(elements, nd, path) for nd in item.iterfind("nd")], tags)
    else:
        elements.add_relation(id, [_member(elements, m, path) for m in item.iterfind("member[@type='way']")], tags)


def _deletion(item: Element) -> str:
    """How the file says that an element is deleted; empty where it is not."""
    if item.attrib.get("action") == "delete":
        return 'action="delete"'
    return 'visible="false"' if item.attrib.get("visible", "true").lower() in ("false", "0") else ""


def _tags(item: Element) -> dict[str, str]:
    return {tag.attrib["k"]: tag.attrib["v"] for tag in item.iterfind("tag") if {"k", "v"} <= tag.attrib.keys()}


def _ref(elements: OsmElements, nd: Element, path: Path) -> int:
    """The id of a way's node, which is added where Overpass wrote its place into the way (`out geom`)."""
    has_place = "lon" in nd.attrib and "lat" in nd.attrib
    if "ref" not in nd.attrib:
        place = (_degrees(nd, "lon", path), _degrees(nd, "lat", path)) if has_place else (None, None)
        return inline_ref(elements, *place)
    ref = int(_attribute(nd, "ref", path))
    if has_place and ref not in elements.nodes:
        elements.add_node(ref, _degrees(nd, "lon", path), _degrees(nd, "lat", path), {})
    return ref


def _member(elements: OsmElements, member: Element, path: Path) -> Member:
    """A member way; one whose geometry is written into the relation becomes a way of the file."""
    ref, refs = int(_attribute(member, "ref", path)), [_ref(elements, nd, path) for nd in member.iterfind("nd")]
    if refs and ref not in elements.ways:
        elements.add_way(ref, refs, {})
    return Member(ref, member.attrib.get("role", ""))


def _attribute(item: Element, name: str, path: Path) -> str:
    value = item.attrib.get(name, "")
    if not value.lstrip("-").isdigit():
        raise UelError(
            f"an element of the map file has no valid {name}", got=f"{path}: {ElementTree.tostring(item)[:120]!r}",
            do="repair it, or download the file again",
        )  # fmt: skip
    return value


def _degrees(item: Element, name: str, path: Path) -> float:
    try:
        return float(item.attrib[name])
    except ValueError as error:
        raise UelError(
            f"{name} of a node is no number", got=f"{path}: {item.attrib[name]!r}", do="repair the node, in degrees"
        ) from error
