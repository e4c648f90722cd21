"""Maps, rasters and scenes of others: one format each, no other file, and no request to a server."""

import http.server
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scenes.height_rasters.reader import open_raster
from scenes.mesh.dem import sample_dem
from scenes.osm.files.map_file import read_map_file
from scenes.scene_files.mitsuba_reader import read_scene
from tests.helpers.height_rasters import RASTER_NORTH, RASTER_WEST, write_raster
from tests.helpers.outside import refusal


@pytest.fixture(scope="module")
def requests_seen() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def vrt(source: str) -> str:
    band = f"<SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand>"
    return (
        '<VRTDataset rasterXSize="9" rasterYSize="9"><SRS>EPSG:32632</SRS><GeoTransform>690000,1,0,5335400,0,-1'
        f'</GeoTransform><VRTRasterBand dataType="Float32" band="1"><SimpleSource>{band}</SimpleSource></VRTRasterBand>'
        "</VRTDataset>"
    )


def wms(address: str) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
        "<UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY><LowerRightX>20037508</LowerRightX>"
        "<LowerRightY>-20037508</LowerRightY><TileLevel>18</TileLevel></DataWindow><Projection>EPSG:3857</Projection>"
        "<BandsCount>1</BandsCount></GDAL_WMS>"
    )


RASTER_FAULTS: dict[str, Callable[[Path, str], Path]] = {
    "a VRT of a server's file": lambda folder, address: _text(folder, vrt(f"/vsicurl/{address}/secret.tif")),
    "a VRT of a local file": lambda folder, address: _text(folder, vrt("/etc/passwd")),
    "a description of a tile server": lambda folder, address: _text(folder, wms(address)),
    "an ASCII grid": lambda folder, address: _text(folder, "ncols 9\nnrows 9\n" + "1 " * 81),
    "an address": lambda folder, address: Path(f"/vsicurl/{address}/a.tif"),
    "a file in an archive": lambda folder, address: Path(f"/vsizip/{folder}/a.zip/a.tif"),
    "a picture": lambda folder, address: _text(folder, "\x89PNG\r\n"),
    "nothing": lambda folder, address: _text(folder, ""),
    "cut off": lambda folder, address: _cut(write_raster(folder / "a.tif", np.ones((300, 300), np.float32))),
    "more pixels than can be read": lambda folder, address: write_sparse_raster(folder / "a.tif", 20_000),
    "no place": lambda folder, address: write_raster(
        folder / "a.tif", np.ones((9, 9), np.float32), transform=None, crs="EPSG:32632"
    ),
    "a folder": lambda folder, address: folder,
}


def _text(folder: Path, text: str) -> Path:
    (folder / "a.tif").write_bytes(text.encode("latin-1"))
    return folder / "a.tif"


def _cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:2000])
    return file


def write_sparse_raster(file: Path, side: int) -> Path:
    """A raster whose pixels take no room in the file."""
    import rasterio
    from rasterio import Affine

    place = {"crs": "EPSG:32632", "transform": Affine(1, 0, RASTER_WEST, 0, -1, RASTER_NORTH)}
    size = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float64"}
    with rasterio.open(file, "w", **size, **place, tiled=True, compress="deflate", SPARSE_OK=True):
        return file


def read_whole(file: Path) -> object:
    with open_raster(file) as raster:
        return raster.read(1)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", RASTER_FAULTS)
def test_a_raster_of_heights_is_refused(name: str, tmp_path: Path, requests_seen: tuple[str, list[str]]) -> None:
    file = RASTER_FAULTS[name](tmp_path, requests_seen[0])
    refusal(lambda: read_whole(file))
    assert requests_seen[1] == []


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", [name for name in RASTER_FAULTS if "more pixels" not in name])
def test_an_elevation_raster_is_refused(name: str, tmp_path: Path, requests_seen: tuple[str, list[str]]) -> None:
    file = RASTER_FAULTS[name](tmp_path, requests_seen[0])
    place = (RASTER_WEST + 4, RASTER_NORTH - 4)
    refusal(lambda: sample_dem(file, "EPSG:32632", place, 3.0, 5), "raster")
    assert requests_seen[1] == []


@pytest.mark.parametrize("name", ["a.tif.ovr", "a.tif.msk", "a.tif.aux.xml"])
def test_files_beside_a_raster_are_not_read(name: str, tmp_path: Path, requests_seen: tuple[str, list[str]]) -> None:
    write_raster(tmp_path / "a.tif", np.ones((20, 20), np.float32))
    (tmp_path / name).write_text(vrt(f"/vsicurl/{requests_seen[0]}/beside.tif"))
    with open_raster(tmp_path / "a.tif") as raster:
        assert float(raster.read(1, masked=True).sum()) == 400.0
        assert raster.overviews(1) == []
    assert requests_seen[1] == []


MAP_FAULTS: dict[str, Callable[[str], bytes]] = {
    "a VRT of layers": lambda address: (
        f'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/vsicurl/{address}/a.gpkg</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    ).encode(),
    "one behind a FlatGeobuf's first bytes": lambda address: (
        b"fgb\x03 <OGRVRTDataSource>" + address.encode() + b"</OGRVRTDataSource>"
    ),
    "a pipeline of GDAL": lambda address: json.dumps(
        {"type": "gdal_streamed_alg", "geometryType": "x", "command_line": f"gdal vector pipeline ! read {address}/a"}
    ).encode(),
    "a service of Esri": lambda address: json.dumps(
        {"geometryType": "esriGeometryPolygon", "features": [], "exceededTransferLimit": True, "url": address}
    ).encode(),
    "an empty database": lambda address: b"SQLite format 3\0" + b"\0" * 200,
    "a shapefile's first bytes": lambda address: b"\x00\x00\x27\x0a" + b"\0" * 200,
    "Parquet's first bytes": lambda address: b"PAR1" + b"\0" * 200,
    "PBF's first bytes": lambda address: b"\0\0\0\x0d\x0a\x09OSMHeader" + b"\xff" * 200,
}


@pytest.mark.parametrize("name", MAP_FAULTS)
def test_a_map_file_is_refused(name: str, tmp_path: Path, requests_seen: tuple[str, list[str]]) -> None:
    (tmp_path / "a.json").write_bytes(MAP_FAULTS[name](requests_seen[0]))
    refusal(lambda: read_map_file(tmp_path / "a.json"))
    assert requests_seen[1] == []


def test_an_archive_of_a_layer_is_bounded(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.shp", b"\0" * (80 << 20))
    refusal(lambda: read_map_file(tmp_path / "a.zip"), "unpacks to too much")


SCENES = {
    "a scene that includes itself": '<scene version="2.1.0"><include filename="scene.xml"/></scene>',
    "a document type": '<!DOCTYPE scene [<!ENTITY a "b">]><scene/>',
    "elements in one another": '<scene version="2.1.0">' + "<bsdf>" * 5000,
}


@pytest.mark.parametrize("name", SCENES)
def test_a_mitsuba_scene_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(SCENES[name])
    refusal(lambda: read_scene(tmp_path / "scene.xml"))
