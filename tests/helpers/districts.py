"""Rasters and networks of districts in memory, and the same turned by 90°."""

from dataclasses import replace

import torch

from uel.core.grid import Grid
from uel.measurement.measured_network import DistrictRasters, MeasuredCells, MeasuredNetwork


def random_rasters(grid: Grid, seed: int) -> DistrictRasters:
    """Houses on a third of the squares, a twentieth of the squares unknown, ground of 400 to 405 m."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, *grid.shape, generator=generator)
    known = draw[0] > 0.05
    height = torch.where((draw[1] < 0.33) & known, (draw[2] * 30).round() + 3, 0.0)
    terrain = 400 + (torch.rand(grid.shape, generator=generator) * 5).round()
    return DistrictRasters(
        building_height=height, building_known=known, terrain=terrain, terrain_known=known, clutter=known.long() * 5
    )


def random_network(squares: int = 60, cells: int = 6, size: float = 200.0, seed: int = 0) -> MeasuredNetwork:
    """A network in a random district; each square reports half of the cells."""
    grid, generator = Grid(size=size, pixel=5.0), torch.Generator().manual_seed(seed)
    rasters = random_rasters(grid, seed)
    outdoor = (rasters.outdoors & rasters.building_known).nonzero()
    row, column = outdoor[torch.randperm(len(outdoor), generator=generator)[:squares]].unbind(1)
    draw = torch.rand(8, cells, generator=generator)
    antennas = MeasuredCells(
        cell_id=tuple(str(number) for number in range(cells)),
        is_listed=torch.ones(cells, dtype=torch.bool),
        position=(draw[:2].T - 0.5) * size * 1.4,
        height=20 + 15 * draw[2],
        ground=400 + 5 * draw[3],
        roof=torch.zeros(cells),
        azimuth_deg=360 * draw[4],
        electrical_tilt_deg=8 * draw[5],
        mechanical_tilt_deg=5 * draw[6],
        frequency=torch.full((cells,), 2.6e9),
        power_dbm=9 + 5 * draw[7],
    )
    is_reported = torch.rand(len(row), cells, generator=generator).argsort(1) < (cells + 1) // 2
    level = torch.where(is_reported, -90 + 10 * torch.randn(len(row), cells, generator=generator), 0.0)
    return MeasuredNetwork(
        name="random", crs="EPSG:32648", origin=(4e5, 3.3e6), grid=grid, cells=antennas, rasters=rasters, row=row,
        column=column, level_dbm=level, is_reported=is_reported, device=torch.zeros(len(row), dtype=torch.long),
    )  # fmt: skip


def turned(network: MeasuredNetwork) -> MeasuredNetwork:
    """The network turned by 90° counter-clockwise: east becomes north."""
    names = ("building_height", "building_known", "terrain", "terrain_known", "clutter")
    # Row 0 is south: (row, column) goes to (column, last - row).
    rasters = {name: getattr(network.rasters, name).flip(0).T.contiguous() for name in names}
    cells, last = network.cells, network.grid.count - 1
    position = torch.stack([-cells.position[:, 1], cells.position[:, 0]], 1)
    return replace(
        network,
        cells=replace(cells, position=position, azimuth_deg=(cells.azimuth_deg - 90) % 360),
        rasters=replace(network.rasters, **rasters),
        row=network.column,
        column=last - network.row,
    )
