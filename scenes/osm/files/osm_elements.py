"""OpenStreetMap's nodes, ways and relations, from whatever file, and the features that they make.

XML, PBF and Overpass JSON of one place go through this module, so that they make the same city.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely
from shapely import LineString, MultiLineString, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry

from scenes.osm.files.area_assembly import even_odd_area
from scenes.osm.files.feature_table import (
    FeatureRow,
    LostFeature,
    MapContent,
    feature_table,
    has_feature_key,
    id_list,
    is_building,
    no_features_error,
    unwrapped_longitudes,
)
from scenes.osm.geo_box import GeoBox
from uel.errors import UelError

AREA_KEYS = ("building", "building:part", "landuse", "leisure", "water")  # a closed way with one is a polygon
NATURAL_LINES = ("coastline", "cliff", "ridge", "arete", "tree_row")  # of `natural`: lines, also where closed
WATERWAY_AREAS = ("riverbank", "dock", "boatyard", "dam")

Refs = Sequence[int]


class Member(NamedTuple):
    """A member way of a relation."""

    ref: int
    role: str


@dataclass(kw_only=True)
class OsmElements:
    """The elements of a map file. Of an element that is given several times the last one counts, as in a file with
    history; one that is deleted counts as not there."""

    nodes: dict[int, tuple[float, float]] = field(default_factory=dict)
    """longitude and latitude in degrees"""
    node_tags: dict[int, Mapping[str, str]] = field(default_factory=dict)
    """of nodes with a key of `FEATURE_KEYS`"""
    ways: dict[int, tuple[Refs, Mapping[str, str]]] = field(default_factory=dict)
    relations: dict[int, tuple[Sequence[Member], Mapping[str, str]]] = field(default_factory=dict)
    """multipolygons only"""
    deleted: dict[tuple[str, int], tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    """by kind and id: how the file says it, and the tags"""
    boxes: list[GeoBox] = field(default_factory=list)

    def add_node(self, id: int, longitude: float, latitude: float, tags: Mapping[str, str]) -> None:
        """Add a node. Raises `UelError` where it is no place on Earth."""
        if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
            raise UelError(
                "a node of the map file is no place in degrees",
                got=f"node {id}: latitude {latitude:g}, longitude {longitude:g}",
                do="convert the map to longitude and latitude in degrees, WGS84",
            )
        self.nodes[id] = (longitude, latitude)
        self.deleted.pop(("node", id), None)
        if has_feature_key(tags):
            self.node_tags[id] = tags

    def add_way(self, id: int, refs: Refs, tags: Mapping[str, str]) -> None:
        """Add a way."""
        self.ways[id] = (refs, tags)
        self.deleted.pop(("way", id), None)

    def add_relation(self, id: int, members: Sequence[Member], tags: Mapping[str, str]) -> None:
        """Add a relation, if it is a multipolygon: relations of other types group elements."""
        self.deleted.pop(("relation", id), None)
        if tags.get("type", "").strip().lower() == "multipolygon":
            self.relations[id] = (members, tags)

    def delete(self, kind: str, id: int, how: str, tags: Mapping[str, str]) -> None:
        """Take an element out that the file calls deleted."""
        if kind == "node":
            self.nodes.pop(id, None)
            tags = tags or self.node_tags.pop(id, {})
        else:
            _, known = (self.ways if kind == "way" else self.relations).pop(id, ((), {}))
            tags = tags or known
        self.deleted[kind, id] = (how, tags)


def map_content(elements: OsmElements, file: object) -> MapContent:
    """The features that elements make.

    A building that misses nodes or members is lost by name, and so is one that the file calls deleted; of an open line,
    the pieces between known nodes are kept. A multipolygon that misses only courtyards is built, and noted.

    Raises `UelError` where nothing is left, and where the ways' nodes are not in the file.
    """
    _unwrap(elements)
    assembly = _Assembly(elements)
    rows = [*assembly.node_rows(), *assembly.way_rows(), *assembly.relation_rows()]
    if elements.ways and not elements.nodes:
        raise UelError(
            "the map file has no nodes for its ways",
            got=f"{file}: {len(elements.ways)} ways, no place of a node",
            do="export it with its nodes (Overpass: out body; >; out skel qt; or: out geom)",
        )
    if not rows and not assembly.lost:
        raise no_features_error(file)
    return MapContent(
        frame=feature_table(rows),
        boxes=tuple(elements.boxes),
        lost=(*assembly.lost, *assembly.deleted_buildings()),
        notes=tuple(assembly.notes()),
    )


def _unwrap(elements: OsmElements) -> None:
    """Let longitudes go on beyond 180 in a file that crosses the antimeridian."""
    values = np.array([place[0] for place in elements.nodes.values()])
    x = unwrapped_longitudes(values)
    if x is not values and (x != values).any():
        pairs = zip(elements.nodes.items(), x, strict=True)
        elements.nodes = {id: (float(longitude), place[1]) for (id, place), longitude in pairs}


class _Assembly:
    """Geometries of the elements of one file, in the order of their ids, and what could not be put together."""

    def __init__(self, elements: OsmElements) -> None:
        self.elements = elements
        self.lost: list[LostFeature] = []
        self.incomplete: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.courtyards = self._courtyards_of_ways()

    def node_rows(self) -> Iterator[FeatureRow]:
        for id, tags in self.elements.node_tags.items():
            if id in self.elements.nodes:
                yield "node", id, Point(self.elements.nodes[id]), tags

    def way_rows(self) -> Iterator[FeatureRow]:
        for id, (refs, tags) in sorted(self.elements.ways.items()):
            if not has_feature_key(tags):
                continue
            missing = sum(ref not in self.elements.nodes for ref in refs)
            is_area = _is_area(refs, tags)
            if len(refs) < 2 or (missing and (is_area or is_building(tags))):
                fault = f"nodes missing from the file: {missing} of {len(refs)}" if missing else "fewer than two nodes"
                self._lose("way", id, tags, fault, refs)
                continue
            geometry = self.courtyards.get(id) or self._way_geometry(refs, is_area)
            if missing:
                self.left_out["lines with gaps"] += 1
            if not geometry.is_empty or is_building(tags):
                yield "way", id, geometry, tags

    def relation_rows(self) -> Iterator[FeatureRow]:
        for id, (members, tags) in sorted(self.elements.relations.items()):
            if has_feature_key(tags):
                area, fault = self._multipolygon(members)
                if fault and area.is_empty:
                    refs = [ref for member in members for ref in self.elements.ways.get(member.ref, ((), {}))[0]]
                    self._lose("relation", id, tags, fault, refs)
                    continue
                if fault:
                    self.incomplete.append(f"relation/{id} ({fault})")
                if not area.is_empty or is_building(tags):
                    yield "relation", id, area, tags

    def deleted_buildings(self) -> Iterator[LostFeature]:
        for (kind, id), (how, tags) in self.elements.deleted.items():
            if is_building(tags):
                yield LostFeature(f"{kind}/{id}", f"deleted: {how}")

    def notes(self) -> Iterator[str]:
        if self.incomplete:
            yield f"multipolygons built without the members that the file lacks: {id_list(self.incomplete)}"
        for what, count in self.left_out.items():
            yield f"{what}: {count}, because nodes or members are missing from the file"

    def _lose(self, kind: str, id: int, tags: Mapping[str, str], reason: str, refs: Refs) -> None:
        if is_building(tags):
            known = [self.elements.nodes[ref] for ref in refs if ref in self.elements.nodes]
            self.lost.append(LostFeature(f"{kind}/{id}", reason, known[0] if known else None))
        else:
            self.left_out["areas of water or green left out"] += 1

    def _way_geometry(self, refs: Refs, is_area: bool) -> BaseGeometry:
        if is_area:
            points = [self.elements.nodes[ref] for ref in refs]
            return Polygon(points) if len(points) > 3 else Polygon()
        lines = self._known_pieces(refs)
        return LineString(lines[0]) if len(lines) == 1 else MultiLineString(lines)

    def _known_pieces(self, refs: Refs) -> list[list[tuple[float, float]]]:
        """Points between missing nodes, two or more in a row."""
        pieces: list[list[tuple[float, float]]] = [[]]
        for ref in refs:
            place = self.elements.nodes.get(ref)
            if place:
                pieces[-1].append(place)
            elif pieces[-1]:
                pieces.append([])
        return [piece for piece in pieces if len(piece) > 1]

    def _multipolygon(self, members: Sequence[Member]) -> tuple[Polygon | MultiPolygon, str]:
        """The area of a multipolygon, and what it misses; empty where what is missing may be more than a courtyard."""
        found, absent = [], []
        for member in members:
            refs = self.elements.ways.get(member.ref, ((), {}))[0]
            is_whole = bool(refs) and all(ref in self.elements.nodes for ref in refs)
            (found if is_whole else absent).append((member, refs))
        area, is_closed = even_odd_area(self._lines(found))
        if not absent and is_closed:
            return area, ""
        fault = f"members missing from the file: {len(absent)} of {len(members)}" if absent else "rings are not closed"
        if not all(member.role.strip().lower() in ("outer", "inner") for member in members):
            return Polygon(), fault
        # Roles matter here alone: a courtyard whose outline is missing must not become a building.
        shells, _ = even_odd_area(self._lines([item for item in found if item[0].role.strip().lower() == "outer"]))
        return _polygons(shapely.intersection(area, shells)), fault

    def _lines(self, members: Sequence[tuple[Member, Refs]]) -> list[list[tuple[float, float]]]:
        return [[self.elements.nodes[ref] for ref in refs] for _, refs in members]

    def _courtyards_of_ways(self) -> dict[int, Polygon | MultiPolygon]:
        """Areas of ways that are the only outline of a multipolygon without tags of its own, as they were drawn before
        2014: the tags are the way's, the courtyards are the relation's."""
        areas = {}
        for members, tags in self.elements.relations.values():
            outlines = [member.ref for member in members if member.role != "inner"]
            if has_feature_key(tags) or len(outlines) != 1 or len(members) < 2:
                continue
            refs, own = self.elements.ways.get(outlines[0], ((), {}))
            if is_building(own) and _is_area(refs, own):
                area, fault = self._multipolygon(members)
                if not fault:
                    areas[outlines[0]] = area
        return areas


def _polygons(shape: BaseGeometry) -> Polygon | MultiPolygon:
    return shape if isinstance(shape, Polygon | MultiPolygon) else Polygon()


def _is_area(refs: Refs, tags: Mapping[str, str]) -> bool:
    """Whether a way is an area: closed, with a key whose closed ways are."""
    if len(refs) < 3 or refs[0] != refs[-1] or tags.get("area") == "no":
        return False
    is_natural = "natural" in tags and tags["natural"] not in NATURAL_LINES
    is_water = tags.get("waterway") in WATERWAY_AREAS
    return tags.get("area") == "yes" or is_natural or is_water or any(key in tags for key in AREA_KEYS)
