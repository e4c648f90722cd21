"""A measured network as a tile: the city around it, its masts as sites, its reports as a log of the tile."""

import csv
import gzip
import io
import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from pyproj import Transformer
from torch import Tensor

from scenes.builder import TileInspection, build
from scenes.config import TileBuildConfig
from scenes.measured_networks.cell_table import CELL_TEMPLATE
from scenes.measured_networks.config import NetworkConfig
from scenes.measured_networks.rasters import RASTER_FILES
from scenes.measured_networks.reader import read_measured_network
from scenes.measured_networks.tile_network import JUDGED_FILE, LABELLED_FILE, NETWORK_REPORT, REPORT_FILE
from scenes.tiles.writer import json_bytes, update_files, write_sites
from uel.core.files.folder_names import require_folder_name
from uel.core.files.write_errors import require_writable
from uel.errors import UelError
from uel.geo.tile import MAST_CLEARANCE, Tile
from uel.measurement.measured_network import MeasuredCells, MeasuredNetwork, split_labels
from uel.radio.sites import Site, cells_of

PATCH_MULTIPLE = 128.0  # m: 32 patches of 4 m, which locators and radio maps take by default
OSM_MARGIN = 128.0  # m, border of buildings around a tile that is built from a map
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NetworkTile:
    """The tile of a measured network, and what of the network is on it."""

    tile: Tile
    report: dict[str, Any]
    """what `network_report.json` in the tile's folder holds"""

    def summary(self) -> list[str]:
        """Sentences for a log."""
        cells, levels, masts = self.report["cells"], self.report["levels"], self.report["masts"]
        labels = self.report["reports"]
        return [
            f"{cells['on_tile']} of {cells['heard']} heard cells stand on the tile, ±{self.tile.size / 2:g} m; "
            f"{cells['beyond']} stand beyond (up to {cells['farthest']:.0f} m away) and {cells['unlisted']} are not "
            f"in the list: {levels['kept']:.1%} of {levels['measured']} levels are kept",
            f"masts: {masts['on_roof']} raised onto the roof below them, {masts['unknown_height']} without a height "
            f"put at {masts['unknown_mast']:g} m",
            f"{labels['reports']} squares, of which {labels.get('labelled', 0)} are labelled and "
            f"{labels.get('judged', 0)} judged",
        ]


def build_network(config: NetworkConfig, inspect: TileInspection | None = None) -> NetworkTile:
    """Build the tile of a measured network, with its sites and its reports.

    The tile's centre is that of the folder's rasters. Of the list those cells become sites that any square reports and
    that stand on the tile: what lies between the tile and a mast beyond is not known, and levels of these are left out
    of the reports. An antenna stands at its height above the tile's ground; one that would be inside a building is
    raised to `MAST_CLEARANCE` above the roof (the tile's, or the list's `roof_m`).

    Files beside those of a tile: `reports.csv.gz` (a row a level: `device, x, y, cell_id, rsrp`, metres of the tile),
    the same split by blocks of 64 m into `labelled.csv.gz` and `judged.csv.gz`, and `network_report.json`.

    Args:
        config: folder and options.
        inspect: see `scenes.builder.build`.

    Raises:
        UelError: for a folder without rasters or heights, where no heard cell stands on the tile, and as
            `read_measured_network` and `build`.
    """
    network = read_measured_network(config.folder)
    tile = _city(config, network, inspect)
    placed, position = _on_tile(network, tile)
    heard = placed.is_reported.any(0)
    inside = tile.raster_grid.contains(placed.cells.position) & placed.cells.is_listed
    if not bool((heard & inside).any()):
        got = f"{int(heard.sum())} heard cells, {int((heard & placed.cells.is_listed).sum())} of them in the list"
        raise UelError("no heard cell stands on the tile", got=got, do="make the tile larger: --size METRES")
    kept = placed.with_cells((heard & inside).nonzero()[:, 0])
    is_used = kept.is_reported.any(1) & tile.raster_grid.contains(position)
    kept, position = kept.select(is_used), position[is_used]
    cells, masts = _raised(kept.cells, tile, config.unknown_mast)
    sites = _one_carrier(cells.sites(0.0, CELL_TEMPLATE), config.carrier_tolerance)
    tables = {REPORT_FILE: torch.arange(len(kept))}
    try:
        split = split_labels(kept, config.seed)
        tables |= {LABELLED_FILE: split.labelled, JUDGED_FILE: split.judged}
    except UelError as error:
        log.warning("%s: its reports are not split into labelled and judged ones: %s", tile.name, error)
    report = {
        "source": str(config.folder.name),
        "cells": _cell_counts(placed, heard, inside),
        "levels": {
            "measured": int(network.is_reported.sum()),
            "kept": int(kept.is_reported.sum()) / int(network.is_reported.sum()),
        },
        "masts": {**masts, "unknown_mast": config.unknown_mast},
        "carriers_mhz": dict(Counter(f"{cell.carrier.frequency / 1e6:g}" for _, cell in cells_of(sites))),
        "reports": {name.partition(".")[0]: len(squares) for name, squares in tables.items()},
        "grid": {"size": network.grid.size, "pixel": network.grid.pixel},
        "seed": config.seed,
    }
    tile = write_sites(tile, sites)
    files = {name: _report_table(kept, position, squares) for name, squares in tables.items()}
    result = NetworkTile(update_files(tile, {**files, NETWORK_REPORT: json_bytes(report)}), report)
    for sentence in result.summary():
        log.info("%s: %s", tile.name, sentence)
    return result


