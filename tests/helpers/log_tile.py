"""A tile without buildings at 48° N, 9° E, and a network of two carriers on it, for logs."""

from pathlib import Path

from scenes.tiles.writer import update_files, write_tile
from uel.core.io import as_json
from uel.geo.tile import Tile
from uel.inference.report_source import open_reports
from uel.measurement.drive_test import Drive, read_drive_test
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site, network_to_json

SIZE = 512.0
LATITUDE, LONGITUDE = 48.0, 9.0  # of the tile's centre, the central meridian of its UTM zone
LOW, HIGH = Carrier.from_channel_number(6200, "lte"), Carrier.from_channel_number(1300, "lte")
WEST = Cell(pci=101, carrier=HIGH, cell_id="26885121", name="West")
WEST_800 = Cell(pci=101, carrier=LOW, name="West 800")
EAST = Cell(pci=102, carrier=HIGH, cell_id="26885122", name="East")
NETWORK = (
    Site(position=(-100.0, 0.0, 15.0), cells=(WEST, WEST_800)),
    Site(position=(100.0, 0.0, 15.0), cells=(EAST,)),
)


def log_tile(folder: Path, sites: tuple[Site, ...] = NETWORK) -> Tile:
    """A flat, georeferenced tile of a network."""
    from pyproj import Transformer

    origin = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(LONGITUDE, LATITUDE)
    meta = {
        "name": "plain",
        "size": SIZE,
        "pixel": 2.0,
        "materials": ["air"],
        "crs": "EPSG:32632",
        "origin": list(origin),
    }
    files = {"sites.json": as_json(network_to_json(sites))}
    return update_files(write_tile(folder, [], {}, {}, meta), files, {})


def read_log(tile: Tile, content: str | bytes, name: str, **columns: object) -> tuple[LogPart | None, Rejections]:
    """The reports of a log that is written beside the tile first, and what was set aside."""
    file = tile.folder.parent / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    rejections = Rejections()
    with open_log(tile, tile.sites, file, ColumnConfig(**columns), rejections) as log:  # type: ignore[arg-type]
        parts = list(log.parts())
    return (LogPart.cat(parts) if parts else None), rejections


def read_drive(tile: Tile, content: str, **columns: object) -> Drive:
    """A drive test from a log that is written beside the tile first."""
    file = tile.folder.parent / "drive.csv"
    file.write_text(content)
    return read_drive_test(tile, file, ColumnConfig(**columns))  # type: ignore[arg-type]


def parts_to_locate(tile: Tile, file: Path) -> list[LogPart]:
    """The reports of a log, as `uel locate` reads them."""
    with Rejections() as rejections, open_reports(tile, tile.sites, file, ColumnConfig(), rejections) as source:
        return list(source.parts)
