"""OpenStreetMap's PBF. Three passes, for relations, ways and nodes, so that neither the order nor the sign of ids
matters, and only the nodes of ways that count are kept."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import osmium
import osmium.filter
import osmium.io
from osmium.osm import NODE, RELATION, WAY

from scenes.osm.files.feature_table import FEATURE_KEYS
from scenes.osm.files.osm_elements import Member, OsmElements
from scenes.osm.geo_box import GeoBox


def read_osm_pbf(path: Path) -> OsmElements:
    """The elements of a PBF file that make features."""
    elements = OsmElements()
    header = osmium.io.Reader(osmium.io.File(str(path), "pbf")).header()
    if header.box().valid():
        low, high = header.box().bottom_left, header.box().top_right
        elements.boxes.append(GeoBox(low.lon, low.lat, high.lon + 360.0 * (high.lon < low.lon), high.lat))
    for item, tags in _items(path, RELATION, ("type",), header):
        ways = [Member(member.ref, member.role) for member in item.members if member.type == "w"]
        elements.add_relation(item.id, ways, tags) if tags is not None else _delete(elements, "relation", item)
    members = {member.ref for found, _ in elements.relations.values() for member in found}
    for item, tags in _items(path, WAY, FEATURE_KEYS, header, members):
        _add_way(elements, item, tags) if tags is not None else _delete(elements, "way", item)
    needed = {ref for refs, _ in elements.ways.values() for ref in refs} - elements.nodes.keys()
    for item, tags in _items(path, NODE, FEATURE_KEYS, header, needed):
        if tags is None:
            _delete(elements, "node", item)
        elif item.location.valid():
            elements.add_node(item.id, item.lon, item.lat, tags)
    return elements


def _items(
    path: Path, kind: Any, keys: Iterable[str], header: Any, ids: set[int] | None = None
) -> Iterator[tuple[Any, dict[str, str] | None]]:
    """Elements of a kind that have one of the keys or one of the ids, with their tags; None for a deleted one."""
    reader = osmium.FileProcessor(osmium.io.File(str(path), "pbf"), kind)  # whatever its name ends with
    if ids is None and not header.has_multiple_object_versions:
        reader = reader.with_filter(osmium.filter.KeyFilter(*keys))
    keys = set(keys)
    item: Any
    for item in reader:
        if item.deleted or not item.visible:
            yield item, None
        elif (ids and item.id in ids) or any(key in item.tags for key in keys):
            yield item, {tag.k: tag.v for tag in item.tags}


def _delete(elements: OsmElements, kind: str, item: Any) -> None:
    elements.delete(kind, item.id, "visible=false", {tag.k: tag.v for tag in item.tags})


def _add_way(elements: OsmElements, way: Any, tags: dict[str, str]) -> None:
    """Add a way; the places of its nodes, too, where the file has them in its ways."""
    elements.add_way(way.id, [node.ref for node in way.nodes], tags)
    for node in way.nodes:
        if node.location.valid():
            elements.add_node(node.ref, node.lon, node.lat, {})