def _city(config: NetworkConfig, network: MeasuredNetwork, inspect: TileInspection | None) -> Tile:
    """The tile without sites, centred on the network's rasters."""
    folder = config.folder
    heights = config.heights or folder / RASTER_FILES["building_height"]
    if not network.crs or not heights.is_file():
        got = str(heights) if network.crs else f"no raster in {folder}, so its CRS is not known"
        do = f"add {RASTER_FILES['building_height']}, or {RASTER_FILES['terrain']} and --heights MAP.osm.gz"
        raise UelError("a tile needs the heights of buildings", got=got, do=do)
    dem = config.dem or (folder / RASTER_FILES["terrain"])
    extent = network.grid.size
    size = config.size or max(math.floor(extent / PATCH_MULTIPLE), 1) * PATCH_MULTIPLE
    from_raster = heights.suffix.lower() == ".tif"
    margin = max((extent - size) / 2, 0.0) if from_raster else OSM_MARGIN
    to_degrees = Transformer.from_crs(network.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(*network.origin)
    options = TileBuildConfig(
        size=size,
        margin=margin,
        pixel=config.pixel,
        dem=dem if config.dem or dem.is_file() else None,
        raster=config.raster if from_raster else TileBuildConfig().raster,
        vegetation=config.vegetation,
        seed=config.seed,
    )
    name = config.name or folder.resolve().name
    require_writable(config.out)
    target = config.out / require_folder_name(name, "the tile's name (--name)")
    return build(heights, target, options, center=(latitude, longitude), name=name, inspect=inspect, progress=False)


def _on_tile(network: MeasuredNetwork, tile: Tile) -> tuple[MeasuredNetwork, Float[Tensor, "square 2"]]:
    """The network with masts and azimuths in the tile's CRS, and the squares' centres in metres of the tile."""
    shift = Transformer.from_crs(network.crs, tile.meta["crs"], always_xy=True)
    origin = torch.tensor(tile.meta["origin"], dtype=torch.float64)

    def moved(position: Float[Tensor, "place 2"]) -> Float[Tensor, "place 2"]:
        east, north = (position.double() + torch.tensor(network.origin, dtype=torch.float64)).T.numpy()
        there = torch.stack([torch.from_numpy(axis) for axis in shift.transform(east, north)], 1)
        return (there - origin).float()

    middle, above = moved(torch.tensor([[0.0, 0.0], [0.0, 1000.0]]))
    angle = math.degrees(math.atan2(*(above - middle).tolist()))
    azimuth = (network.cells.azimuth_deg + angle) % 360.0
    cells = replace(network.cells, position=moved(network.cells.position), azimuth_deg=azimuth)
    return replace(network, cells=cells), moved(network.position)


def _raised(cells: MeasuredCells, tile: Tile, unknown_mast: float) -> tuple[MeasuredCells, dict[str, int]]:
    """The cells at heights above the tile's ground where antennas can stand, and how many were moved."""
    row, column = tile.pixel_of(cells.position)
    ground, top = tile.rasters["ground"][row, column], tile.rasters["height"][row, column]
    is_unknown = cells.height <= 0
    height = torch.where(is_unknown, unknown_mast, cells.height)
    roof = torch.maximum(top - ground, cells.roof)
    is_inside: Bool[Tensor, " cell"] = height < roof + MAST_CLEARANCE
    height: Float[Tensor, " cell"] = torch.where(is_inside, roof + MAST_CLEARANCE, height)
    counts = {"on_roof": int((is_inside & (roof > 0)).sum()), "unknown_height": int(is_unknown.sum())}
    return replace(cells, ground=ground, height=height), counts


def _one_carrier(sites: tuple[Site, ...], tolerance: float) -> tuple[Site, ...]:
    """The sites with the most frequent carrier for all cells whose frequency differs from it by `tolerance` or less."""
    main = Counter(cell.carrier for _, cell in cells_of(sites)).most_common(1)[0][0]

    def moved(site: Site) -> Site:
        near = [abs(cell.carrier.frequency / main.frequency - 1) <= tolerance for cell in site.cells]
        cells = [replace(c, carrier=main) if is_near else c for c, is_near in zip(site.cells, near, strict=True)]
        return replace(site, cells=tuple(cells))

    return tuple(moved(site) for site in sites)


def _cell_counts(network: MeasuredNetwork, heard: Bool[Tensor, " cell"], inside: Bool[Tensor, " cell"]) -> dict:
    cells = network.cells
    beyond = heard & cells.is_listed & ~inside
    distance = cells.position[heard & cells.is_listed].norm(dim=1)
    return {
        "listed": int(cells.is_listed.sum()),
        "heard": int(heard.sum()),
        "on_tile": int((heard & inside).sum()),
        "beyond": int(beyond.sum()),
        "unlisted": int((heard & ~cells.is_listed).sum()),
        "farthest": float(distance.max()) if len(distance) else 0.0,
    }


def _report_table(network: MeasuredNetwork, position: Float[Tensor, "square 2"], squares: Tensor) -> bytes:
    """Levels of some squares as a table that `uel.measurement.logs` reads, compressed without a date."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["device", "x", "y", "cell_id", "rsrp"])
    for square in squares.tolist():
        x, y = (f"{round(axis, 2):g}" for axis in position[square].tolist())
        device = network.devices[int(network.device[square])]
        for cell in network.is_reported[square].nonzero()[:, 0].tolist():
            level = f"{float(network.level_dbm[square, cell]):.2f}"
            table.writerow([device, x, y, network.cells.cell_id[cell], level])
    return gzip.compress(text.getvalue().encode(), mtime=0)
