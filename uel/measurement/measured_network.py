"""A measured network: an operator's list of cells, rasters of the district, and levels measured on its squares."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel._lazy import function_named
from uel.core.display.short_repr import ShortRepr, range_text
from uel.core.display.viewable import Viewable
from uel.core.grid import Grid
from uel.errors import UelError
from uel.measurement.drive_test import split_by_block
from uel.radio.antennas.array import Array
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site

if TYPE_CHECKING:
    import geopandas
    import matplotlib.axes
    import pandas

MIN_JUDGED_CELLS = 3  # cells that a square has to report for a fix there to be judged
BLOCK_SIDE = 64.0  # m: labelled and judged squares come from different blocks of this side
LABELLED_FRACTION = 0.6  # of the blocks


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MeasuredCells(ShortRepr):
    """Antennas of a network's cells, one entry a cell; zeros where `is_listed` is False."""

    cell_id: tuple[str, ...]
    is_listed: Bool[Tensor, " cell"]
    """False: the cell was measured, but its antenna is not known"""
    position: Float[Tensor, "cell 2"]
    """m east and north of the grid's centre; cells may stand outside the grid"""
    height: Float[Tensor, " cell"]
    """m above the ground"""
    ground: Float[Tensor, " cell"]
    """m, the ground's elevation at the mast"""
    roof: Float[Tensor, " cell"]
    """m, height of the building that the mast stands on; 0 on the ground"""
    azimuth_deg: Float[Tensor, " cell"]
    """clockwise from grid north"""
    electrical_tilt_deg: Float[Tensor, " cell"]
    mechanical_tilt_deg: Float[Tensor, " cell"]
    frequency: Float[Tensor, " cell"]
    """Hz"""
    power_dbm: Float[Tensor, " cell"]
    """of one resource element, to which RSRP refers"""

    def __len__(self) -> int:
        return len(self.cell_id)

    @property
    def tilt_deg(self) -> Float[Tensor, " cell"]:
        """Electrical and mechanical downtilt together."""
        return self.electrical_tilt_deg + self.mechanical_tilt_deg

    @property
    def mast(self) -> Int[Tensor, " cell"]:
        """Number of the mast that a cell stands on: cells of one position share it; each unlisted cell has its own."""
        key = torch.cat(
            [self.position.round(), torch.where(self.is_listed, -1, torch.arange(len(self), device="cpu"))[:, None]], 1
        )
        return torch.unique(key, dim=0, return_inverse=True)[1]

    def select(self, cells: Int[Tensor, " chosen"]) -> "MeasuredCells":
        """Some of the cells, by index."""
        tensors = {f.name: getattr(self, f.name)[cells] for f in fields(self) if f.name != "cell_id"}
        return MeasuredCells(cell_id=tuple(self.cell_id[number] for number in cells.tolist()), **tensors)

    def sites(self, datum: float, template: Cell) -> tuple[Site, ...]:
        """The listed cells as sites, z in metres above the elevation `datum`; `template` has pattern and bandwidth.

        Masts come in the order of their first cells, and cells in theirs: `select` the same order before using the
        sites' `cell` axis with these arrays.
        """
        masts = dict[tuple[float, float, float], list[Cell]]()
        for number in self.is_listed.nonzero()[:, 0].tolist():
            x, y = self.position[number].tolist()
            z = float(self.ground[number] + self.height[number]) - datum
            masts.setdefault((x, y, z), []).append(self._cell(number, template))
        return tuple(Site(position=place, cells=tuple(cells)) for place, cells in masts.items())

    def _cell(self, number: int, template: Cell) -> Cell:
        array: Array = replace(template.array, electrical_tilt_deg=float(self.electrical_tilt_deg[number]))
        carrier: Carrier = template.carrier.at_frequency(float(self.frequency[number]))
        return replace(
            template,
            azimuth_deg=float(self.azimuth_deg[number]),
            tilt_deg=float(self.mechanical_tilt_deg[number]),
            power_dbm=float(self.power_dbm[number]),
            power_kind="reference",
            array=array,
            carrier=carrier,
            cell_id=self.cell_id[number],
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DistrictRasters(ShortRepr):
    """Rasters of a district on its grid, row 0 in the south; zeros where a value is not known."""

    building_height: Float[Tensor, "row column"]
    """m above the ground; 0 outdoors"""
    building_known: Bool[Tensor, "row column"]
    terrain: Float[Tensor, "row column"]
    """m, elevation of the ground"""
    terrain_known: Bool[Tensor, "row column"]
    clutter: Int[Tensor, "row column"]
    """class of land cover as the source numbers it; 0: not known"""
    way: Bool[Tensor, "row column"] | None = None
    """squares on a road or footway; None where no map of them is known"""

    @property
    def outdoors(self) -> Bool[Tensor, "row column"]:
        """Squares that are not known to be a building."""
        return ~(self.building_known & (self.building_height > 0))

    @property
    def datum(self) -> float:
        """The median elevation of the known ground in metres, 0 without any."""
        known = self.terrain[self.terrain_known]
        return float(known.median()) if len(known) else 0.0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MeasuredNetwork(Viewable):
    """A network, its surroundings, and the levels that were measured on squares of its grid.

    Example:
        >>> import torch
        >>> import uel
        >>> from uel.measurement.measured_network import DistrictRasters, MeasuredCells, MeasuredNetwork
        >>> one, no = torch.ones(1), torch.zeros(4, 4)
        >>> numbers = ("height", "ground", "roof", "azimuth_deg", "electrical_tilt_deg", "mechanical_tilt_deg")
        >>> numbers = dict.fromkeys((*numbers, "frequency", "power_dbm"), one)
        >>> cells = MeasuredCells(cell_id=("7",), is_listed=one > 0, position=torch.zeros(1, 2), **numbers)
        >>> heights, ground = {"building_height": no, "building_known": no == 0}, {"terrain": no}
        >>> rasters = DistrictRasters(**heights, **ground, terrain_known=no == 0, clutter=no.long())
        >>> squares = {"row": torch.tensor([0]), "column": torch.tensor([3]), "device": torch.tensor([0])}
        >>> levels = {"level_dbm": torch.tensor([[-80.0]]), "is_reported": torch.tensor([[True]])}
        >>> place = {"name": "toy", "crs": "EPSG:32648", "origin": (4e5, 3.3e6)}
        >>> grid = uel.Grid(size=20.0, pixel=5.0)
        >>> network = MeasuredNetwork(**place, grid=grid, cells=cells, rasters=rasters, **squares, **levels)
        >>> network.position.tolist()
        [[7.5, -7.5]]
    """

    name: str
    crs: str
    """of `origin` and of the axes"""
    origin: tuple[float, float]
    """m east and north in `crs` of the grid's centre"""
    grid: Grid
    cells: MeasuredCells
    rasters: DistrictRasters
    row: Int[Tensor, " square"]
    column: Int[Tensor, " square"]
    """of the measured squares; a square has an entry for each make of phone that measured it"""
    level_dbm: Float[Tensor, "square cell"]
    """RSRP; 0 where nothing was reported"""
    is_reported: Bool[Tensor, "square cell"]
    device: Int[Tensor, " square"]
    """index in `devices`"""
    devices: tuple[str, ...] = ("",)
    """makes of phones"""
    min_cells: int = MIN_JUDGED_CELLS
    """that a square has to report for a fix there to be judged"""
    is_outdoors: bool = True
    """phones are looked for, and judged, outdoors alone; False: anywhere around the reports"""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def position(self) -> Float[Tensor, "square 2"]:
        """Centres of the measured squares, m east and north of the grid's centre."""
        index = torch.stack([self.column, self.row], -1)
        return (index + 0.5) * self.grid.pixel - self.grid.size / 2

    @property
    def is_judged(self) -> Bool[Tensor, " square"]:
        """Squares that report `min_cells` cells or more, outdoors where the network is: a fix is judged there."""
        hears_enough = self.is_reported.sum(1) >= self.min_cells
        return hears_enough & self.rasters.outdoors[self.row, self.column] if self.is_outdoors else hears_enough

    def select(self, squares: Tensor) -> "MeasuredNetwork":
        """The network with some of its measured squares, by index or mask."""
        names = ("row", "column", "level_dbm", "is_reported", "device")
        return replace(self, **{name: getattr(self, name)[squares] for name in names})

    def with_cells(self, cells: Int[Tensor, " chosen"]) -> "MeasuredNetwork":
        """The network with some of its cells, by index."""
        levels, reported = self.level_dbm[:, cells], self.is_reported[:, cells]
        return replace(self, cells=self.cells.select(cells), level_dbm=levels, is_reported=reported)

    def heard_cells(self) -> "MeasuredNetwork":
        """The network with the cells that any square reports; raises `UelError` where none does."""
        heard = self.is_reported.any(0).nonzero()[:, 0]
        if not len(heard):
            do = "give a table of reports whose cells are those of the list"
            raise UelError(f"no square of {self.name} reports a cell", got=f"{len(self)} squares", do=do)
        return self.with_cells(heard)

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """Cells, squares, levels, makes of phones, size and projection."""
        return {
            "name": self.name,
            "cells": f"{len(self.cells)}, {int(self.cells.is_listed.sum())} with a known antenna",
            "squares": f"{len(self):,} measured, {int(self.is_judged.sum()):,} judged",
            "RSRP": range_text(self.level_dbm[self.is_reported], "dBm"),
            "makes of phones": str(len(self.devices)),
            "size": f"{self.grid.size:g} m",
            "pixel": f"{self.grid.pixel:g} m",
            "projection": self.crs,
        }

    def plot(self, ax: "matplotlib.axes.Axes | None" = None, *, cell: int | None = None) -> "matplotlib.axes.Axes":
        """Draw buildings, cells and the levels on measured squares, in metres of the grid, north up.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            cell: number of the cell whose levels are drawn; None: the strongest one of each square.

        Raises:
            UelError: for a cell that the network does not have.
        """
        return function_named("uel.plots.network:plot_network")(self, ax, cell)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A row for each level that a square reports: place, cell, level, make of phone."""
        return function_named("uel.conversion.tables:level_rows")(self)

    def to_geodataframe(self) -> "geopandas.GeoDataFrame":
        """A point for each listed cell with its antenna, in the network's projection."""
        return function_named("uel.conversion.points:cell_points")(self)


@dataclass(frozen=True, eq=False, repr=False)
class LabelSplit(ShortRepr):
    """A draw of blocks: squares whose positions are known to methods, and squares where fixes are judged."""

    labelled: Int[Tensor, " label"]
    """indices of squares in random order: a budget takes the first ones"""
    judged: Int[Tensor, " judged"]

    def labels(self, budget: int) -> Int[Tensor, " label"]:
        """The squares of a label budget. Raises `UelError` where the labelled blocks hold fewer."""
        if budget > len(self.labelled):
            got = f"a budget of {budget} labels, {len(self.labelled)} squares in the labelled blocks"
            raise UelError("the labelled blocks hold too few squares", got=got, do="choose a smaller budget")
        return self.labelled[:budget]


def split_labels(network: MeasuredNetwork, seed: int, fraction: float = LABELLED_FRACTION) -> LabelSplit:
    """Split the judged squares of a network by blocks of `BLOCK_SIDE` metres, drawn with `seed`.

    Args:
        network: the measured squares.
        seed: of the draw of blocks, and of the order of labels.
        fraction: of the blocks that are labelled.

    Raises:
        UelError: where no square can be judged, or all of them lie in one block.
    """
    usable = network.is_judged.nonzero()[:, 0]
    if not len(usable):
        got = (
            f"{len(network)} squares, {int((network.is_reported.sum(1) >= MIN_JUDGED_CELLS).sum())} with as many cells"
        )
        do = "give a district with outdoor squares that report three cells: a fix from fewer is not judged"
        raise UelError(f"no outdoor square of {network.name} reports {MIN_JUDGED_CELLS} cells", got=got, do=do)
    in_labelled_block = split_by_block(network.position[usable], BLOCK_SIDE, fraction, seed)
    labelled = usable[in_labelled_block]
    order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed), device="cpu")
    return LabelSplit(labelled[order], usable[~in_labelled_block])


def split_days(network: MeasuredNetwork, seed: int) -> LabelSplit:
    """Label the squares of the first day and judge those of the later ones, where `devices` are days in their order;
    a network of a single day is split by blocks (`split_labels`).

    Raises `UelError` where a side of the split would be empty.
    """
    usable = network.is_judged.nonzero()[:, 0]
    first = network.device[usable] == 0
    if len(network.devices) == 1:
        return split_labels(network, seed)
    if first.all() or not first.any():
        do = "give days with squares that report enough cells"
        raise UelError(f"no square of {network.name} can be judged on another day", got=f"{len(usable)} squares", do=do)
    labelled = usable[first]
    order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed), device="cpu")
    return LabelSplit(labelled[order], usable[~first])
