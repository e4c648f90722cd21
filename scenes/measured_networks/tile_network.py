"""The measured network of a tile that `uel network` made, read back from its sites, rasters and reports."""

from pathlib import Path
from typing import Any

import torch

from uel.core.grid import Grid
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, read_drive_test
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.measured_network import DistrictRasters, MeasuredCells, MeasuredNetwork
from uel.radio.sites import cells_of

NETWORK_REPORT = "network_report.json"
REPORT_FILE, LABELLED_FILE, JUDGED_FILE = "reports.csv.gz", "labelled.csv.gz", "judged.csv.gz"


def is_network_tile(folder: Path) -> bool:
    """Whether a folder is a tile of a measured network."""
    return (folder / NETWORK_REPORT).is_file()


def read_network_report(tile: Tile) -> dict[str, Any]:
    """What of the measured network is on the tile. Raises `UelError` for a tile of another kind."""
    if not is_network_tile(tile.folder):
        do = "make one: uel network FOLDER"
        raise UelError("this tile is of no measured network", got=str(tile.folder), do=do)
    return read_json_object(tile.folder / NETWORK_REPORT)


def read_tile_network(tile: Tile, file: str = REPORT_FILE) -> MeasuredNetwork:
    """The network with the squares of one of the tile's logs; cells in the order of the tile's sites.

    Its grid is that of the rasters that the tile was cut of.

    Raises `UelError` for a tile of another kind, for a log that is missing, and as `read_drive_test`.
    """
    grid = Grid(**read_network_report(tile)["grid"])
    if not (tile.folder / file).is_file():
        do = "give a network whose squares report three cells in several blocks of 64 m"
        raise UelError("the reports of this tile are not split", got=f"no {file} in {tile.folder}", do=do)
    return _network(tile, grid, read_drive_test(tile, tile.folder / file, ColumnConfig()))


def _network(tile: Tile, grid: Grid, drive: Drive) -> MeasuredNetwork:
    row, column = grid.pixel_of(drive.position)
    return MeasuredNetwork(
        name=tile.name,
        crs=tile.meta["crs"],
        origin=tuple(tile.meta["origin"]),
        grid=grid,
        cells=_cells(tile),
        rasters=_rasters(tile, grid),
        row=row,
        column=column,
        level_dbm=torch.where(drive.reports.heard, drive.reports.rsrp_dbm, 0.0),
        is_reported=drive.reports.heard,
        device=torch.zeros(len(drive), dtype=torch.long),
    )


def _cells(tile: Tile) -> MeasuredCells:
    pairs = cells_of(tile.sites)
    position = torch.tensor([site.position for site, _ in pairs])
    ground = tile.ground(position[:, :2])
    numbers = torch.tensor(
        [
            [
                cell.azimuth_deg,
                cell.array.electrical_tilt_deg,
                cell.tilt_deg,
                cell.carrier.frequency,
                cell.power_dbm,
            ]
            for _, cell in pairs
        ]
    )
    azimuth, electrical, mechanical, frequency, power = numbers.unbind(1)
    row, column = tile.pixel_of(position[:, :2])
    return MeasuredCells(
        cell_id=tuple(str(cell.cell_id) for _, cell in pairs),
        is_listed=torch.ones(len(pairs), dtype=torch.bool),
        position=position[:, :2],
        height=position[:, 2] - ground,
        ground=ground,
        roof=tile.rasters["height"][row, column] - tile.rasters["ground"][row, column],
        azimuth_deg=azimuth,
        electrical_tilt_deg=electrical,
        mechanical_tilt_deg=mechanical,
        frequency=frequency,
        power_dbm=power,
    )


def _rasters(tile: Tile, grid: Grid) -> DistrictRasters:
    """Of the tile at the centres of squares; squares whose centre is off the tile are not known."""
    centres = grid.centres()
    inside = tile.raster_grid.contains(centres)
    row, column = tile.pixel_of(torch.where(inside[..., None], centres, 0.0))
    ground, top = tile.rasters["ground"][row, column], tile.rasters["height"][row, column]
    known = inside & (tile.rasters["known"][row, column] > 0) if "known" in tile.rasters else inside
    return DistrictRasters(
        building_height=torch.where(known, top - ground, 0.0).clamp(min=0.0),
        building_known=known,
        terrain=torch.where(inside, ground, 0.0),
        terrain_known=inside,
        clutter=torch.zeros(grid.shape, dtype=torch.long),
    )
