"""OpenStreetMap's JSON: what Overpass (`[out:json]`, also `out geom`) and the map API answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from scenes.osm.files.osm_elements import Member, OsmElements
from scenes.osm.files.osm_xml import answer_cut_error, bounds_box, inline_ref
from uel.errors import UelError


def is_overpass_json(content: Any) -> bool:
    """Whether parsed JSON is OpenStreetMap's: a list of `elements`."""
    return isinstance(content, dict) and isinstance(content.get("elements"), list)


def read_overpass_json(content: Mapping[str, Any], file: object) -> OsmElements:
    """The elements of an answer. Raises `UelError` for one that was cut, and one without geometry."""
    remark = str(content.get("remark", ""))
    if "error" in remark.lower():
        raise answer_cut_error(file, remark)
    elements = OsmElements()
    box = bounds_box(content.get("bounds") or {})
    elements.boxes += [box] if box else []
    for number, item in enumerate(content["elements"]):
        try:
            _add(elements, item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UelError):
                raise
            raise UelError(
                "an element of the Overpass JSON file cannot be read",
                got=f"{file}: element {number}: {str(item)[:120]} ({error!r})",
                do="remove or repair it",
            ) from error
    _require_geometry(elements, file)
    return elements


def _add(elements: OsmElements, item: Mapping[str, Any]) -> None:
    kind, tags = item["type"], {str(key): str(value) for key, value in (item.get("tags") or {}).items()}
    if kind not in ("node", "way", "relation"):
        return
    id = int(item["id"])
    if item.get("visible") is False or item.get("action") == "delete":
        elements.delete(kind, id, 'visible="false"' if "visible" in item else 'action="delete"', tags)
    elif kind == "node" and item.get("lat") is not None and item.get("lon") is not None:
        elements.add_node(id, float(item["lon"]), float(item["lat"]), tags)
    elif kind == "way":
        elements.add_way(id, _refs(elements, item.get("nodes"), item.get("geometry")), tags)
    elif kind == "relation":
        ways = [member for member in item.get("members") or [] if member["type"] == "way"]
        elements.add_relation(id, [_member(elements, member) for member in ways], tags)


def _member(elements: OsmElements, member: Mapping[str, Any]) -> Member:
    """A member way; one whose geometry is written into the relation becomes a way of the file."""
    ref = int(member["ref"])
    if member.get("geometry") and ref not in elements.ways:
        elements.add_way(ref, _refs(elements, None, member["geometry"]), {})
    return Member(ref, str(member.get("role") or ""))


def _refs(elements: OsmElements, nodes: Sequence[int] | None, places: Sequence[Any] | None) -> list[int]:
    """Ids of a way's nodes. Places inside the way (`out geom`) are added; null is one outside the query's box."""
    if not places:
        return [int(node) for node in nodes or ()]
    if nodes and len(nodes) == len(places):
        for node, place in zip(nodes, places, strict=True):
            if place and int(node) not in elements.nodes:
                elements.add_node(int(node), float(place["lon"]), float(place["lat"]), {})
        return [int(node) for node in nodes]
    return [inline_ref(elements, *((place["lon"], place["lat"]) if place else (None, None))) for place in places]


def _require_geometry(elements: OsmElements, file: object) -> None:
    if elements.ways and not elements.nodes:
        raise UelError(
            "the Overpass JSON file has ways without coordinates",
            got=f"{file}: {len(elements.ways)} ways, no place of a node",
            do="ask Overpass for them: out geom, or: out body; >; out skel qt",
        )
