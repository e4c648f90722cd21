"""Measured networks in memory, without files."""

import torch

from uel.core.grid import Grid
from uel.measurement.measured_network import DistrictRasters, MeasuredCells, MeasuredNetwork


def toy_network(squares: int, cells: int = 4, size: float = 320.0, seed: int = 0) -> MeasuredNetwork:
    """Squares drawn on a grid of 5 m outdoors, all of which report all cells; two cells on each mast."""
    generator = torch.Generator().manual_seed(seed)
    grid = Grid(size=size, pixel=5.0)
    pick = torch.randperm(grid.count**2, generator=generator)[:squares]
    place = (torch.rand(cells // 2 + 1, 2, generator=generator) - 0.5) * size
    mast = torch.arange(cells) // 2
    azimuth = torch.arange(cells) % 2 * 180.0
    flat, full = torch.zeros(cells), torch.zeros(grid.shape)
    antennas = MeasuredCells(
        cell_id=tuple(str(100 + number) for number in range(cells)),
        is_listed=torch.ones(cells, dtype=torch.bool),
        position=place.sort(0).values[mast],
        height=flat + 25.0,
        ground=flat + 400.0,
        roof=flat,
        azimuth_deg=azimuth,
        electrical_tilt_deg=flat + 6.0,
        mechanical_tilt_deg=flat + 3.0,
        frequency=flat + 2.6e9,
        power_dbm=flat + 10.0,
    )
    known = torch.ones(grid.shape, dtype=torch.bool)
    rasters = DistrictRasters(
        building_height=full, building_known=known, terrain=full + 400.0, terrain_known=known, clutter=full.long() + 5
    )
    row, column = pick // grid.count, pick % grid.count
    position = (torch.stack([column, row], 1) + 0.5) * grid.pixel - grid.size / 2
    levels = -35.0 - 20.0 * (1 + torch.cdist(position, antennas.position)).log10()
    return MeasuredNetwork(
        name="toy",
        crs="EPSG:32648",
        origin=(4e5, 3.3e6),
        grid=grid,
        cells=antennas,
        rasters=rasters,
        row=row,
        column=column,
        level_dbm=levels + torch.randn(levels.shape, generator=generator),
        is_reported=torch.ones(levels.shape, dtype=torch.bool),
        device=torch.zeros(squares, dtype=torch.long),
    )
