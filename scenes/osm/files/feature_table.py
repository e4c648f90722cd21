"""The table of features that every reader makes, and what it could not read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from scenes.osm.geo_box import GeoBox
from uel.errors import UelError

FEATURE_KEYS = ("building", "building:part", "highway", "natural", "landuse", "leisure", "waterway", "water")
BUILDING_KEYS = ("building", "building:part")
METADATA_COLUMNS = ("geometry",)
IDS_PER_NOTE = 5  # ids that a note lists

FeatureRow = tuple[str, int | str, BaseGeometry, Mapping[str, str]]


class LostFeature(NamedTuple):
    """A building of a map file that cannot be built, and why."""

    id: str
    """`way/123`, `relation/45`"""
    reason: str
    place: tuple[float, float] | None = None
    """longitude and latitude in degrees of one of its points; None where the file tells none"""


@dataclass(frozen=True, kw_only=True)
class MapContent:
    """What a map file says."""

    frame: gpd.GeoDataFrame
    """features: WGS84 geometry, string tags, indexed by element and id; longitudes go on beyond 180 where the file
    crosses the antimeridian"""
    boxes: tuple[GeoBox, ...] = ()
    """the areas that the file says it covers; empty where it does not say"""
    lost: tuple[LostFeature, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """what a user should know of the file: incomplete features, columns that were or were not understood"""


def feature_table(rows: Sequence[FeatureRow]) -> gpd.GeoDataFrame:
    """A table of features from (element, id, geometry in degrees, tags)."""
    index = pd.MultiIndex.from_tuples([row[:2] for row in rows], names=["element", "id"])
    data = pd.DataFrame([row[3] for row in rows], index=index)
    data = data.drop(columns=[name for name in METADATA_COLUMNS if name in data])
    return gpd.GeoDataFrame(data, geometry=[row[2] for row in rows], crs="EPSG:4326")


def has_feature_key(tags: Iterable[str]) -> bool:
    """Whether tags name a building, a road, water or green."""
    return any(key in tags for key in FEATURE_KEYS)


def is_building(tags: Mapping[str, str]) -> bool:
    """Whether tags name a building or a part of one."""
    return any(key in tags for key in BUILDING_KEYS)


def unwrapped_longitudes(longitudes: np.ndarray) -> np.ndarray:
    """Longitudes in degrees; western ones plus 360 where they lie across the antimeridian from eastern ones."""
    if not len(longitudes) or np.ptp(longitudes) <= 180.0:
        return longitudes
    shifted = np.where(longitudes < 0.0, longitudes + 360.0, longitudes)
    return shifted if np.ptp(shifted) < np.ptp(longitudes) else longitudes


def unwrapped_rows(rows: Sequence[FeatureRow]) -> list[FeatureRow]:
    """The rows with geometries whose longitudes are those of `unwrapped_longitudes`."""
    geometry = np.array([row[2] for row in rows], dtype=object)
    points = shapely.get_coordinates(geometry)
    x = unwrapped_longitudes(points[:, 0])
    if x is points[:, 0] or (x == points[:, 0]).all():
        return list(rows)
    shapely.set_coordinates(geometry, np.column_stack([x, points[:, 1]]))
    return [(row[0], row[1], shape, row[3]) for row, shape in zip(rows, geometry, strict=True)]


def id_list(ids: Iterable[str]) -> str:
    """The first ids of many, for a message."""
    names = list(ids)
    return ", ".join(names[:IDS_PER_NOTE]) + (", …" if len(names) > IDS_PER_NOTE else "")


def no_features_error(file: object) -> UelError:
    """The error of a map without anything to build from."""
    return UelError(
        "the map file has neither buildings nor roads", got=str(file), do="give a larger extract of the map"
    )


def not_degrees_error(got: str) -> UelError:
    """The error of coordinates in metres or feet whose reference system is not said."""
    return UelError(
        "the map file's coordinates are not degrees",
        got=got,
        do="convert it to longitude and latitude, WGS84, or say its CRS in the file",
    )
