"""Small towns as map files: rings in metres east and north of 48° N, 9° E, which is a zone's meridian."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import osmium

Ring = list[tuple[float, float]]
KINDS = (osmium.osm.NODE, osmium.osm.WAY, osmium.osm.RELATION)


def degrees(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude. Along the central meridian of zone 32 the scale of UTM is 0.9996."""
    return 9.0 + x / 0.9996 / 74_629.0, 48.0 + y / 0.9996 / 111_200.0


def square(x: float, y: float, side: float) -> Ring:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def node_line(number: int, x: float, y: float, **attributes: str) -> str:
    lon, lat = degrees(x, y)
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<node id="{number}" lat="{lat:.7f}" lon="{lon:.7f}"{more}/>'


def way_line(number: int, refs: Sequence[int], tags: Mapping[str, str], **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    inside = "".join(f'<nd ref="{ref}"/>' for ref in refs)
    return f'<way id="{number}"{more}>{inside}{tag_lines(tags)}</way>'


def relation_line(number: int, members: Sequence[tuple[int, str]], tags: Mapping[str, str]) -> str:
    inside = "".join(f'<member type="way" ref="{ref}" role="{role}"/>' for ref, role in members)
    return f'<relation id="{number}">{inside}{tag_lines({"type": "multipolygon", **tags})}</relation>'


def tag_lines(tags: Mapping[str, str]) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


def bounds_line(west: float, south: float, east: float, north: float) -> str:
    (a, b), (c, d) = degrees(west, south), degrees(east, north)
    return f'<bounds minlat="{b:.7f}" minlon="{a:.7f}" maxlat="{d:.7f}" maxlon="{c:.7f}"/>'


def write_osm(path: Path, ways: Sequence[tuple[Ring, Mapping[str, str]]], extra: str = "", head: str = "") -> Path:
    """An .osm file of closed ways, numbered from 1; the nodes of way k are numbered on from those of way k - 1."""
    lines, node = [], 0
    for number, (ring, tags) in enumerate(ways, start=1):
        refs = []
        for x, y in ring:
            node += 1
            lines.append(node_line(node, x, y))
            refs.append(node)
        lines.append(way_line(number, [*refs, refs[0]], tags))
    lines.sort(key=lambda line: line.startswith("<way"))
    path.write_text(f'<osm version="0.6">{head}{"".join(lines)}{extra}</osm>', encoding="utf-8")
    return path


def as_pbf(source: Path, order: Sequence[Any] = KINDS) -> Path:
    """The same elements as PBF, kind after kind."""
    target = source.with_suffix(".osm.pbf")
    with osmium.SimpleWriter(str(target), overwrite=True) as writer:
        for kind in order:
            for item in osmium.FileProcessor(str(source), kind):
                writer.add(item)
    return target


def polygon(ring: Ring) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(degrees(x, y)) for x, y in [*ring, ring[0]]]]}


def feature(properties: Any, geometry: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry, **more}


def write_geojson(path: Path, *features: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}), encoding="utf-8")
    return path
