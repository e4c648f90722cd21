"""Reads a folder of a drive test of a few cells: `cells.json`, a table of levels with degrees, a map of the streets.

`cells.json` has a list `cells` of objects `pci`, `lat`, `lon`, `azimuth_deg_from_north`, `freq_hz`, and
`tx_height_m_used_by_authors`. `rsrp.csv` or `rsrp.csv.gz` has columns `PCI`, `latitude`, `longitude`, `rsrp` and
`device`. A file of OpenStreetMap (`*.osm`, `*.osm.gz`, `*.osm.pbf`) may lie beside them: its roads and footways.
One measured square is what one make of phones reported on one square of `SQUARE_SIDE` metres.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pyproj import Transformer
from rasterio import Affine, features
from torch import Tensor

from scenes.osm.files.map_file import read_map_file
from scenes.osm.footprints import building_outlines, to_local
from scenes.osm.reader import utm_zone
from uel.core.grid import Grid
from uel.core.outside.json_text import read_json_object
from uel.core.tables.small_tables import read_table
from uel.errors import UelError
from uel.measurement.measured_network import DistrictRasters, MeasuredCells, MeasuredNetwork

CELL_FILE = "cells.json"
LEVEL_FILES = ("rsrp.csv.gz", "rsrp.csv")
LEVEL_COLUMNS = ("PCI", "latitude", "longitude", "rsrp")
MAP_PATTERN = "*.osm*"
SQUARE_SIDE = 10.0  # m: a phone's GNSS is no finer
MARGIN_SQUARES = 5  # around the reports
WAY_HALF_WIDTH = 7.5  # m around the centre line of a road or footway
RSRP_LIMITS_DBM = (-156.0, -20.0)  # reportable RSRP ends at -156 dBm (TS 36.133, table 9.1.4-1)
MIN_CELLS = 1  # with six cells in all, a place that hears one is judged, too


def is_drive_folder(folder: Path) -> bool:
    """Whether a folder holds a drive test of this format."""
    return (folder / CELL_FILE).is_file()


def read_drive_folder(folder: Path) -> MeasuredNetwork:
    """The measured network of a drive test; a phone can be anywhere around its reports.

    The power of a cell is not known: it is 0 dBm, and the trend's intercept has it.

    Raises:
        UelError: for a file that is missing or cannot be read, missing columns, and values that cannot be.
    """
    return network_of_levels(folder, _read_levels(folder), *_read_cells(folder))


def network_of_levels(folder: Path, table: pd.DataFrame, listed: list[dict], height: float) -> MeasuredNetwork:
    """The network of a checked table of levels (`LEVEL_COLUMNS` and `device`), with the antennas that are listed.

    A map of the streets is taken from `folder`, where it has one.
    """
    crs = utm_zone(float(table["latitude"].median()), float(table["longitude"].median()))
    transformer = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    east, north = (np.asarray(v) for v in transformer.transform(table["longitude"], table["latitude"]))
    square = np.floor(np.stack([east, north], 1) / SQUARE_SIDE).astype(np.int64)
    corner = square.min(0) - MARGIN_SQUARES
    count = int((square.max(0) - corner).max()) + 1 + MARGIN_SQUARES
    grid = Grid(size=count * SQUARE_SIDE, pixel=SQUARE_SIDE)
    origin = (float(corner[0] * SQUARE_SIDE + grid.size / 2), float(corner[1] * SQUARE_SIDE + grid.size / 2))
    devices, device = np.unique(table["device"].to_numpy(str), return_inverse=True)
    names = [str(cell["pci"]) for cell in listed]
    names += [name for name in dict.fromkeys(table["PCI"]) if name not in names]
    places, number = np.unique(np.column_stack([square - corner, device]), axis=0, return_inverse=True)
    levels, is_reported = _mean_levels(
        number.reshape(-1), table["PCI"].map(names.index).to_numpy(), table["rsrp"], names
    )
    column, row, make = (torch.from_numpy(values.copy()) for values in places.T)
    return MeasuredNetwork(
        name=folder.name,
        crs=crs,
        origin=origin,
        grid=grid,
        cells=_cells(listed, height, names, transformer, origin),
        rasters=_rasters(folder, grid, crs, origin),
        row=row,
        column=column,
        level_dbm=levels,
        is_reported=is_reported,
        device=make,
        devices=tuple(devices.tolist()),
        min_cells=MIN_CELLS,
        is_outdoors=False,
    )


def _read_levels(folder: Path) -> pd.DataFrame:
    file = next((folder / name for name in LEVEL_FILES if (folder / name).is_file()), None)
    if file is None:
        raise UelError("the folder has no table of levels", got=str(folder), do=f"add {LEVEL_FILES[0]}")
    try:
        table = read_table(file, {"PCI": str, "device": str})
    except UelError as error:
        raise UelError("the table of levels cannot be read", got=f"{file}: {error}", do="give a CSV file") from error
    missing = [name for name in LEVEL_COLUMNS if name not in table.columns]
    if missing or table.empty:
        got = f"{file}: {len(table)} rows, columns {', '.join(map(str, table.columns))}"
        raise UelError("the table of levels lacks columns or rows", got=got, do=f"give {', '.join(LEVEL_COLUMNS)}")
    limits = {"latitude": (-80.0, 84.0), "longitude": (-180.0, 180.0), "rsrp": RSRP_LIMITS_DBM}
    for name, (low, high) in limits.items():
        numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        bad = ~((numbers >= low) & (numbers <= high))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            got, do = repr(table[name].iloc[row]), f"give {low:g} to {high:g}"
            raise UelError(f"{name} in row {row + 1} of {file} cannot be", got=got, do=do)
        table[name] = numbers
    table["device"] = table["device"].fillna("") if "device" in table.columns else ""
    return table


def _read_cells(folder: Path) -> tuple[list[dict], float]:
    """The listed cells, and the height of their antennas in metres."""
    try:
        content = read_json_object(folder / CELL_FILE)
        cells, height = content["cells"], float(content["tx_height_m_used_by_authors"])
        needed = ("pci", "lat", "lon", "azimuth_deg_from_north", "freq_hz")
        assert all(name in cell for cell in cells for name in needed), f"each cell needs {', '.join(needed)}"
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        got, do = f"{folder / CELL_FILE}: {error!r}", "give cells with pci, lat, lon, azimuth_deg_from_north, freq_hz"
        raise UelError("the list of cells cannot be read", got=got, do=do) from error
    return cells, height


def _cells(
    listed: list[dict], height: float, names: list[str], transformer: Transformer, origin: tuple[float, float]
) -> MeasuredCells:
    numbers = torch.zeros(len(names), 4)
    for number, cell in enumerate(listed):
        east, north = transformer.transform(cell["lon"], cell["lat"])
        numbers[number] = torch.tensor(
            [east - origin[0], north - origin[1], cell["azimuth_deg_from_north"], cell["freq_hz"]]
        )
    is_listed, zero = torch.arange(len(names)) < len(listed), torch.zeros(len(names))
    return MeasuredCells(
        cell_id=tuple(names),
        is_listed=is_listed,
        position=numbers[:, :2],
        height=height * is_listed.float(),
        ground=zero,
        roof=zero,
        azimuth_deg=numbers[:, 2],
        electrical_tilt_deg=zero,
        mechanical_tilt_deg=zero,
        frequency=numbers[:, 3],
        power_dbm=zero,
    )


def _mean_levels(square: np.ndarray, cell: np.ndarray, rsrp: pd.Series, names: list[str]) -> tuple[Tensor, Tensor]:
    """Mean levels in dBm of squares and cells, and where there is one."""
    total, count = np.zeros((2, int(square.max()) + 1, len(names)))
    np.add.at(total, (square, cell), rsrp.to_numpy())
    np.add.at(count, (square, cell), 1)
    levels = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return torch.from_numpy(levels).float(), torch.from_numpy(count > 0)


def _rasters(folder: Path, grid: Grid, crs: str, origin: tuple[float, float]) -> DistrictRasters:
    """Buildings and ways of the map; heights are not known, a building is 1 m high at least."""
    zero, no = torch.zeros(grid.shape), torch.zeros(grid.shape, dtype=torch.bool)
    file = next(iter(sorted(folder.glob(MAP_PATTERN))), None)
    if file is None:
        return DistrictRasters(
            building_height=zero, building_known=no, terrain=zero, terrain_known=no, clutter=zero.long()
        )
    frame = to_local(read_map_file(file).frame, crs, origin)
    pixels = Affine(grid.pixel, 0, -grid.size / 2, 0, grid.pixel, -grid.size / 2)

    def burnt(shapes: list, touched: bool) -> Tensor:
        if not shapes:
            return no
        raster = features.rasterize(shapes, grid.shape, transform=pixels, all_touched=touched, dtype="uint8")
        return torch.from_numpy(raster).bool()

    outlines, _ = building_outlines(frame)
    is_way = frame["highway"].notna() if "highway" in frame.columns else pd.Series(False, index=frame.index)
    ways = [shape.buffer(WAY_HALF_WIDTH) for shape in frame.geometry[is_way] if not shape.is_empty]
    building = burnt([outline.shape for outline in outlines], touched=False)
    return DistrictRasters(
        building_height=building.float(),
        building_known=~no,
        terrain=zero,
        terrain_known=no,
        clutter=zero.long(),
        way=burnt(ways, touched=False),
    )
