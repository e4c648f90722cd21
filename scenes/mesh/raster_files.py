"""GeoTIFF files: the one way that rasters of others are opened.

GDAL reads 150 formats, some of which name other files and servers. Only its GeoTIFF driver is allowed here, on a local
file, without the files beside it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from uel.errors import UelError, brief

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PIXELS = 10**8  # that are read at once: 10 km at 1 m, 1 GB of memory
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no overviews, masks and metadata in files beside it
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # no address of a server
}


@contextmanager
def open_geotiff(file: Path | str, kind: str) -> Iterator[DatasetReader]:
    """Open a GeoTIFF file; `kind` is what it is in messages, "raster of heights" for example.

    Raises `UelError` for a file that is missing, is of another format, names no place of its pixels, or is damaged,
    here and while it is read.
    """
    path = Path(file)
    _require_tiff(path, kind)
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path.resolve(), driver="GTiff") as raster:
            if raster.transform.is_identity:
                do = "put the world file into it: gdal_translate IN.tif OUT.tif"
                raise UelError(f"the {kind} does not say where its pixels are", got=str(file), do=do)
            if max(height * width for height, width in raster.block_shapes) > MAX_PIXELS:
                got = f"{file}: blocks of {raster.block_shapes[0]} pixels"
                raise UelError(
                    f"the {kind} has blocks that are too large", got=got, do="write it again: gdal_translate"
                )
            yield raster
    except RasterioError as error:
        got = f"{file}: {brief(error)}"
        raise UelError(f"the {kind} cannot be read", got=got, do="give a GeoTIFF") from error


def require_readable_size(raster: DatasetReader, file: Path | str, window: Window | None = None) -> None:
    """Raise `UelError` where a raster, or a window of it, has too many pixels to be read at once."""
    height, width = (raster.height, raster.width) if window is None else (window.height, window.width)
    if height * width > MAX_PIXELS:
        do = "cut out a part, or make its pixels larger: gdal_translate -projwin …, gdalwarp -tr 1 1"
        raise UelError("the raster has too many pixels", got=f"{file}: {width:.0f} × {height:.0f}", do=do)


def _require_tiff(file: Path, kind: str) -> None:
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise UelError(f"the {kind} cannot be read", got=f"{file}: {error}", do="give a GeoTIFF") from error
    if start not in TIFF_MAGIC:
        do = "convert it: gdal_translate -of GTiff IN OUT.tif"
        raise UelError(f"the {kind} cannot be read: it is no GeoTIFF", got=f"{file}: it begins with {start!r}", do=do)
