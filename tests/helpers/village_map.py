"""A small map in OpenStreetMap's XML: three houses along a road."""

from pathlib import Path

# Metres per degree of longitude and of latitude at 48° north.
EAST, NORTH = 74_500.0, 111_200.0
HOUSES = {
    1: ((-60, -20, -30, 20), {"building": "yes", "height": "12 m"}),
    2: ((-10, -20, 20, 20), {"building": "apartments", "building:levels": "5", "building:material": "brick"}),
    3: ((40, -20, 70, 20), {"building": "shed", "height": "30"}),
}


def map_file(folder: Path) -> Path:
    """Write `village.osm` into `folder`."""
    nodes, ways = [], []

    def way(number: int, points: list[tuple[float, float]], tags: dict[str, str]) -> None:
        first = 100 * number
        for k, (x, y) in enumerate(points):
            nodes.append(f'<node id="{first + k}" lat="{48 + y / NORTH:.9f}" lon="{9 + x / EAST:.9f}"/>')
        refs = [first + k for k in range(len(points))]
        refs += [first] if "building" in tags else []
        inside = "".join(f'<nd ref="{ref}"/>' for ref in refs)
        inside += "".join(f'<tag k="{k}" v="{v}"/>' for k, v in tags.items())
        ways.append(f'<way id="{number}">{inside}</way>')

    for number, ((w, s, e, n), tags) in HOUSES.items():
        way(number, [(w, s), (e, s), (e, n), (w, n)], tags)
    way(9, [(-120, -40), (120, -40)], {"highway": "residential"})
    file = folder / "village.osm"
    file.write_text(f'<osm version="0.6">{"".join(nodes + ways)}</osm>')
    return file


# Options of `uel build` for a small square around the houses.
SQUARE = ["--size", "256", "--margin", "32", "--center", "48.0", "9.0", "--sites", "2"]
