"""Where a tile's metres are on earth, as raster and vector formats need it."""

from dataclasses import dataclass

from rasterio import Affine

from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile


@dataclass(frozen=True)
class Georeference:
    """The projection of a tile's metres, and easting and northing of its centre in it."""

    crs: str
    origin: tuple[float, float]

    @staticmethod
    def of(tile: Tile) -> "Georeference":
        """A tile's georeference. Raises `UelError` for a tile that has none, as those of Sionna's cities."""
        crs, origin = tile.meta.get("crs"), tile.meta.get("origin")
        if not crs or not origin:
            do = "build it from a map, or from a scene with --origin LAT LON"
            raise UelError("this tile is nowhere on earth", got=f"{tile.folder}: no CRS in tile.json", do=do)
        return Georeference(str(crs), (float(origin[0]), float(origin[1])))

    def transform(self, grid: Grid) -> Affine:
        """From column and row of a raster with row 0 in the north to easting and northing."""
        west, north = self.origin[0] - grid.size / 2, self.origin[1] + grid.size / 2
        return Affine(grid.pixel, 0.0, west, 0.0, -grid.pixel, north)
