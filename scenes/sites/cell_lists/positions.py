"""Positions of a list of cells in metres of the tile, and what is often wrong with them."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from pyproj import Transformer

from scenes.sites.cell_lists.quantities import Field, finite_number, quantity
from uel.errors import UelError
from uel.geo.tile import Tile

NULL_ISLAND = 0.01  # degrees around 0° N 0° E, where no list has a cell: positions that are not known
NEIGHBOURHOOD_RADIUS = 50e3  # m: farther from the tile a row is no neighbour of the network, but a mistake
FAR_ROWS = 10  # as many far rows make a list of a country
E7 = 1e7  # integers of 10⁻⁷ degrees, as some trackers write them
MIN_PROJECTED_METRES, MAX_PROJECTED_METRES = 1e4, 1.1e7  # eastings and northings of projections


@dataclass(frozen=True)
class Place:
    """Where a row lies."""

    x: float
    y: float
    """m east and north of the tile's centre"""
    is_geographic: bool
    """given in degrees; otherwise in metres of the tile"""


class TilePositions:
    """Positions of rows on one tile."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile

    @cached_property
    def _transformer(self) -> Transformer:
        return Transformer.from_crs("EPSG:4326", self.tile.meta["crs"], always_xy=True)

    def place(self, fields: dict[str, Field], where: str) -> Place | None:
        """The position of a row; None for 0° N 0° E, which stands for an unknown one.

        Raises `UelError` for a row with no position or two, for degrees that are none, and for degrees on a tile
        without a georeference.
        """
        pairs = [pair for pair in (("latitude", "longitude"), ("x", "y")) if any(name in fields for name in pair)]
        if len(pairs) != 1 or not all(name in fields for name in pairs[0]):
            raise UelError(
                f"{where} does not have one position",
                got=f"columns {', '.join(field.column.name for field in fields.values())}",
                do="give either latitude and longitude, or x and y in metres from the tile's centre",
            )
        if pairs[0] == ("x", "y"):
            return Place(quantity(fields["x"]), quantity(fields["y"]), False)
        if not self.tile.meta.get("crs"):
            do = "give x and y in metres instead"
            raise UelError(f"tile {self.tile.name} has no georeference", got=f"degrees in {where}", do=do)
        latitude, longitude = finite_number(fields["latitude"]), finite_number(fields["longitude"])
        for name, value, limit in (("latitude", latitude, 90.0), ("longitude", longitude, 180.0)):
            if abs(value) > limit:
                hint = self._degrees_hint(value, latitude, longitude)
                raise fields[name].error("is no degree", f"{hint}; degrees are decimal, -{limit:g} to {limit:g}")
        if abs(latitude) < NULL_ISLAND and abs(longitude) < NULL_ISLAND:
            return None
        x, y = self.metres(latitude, longitude)
        if not self.contains(x, y) and abs(longitude) <= 90 and self.contains(*self.metres(longitude, latitude)):
            raise UelError(
                f"latitude and longitude are swapped in {where}",
                got=f"latitude {latitude:g}, longitude {longitude:g}, which lies on the tile the other way round",
                do=f"swap the columns: --columns latitude={fields['longitude'].column.name} "
                f"longitude={fields['latitude'].column.name}",
            )
        return Place(x, y, True)

    def metres(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Metres east and north of the tile's centre; infinite where the projection has no such place."""
        east, north = self._transformer.transform(longitude, latitude)
        return east - self.tile.meta["origin"][0], north - self.tile.meta["origin"][1]

    def contains(self, x: float, y: float) -> bool:
        """Whether a position lies on the tile."""
        return (
            math.isfinite(x)
            and math.isfinite(y)
            and bool(self.tile.raster_grid.contains(torch.tensor([x, y]).double()))
        )

    def _degrees_hint(self, value: float, latitude: float, longitude: float) -> str:
        """What numbers that are no degrees look like."""
        if abs(latitude) <= 180 and abs(longitude) <= 90:
            return "perhaps the two are swapped"
        if self.contains(*self.metres(latitude / E7, longitude / E7)) or abs(value) > MAX_PROJECTED_METRES:
            return f"it looks like {value / E7:g}° times 10⁷: divide the column by 10⁷"
        if min(abs(latitude), abs(longitude)) > MIN_PROJECTED_METRES:
            return (
                "these look like metres of a projection (UTM, say): convert them to WGS 84 (ogr2ogr -t_srs EPSG:4326)"
            )
        return "correct it"

    def off_tile(self, place: Place) -> str:
        """How far off the tile's centre a place is, in words."""
        if not (math.isfinite(place.x) and math.isfinite(place.y)):
            return "beyond the projection of the tile"
        if not place.is_geographic:
            return f"x = {place.x:.1f} m, y = {place.y:.1f} m"
        distance, bearing = math.hypot(place.x, place.y), math.degrees(math.atan2(place.x, place.y)) % 360
        away = f"{distance / 1000:.0f} km" if distance > 5000 else f"{distance:.0f} m"
        return f"x = {place.x:.1f} m, y = {place.y:.1f} m ({away} from the centre, towards {bearing:.0f}°)"

    def sign_hint(self, fields: dict[str, Field]) -> str:
        """Advice where a coordinate without its minus sign would lie on the tile; empty otherwise."""
        latitude, longitude = (finite_number(fields[name]) for name in ("latitude", "longitude"))
        for name, place in (("latitude", (-latitude, longitude)), ("longitude", (latitude, -longitude))):
            if self.contains(*self.metres(*place)):
                return f"the sign of its {name} is wrong; "
        return ""


def is_far(place: Place) -> bool:
    """Whether a place is no neighbour of the tile's network."""
    return not math.hypot(place.x, place.y) <= NEIGHBOURHOOD_RADIUS
