"""Buildings, sites, cells and the square of a tile as tables of features, and their GeoPackage and KML."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import torch
from rasterio import Affine, features
from scipy import ndimage

from scenes.export.georeference import Georeference
from scenes.materials.random_materials import file_slug
from uel.core.io import staged_named_file
from uel.geo.scene_files import read_ply
from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

SNAP_DISTANCE = 1e-3  # m: corners of a mesh's triangles that are nearer than that are one


def building_table(tile: Tile) -> gpd.GeoDataFrame:
    """Footprints with `base` and `top` in metres above the ground, in the tile's projection.

    Tiles from maps have a row for each building, with id, materials and where its height comes from; tiles from meshes
    have no buildings: a row is a connected piece of the footprint raster, with the median height of its roofs.
    """
    place = Georeference.of(tile)
    rows = _map_buildings(tile) if tile.meta.get("buildings") else _raster_buildings(tile)
    return _table(rows, place)


def _map_buildings(tile: Tile) -> list[dict[str, Any]]:
    rows = []
    for identity, building in tile.meta["buildings"].items():
        plain = {key: value for key, value in building.items() if isinstance(value, str | float | int)}
        rows.append({"id": identity, **plain, "geometry": _footprint(tile, identity)})
    return rows


def _footprint(tile: Tile, identity: str) -> Any:
    """The outline of a building's roof, from the triangles of its mesh."""
    mesh = read_ply(tile.folder / "meshes" / f"building-{file_slug(identity)}-roof.ply")
    triangles = mesh.vertex[mesh.face, :2]
    return shapely.union_all(shapely.polygons(triangles), grid_size=SNAP_DISTANCE)


def _raster_buildings(tile: Tile) -> list[dict[str, Any]]:
    labels: Any = ndimage.label(tile.rasters["footprint"].numpy() > 0.5)[0]  # type: ignore[index]
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()
    tops = ndimage.median(above, labels, np.arange(1, labels.max() + 1)) if labels.max() else []
    pixel, low = tile.raster_grid.pixel, -tile.size / 2
    shapes = features.shapes(labels.astype(np.int32), mask=labels > 0, transform=Affine(pixel, 0, low, 0, pixel, low))
    return [
        {
            "id": f"piece/{int(label)}",
            "base": 0.0,
            "top": float(tops[int(label) - 1]),
            "geometry": shapely.geometry.shape(g),
        }
        for g, label in shapes
    ]


def site_table(tile: Tile) -> gpd.GeoDataFrame:
    """A point for each site: `site`, `z` in metres above the datum, `height` above the ground, number of `cells`."""
    rows = [
        {
            "site": number,
            "cells": len(site.cells),
            "z": site.position[2],
            "height": _height(tile, site),
            "geometry": shapely.Point(site.position[:2]),
        }
        for number, site in enumerate(tile.sites)
    ]
    return _table(rows, Georeference.of(tile))


def cell_table(tile: Tile) -> gpd.GeoDataFrame:
    """A point for each cell with its antenna, its carrier and its identity; azimuths clockwise from grid north."""
    rows = [
        {
            "site": tile.sites.index(site),
            "z": site.position[2],
            "height": _height(tile, site),
            "azimuth_deg": cell.azimuth_deg,
            "tilt_deg": cell.tilt_deg,
            "power_dbm": cell.power_dbm,
            "pattern": cell.array.pattern,
            "frequency_mhz": cell.carrier.frequency / 1e6,
            "bandwidth_mhz": cell.carrier.bandwidth / 1e6,
            **{name: cell.identity.get(name) for name in ("cell_id", "pci", "channel_number", "technology", "name")},
            "geometry": shapely.Point(site.position[:2]),
        }
        for site, cell in cells_of(tile.sites)
    ]
    return _table(rows, Georeference.of(tile))


def _height(tile: Tile, site: Site) -> float:
    row, column = tile.raster_grid.pixel_of(torch.tensor(site.position[:2]))
    return round(site.position[2] - float(tile.rasters["ground"][row, column]), 3)


def square_table(tile: Tile) -> gpd.GeoDataFrame:
    """The tile's square with its name and fingerprint."""
    half = tile.size / 2
    row = {"name": tile.name, "fingerprint": tile.fingerprint, "size": tile.size}
    return _table([{**row, "geometry": shapely.box(-half, -half, half, half)}], Georeference.of(tile))


def _table(rows: list[dict[str, Any]], place: Georeference) -> gpd.GeoDataFrame:
    """Rows with geometry in metres of the tile as a table in its projection."""
    table = gpd.GeoDataFrame(rows, geometry="geometry" if rows else [], crs=place.crs)
    return table.set_geometry(table.geometry.translate(*place.origin)) if rows else table


def write_geopackage(file: Path, tile: Tile) -> None:
    """Write layers `tile`, `buildings`, and of a tile with sites `sites` and `cells`.

    Raises `UelError` for a tile without a georeference.
    """
    layers = {"tile": square_table(tile), "buildings": building_table(tile)}
    if tile.has_sites:
        layers |= {"sites": site_table(tile), "cells": cell_table(tile)}
    with staged_named_file(file) as staged:
        for name, table in layers.items():
            table.to_file(staged, layer=name, driver="GPKG")


def write_kml(file: Path, tile: Tile) -> None:
    """Write buildings as extruded polygons and cells as points, heights above the ground (OGC KML 2.3).

    Raises `UelError` for a tile without a georeference.
    """
    buildings = building_table(tile).to_crs("EPSG:4326")
    raised = shapely.force_3d(np.asarray(buildings.geometry), buildings["top"].to_numpy() if len(buildings) else 0.0)
    placemarks = [_placemarks(gpd.GeoDataFrame({"Name": buildings.get("id", [])}, geometry=raised, crs="EPSG:4326"))]
    names = ["buildings"]
    if tile.has_sites:
        cells = cell_table(tile).to_crs("EPSG:4326")
        points = shapely.force_3d(np.asarray(cells.geometry), cells["height"].to_numpy())
        labels = [cell.label for _, cell in cells_of(tile.sites)]
        placemarks.append(_placemarks(gpd.GeoDataFrame({"Name": labels}, geometry=points, crs="EPSG:4326")))
        names.append("cells")
    with staged_named_file(file) as staged:
        for name, table in zip(names, placemarks, strict=True):
            table.to_file(staged, layer=name, driver="LIBKML", mode="a" if staged.exists() else "w")


def _placemarks(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """With the columns that GDAL's KML driver turns into elements of the placemark."""
    return gpd.GeoDataFrame(table.assign(altitudeMode="relativeToGround", extrude=np.int32(1)))
