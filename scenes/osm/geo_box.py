"""Boxes of longitudes and latitudes."""

import math
from typing import NamedTuple

METRES_PER_DEGREE = 111_320.0  # of latitude; on the equator also of longitude


class GeoBox(NamedTuple):
    """A box of longitudes and latitudes in degrees; `east` is beyond 180 where the box crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @property
    def center(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return (self.south + self.north) / 2, wrapped_longitude((self.west + self.east) / 2)

    @property
    def side(self) -> float:
        """Length of the longer side in metres."""
        wide = (self.east - self.west) * math.cos(math.radians(self.center[0]))
        return METRES_PER_DEGREE * max(wide, self.north - self.south)


def wrapped_longitude(longitude: float) -> float:
    """The longitude between -180 and 180 degrees."""
    return longitude if -180.0 <= longitude <= 180.0 else (longitude + 180.0) % 360.0 - 180.0


def box_around(center: tuple[float, float], half: float) -> GeoBox:
    """A box around the square of side 2 `half` metres at a latitude and longitude, 10 % larger than the square."""
    latitude, longitude = center
    tall = 1.1 * half / METRES_PER_DEGREE
    wide = tall / math.cos(math.radians(latitude))
    return GeoBox(longitude - wide, latitude - tall, longitude + wide, latitude + tall)
