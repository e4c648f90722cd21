"""Layers of GeoPackage, Shapefile, FlatGeobuf and GeoParquet, read by GDAL and geopandas, in degrees."""

from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow
import pyarrow.parquet
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from scenes.osm.files.attributes import looks_like_footprints
from scenes.osm.files.feature_table import MapContent, has_feature_key, not_degrees_error
from scenes.osm.files.formats import unpacked_vector_file
from scenes.osm.files.layer_rows import LayerFeature, layer_content
from scenes.osm.geo_box import GeoBox
from uel.errors import UelError

LAYER_ERRORS = (DataSourceError, DataLayerError, FieldError, GeometryError, pyarrow.ArrowException)
GEOMETRY_COLUMNS = ("geometry", "geom", "wkb_geometry", "wkb", "the_geom")  # of a table that does not say which


def read_vector_layers(path: Path, box: GeoBox | None = None, driver: str = "") -> MapContent:
    """The features of all layers of a file.

    Args:
        box: reads only what touches this box in degrees.
        driver: GDAL's name of the format, where its bytes do not say it.

    Raises `UelError` for a file without layers, a layer without a CRS whose coordinates are not degrees, and one whose
    columns do not say that its polygons are buildings.
    """
    source = f"{driver}:{path.resolve()}" if driver else unpacked_vector_file(path)
    layers = [str(name) for name, kind in pyogrio.list_layers(source) if kind is not None]
    if not layers:
        raise UelError("the map file has no layer with geometries", got=str(path), do="export it with geometries")
    frames = {name: _read_layer(source, name, path, box) for name in layers}
    if box and not any(len(frame) for frame in frames.values()):  # where its features are, is told by all of them
        return read_vector_layers(path, driver=driver)
    if len(frames) > 1:  # a layer of parks beside one of buildings
        frames = {name: frame for name, frame in frames.items() if _is_of_buildings(frame, name)} or frames
    items = (item for frame in frames.values() for item in _features(frame))
    return layer_content(items, " ".join(frames) if len(layers) > 1 else f"{path.name} {layers[0]}", path)


def _is_of_buildings(frame: gpd.GeoDataFrame, name: str) -> bool:
    """Whether a layer has OpenStreetMap's columns, or those of footprints, or such a name."""
    columns = [str(column) for column in frame.columns if column != frame.geometry.name]
    return has_feature_key(columns) or looks_like_footprints(columns, name)


def read_parquet(path: Path, box: GeoBox | None = None) -> MapContent:
    """The features of a (Geo)Parquet file, as `read_vector_layers`."""
    columns = pyarrow.parquet.read_schema(path).names
    if b"geo" in (pyarrow.parquet.read_schema(path).metadata or {}):
        try:
            frame = gpd.read_parquet(path, bbox=tuple(box) if box else None)
        except ValueError:  # no box column to filter by
            frame = gpd.read_parquet(path)
    else:
        name = next((name for name in GEOMETRY_COLUMNS if name in columns), None)
        if name is None:
            raise UelError(
                "the Parquet file has no geometry",
                got=f"{path}: columns {', '.join(columns)[:200]}",
                do="write it as GeoParquet",
            )
        table = pyarrow.parquet.read_table(path).to_pandas()
        frame = gpd.GeoDataFrame(table.drop(columns=name), geometry=shapely.from_wkb(table[name].to_numpy()))
    if box and not len(frame):
        return read_parquet(path)
    return layer_content(_features(_in_degrees(frame, path)), path.name, path)


def _read_layer(source: str, name: str, path: Path, box: GeoBox | None) -> gpd.GeoDataFrame:
    info = pyogrio.read_info(source, layer=name)
    window = None
    if box and info["crs"]:
        window = tuple(gpd.GeoSeries([shapely.box(*box)], crs="EPSG:4326").to_crs(info["crs"]).total_bounds)
    frame = pyogrio.read_dataframe(source, layer=name, bbox=window, fid_as_index=True)
    return _in_degrees(frame, path) if isinstance(frame, gpd.GeoDataFrame) else gpd.GeoDataFrame(frame, geometry=[])


def _in_degrees(frame: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """The layer in WGS 84; one without a CRS counts as such where its coordinates can be degrees."""
    if frame.crs is not None:
        return frame.to_crs("EPSG:4326")
    bounds = np.nan_to_num(frame.total_bounds)
    if (np.abs(bounds) > [360, 90, 360, 90]).any():
        raise not_degrees_error(f"{path}: no CRS, coordinates from {bounds[0]:g}, {bounds[1]:g}")
    return frame.set_crs("EPSG:4326")


def _features(frame: gpd.GeoDataFrame) -> Iterator[LayerFeature]:
    names = [name for name in frame.columns if name != frame.geometry.name]
    values = [frame[name].astype(object).to_numpy() for name in names]
    shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    for row, shape in enumerate(shapes):
        properties = {name: column[row] for name, column in zip(names, values, strict=True)}
        yield None, shape, properties, ""
