"""Radio maps: path gain and propagation channels per cell and pixel, with differentiable lookup."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel._lazy import function_named
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.display.short_repr import ShortRepr, range_text
from uel.core.display.viewable import Viewable
from uel.core.grid import Grid, fill_from_neighbours
from uel.core.tile_reference import TileReference
from uel.core.units import bearing_deg, from_db, to_db
from uel.errors import UelError
from uel.radio.link_truth import LinkTruth
from uel.radio.sites import Site, cell_positions, reference_power_dbm, select_cells

if TYPE_CHECKING:
    import matplotlib.axes
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class PropagationChannels(ShortRepr):
    """Delays and directions per cell and pixel, traced with the gain; 0 where the map is not `known`."""

    first_arrival: Float[Tensor, "cell row column"]
    """s, delay of the earliest path at the pixel's centre"""
    delay_spread: Float[Tensor, "cell row column"]
    """s, RMS, weighted by power"""
    arrival: Float[Tensor, "cell 3 row column"]
    """mean direction to where the power comes from, weighted by power: length 1 for one path, less for many"""
    departure: Float[Tensor, "cell 3 row column"]
    """mean direction in which the power leaves the cell"""
    sight: Float[Tensor, "cell row column"]
    """fraction of the pixel in line of sight of the antenna"""


@dataclass(frozen=True, eq=False, repr=False)
class MapLookup(ShortRepr):
    """A radio map's channels at a set of positions; 0 where `known` is False."""

    gain: Float[Tensor, "*n cell"]
    known: Bool[Tensor, "*n cell"]
    first_arrival: Float[Tensor, "*n cell"]
    delay_spread: Float[Tensor, "*n cell"]
    mean_arrival: Float[Tensor, "*n cell 3"]
    mean_departure: Float[Tensor, "*n cell 3"]
    sight: Float[Tensor, "*n cell"]


@dataclass(frozen=True, eq=False, repr=False)
class MapSamples(ShortRepr):
    """A set of pixels of a radio map, as a raster of one column; fields as in `RadioMap`."""

    gain: Float[Tensor, "cell sample 1"]
    relative_error: Float[Tensor, "cell sample 1"]
    known: Bool[Tensor, "cell sample 1"]
    los: Bool[Tensor, "cell sample 1"]
    delay: Float[Tensor, "cell sample 1"]
    azimuth_deg: Float[Tensor, "cell sample 1"]

    def __getitem__(self, part: slice | Int[Tensor, " some"]) -> "MapSamples":
        """A subset of the samples."""
        return MapSamples(**{name: value[:, part] for name, value in vars(self).items()})

    @property
    def level_db(self) -> Float[Tensor, "cell sample 1"]:
        return _known_db(self.gain, self.known)


def _known_db(gain: Tensor, known: Tensor) -> Tensor:
    """Path gain in decibels, 0 where none is known."""
    return to_db(torch.where(known, gain, 1.0))


@dataclass(frozen=True, eq=False, repr=False)
class RadioMap(Viewable):
    """Per cell and pixel of `grid`: path gain, its Monte-Carlo error, and line of sight, at UE height.

    A pixel that no ray met is not `known` (censored); its gain is stored as 0 and must not be read.
    Delay and azimuth are those of the direct line; the excess that reflections cause is part of the observation
    model's NLoS terms.

    Example:
        >>> import torch, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
        >>> radio.gain.shape, bool(radio.known.all())
        (torch.Size([1, 16, 16]), True)
        >>> radio.path_gain(torch.tensor([[20.0, 4.0]])).shape  # bilinear, differentiable in the position
        torch.Size([1, 1])
    """

    grid: Grid
    """pixels"""
    sites: tuple[Site, ...]
    """transmitters, whose cells are the map's channels in order"""
    gain: Float[Tensor, "cell row column"]
    """path gain, linear, averaged over the pixel"""
    relative_error: Float[Tensor, "cell row column"]
    """Monte-Carlo standard error of the gain over the gain"""
    known: Bool[Tensor, "cell row column"]
    """True where a ray met the pixel"""
    los: Bool[Tensor, "cell row column"]
    """line of sight between antenna and pixel centre"""
    elevation: Float[Tensor, "row column"]
    """m, height of the UE antenna above the datum"""
    channels: PropagationChannels | None = None
    """delays and directions, where they were recorded"""
    made_on: TileReference | None = None
    """the tile that it was made on; None in empty space"""
    backend: str | None = None
    """name of the simulator that made it (`TracingConfig.backend`); None where nobody said it"""

    @property
    def without_measurements(self) -> "RadioMap":
        """A map with the same sites in which no pixel is known."""
        empty = torch.zeros_like(self.gain)
        return replace(self, gain=empty, relative_error=empty, known=empty.bool(), los=empty.bool(), channels=None)

    def of_cells(self, cells: Sequence[int]) -> "RadioMap":
        """The map of some cells, by their indices in ascending order."""

        def part(record: Any) -> dict[str, Tensor]:
            return {f.name: getattr(record, f.name)[list(cells)] for f in fields(record)}

        own = {name: getattr(self, name)[list(cells)] for name in ("gain", "relative_error", "known", "los")}
        channels = None if self.channels is None else PropagationChannels(**part(self.channels))
        return replace(self, sites=select_cells(self.sites, cells), channels=channels, **own)

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """Linear path gain from every cell at positions in metres, (x, y) or (x, y, z); z is ignored.

        Bilinear in decibels, differentiable in `position`; 0 where the map knows no path (censored).
        Raises `UelError` for positions that are not finite or off the tile.
        """
        gain_db, known = self.gain_db(position)
        return torch.where(known, from_db(gain_db), 0.0)

    def gain_db(self, position: Float[Tensor, "*n dim"]) -> tuple[Float[Tensor, "*n cell"], Bool[Tensor, "*n cell"]]:
        """Path gain in decibels at positions, and whether it is known; must not be read where it is not."""
        self.grid.require(position)
        return self.grid.sample(self._level, position), self.grid.sample_mask(self.known, position)

    @cached_property
    def level_db(self) -> Float[Tensor, "cell row column"]:
        """Path gain in decibels; must not be read where it is not `known`."""
        return _known_db(self.gain, self.known)

    @cached_property
    def _level(self) -> Float[Tensor, "cell row column"]:
        """Path gain in decibels, pixels that are not known filled from their neighbours for interpolation."""
        return fill_from_neighbours(self.level_db, self.known)

    def lookup(self, position: Float[Tensor, "*n dim"]) -> MapLookup:
        """All channels at positions (m), bilinear between pixel centres and differentiable in `position`.

        Raises `UelError` for positions that are not finite or off the tile, and for a map without channels.
        """
        if self.channels is None:
            raise UelError(
                "this radio map has no delays and directions", got="channels=None", do="trace it: sim.radio_map(grid)"
            )
        gain_db, known = self.gain_db(position)

        def scalar(values: Tensor) -> Tensor:
            return torch.where(known, self.grid.sample(fill_from_neighbours(values, self.known), position), 0.0)

        def vector(values: Tensor) -> Tensor:
            return torch.stack([scalar(axis) for axis in values.unbind(1)], -1)

        channels = self.channels
        return MapLookup(
            gain=torch.where(known, from_db(gain_db), 0.0),
            known=known,
            first_arrival=scalar(channels.first_arrival),
            delay_spread=scalar(channels.delay_spread),
            mean_arrival=vector(channels.arrival),
            mean_departure=vector(channels.departure),
            sight=self.grid.sample(channels.sight, position),
        )

    def pixel_truth(self, position: Float[Tensor, "*n 2"]) -> LinkTruth:
        """Noiseless links at positions, if the map were true and constant within each pixel (no interpolation).

        The grid posterior is then exact. With interpolated truth it excludes phones beside a pixel without a path, and
        a trained network can score better than this "limit".
        """
        self.grid.require(position)
        row, column = self.grid.pixel_of(position)

        def pixel(values: Tensor) -> Tensor:
            return values[:, row, column].movedim(0, -1)

        known = pixel(self.known)
        return LinkTruth(
            position=position,
            gain_db=torch.where(known, to_db(torch.where(known, pixel(self.gain), 1.0)), 0.0),
            known=known,
            delay=pixel(self.delay),
            azimuth_deg=pixel(self.azimuth_deg),
            los=pixel(self.los),
        )

    def paths(self, position: Float[Tensor, "*n 2"]) -> LinkTruth:
        """As `Simulator.paths`, by lookup: gain bilinear in decibels, delay and azimuth of the direct line.

        Differentiable in `position`; the phone's height and the line of sight are those of the pixel. Raises
        `UelError` for positions that are not finite or off the tile.
        """
        gain_db, known = self.gain_db(position)
        row, column = self.grid.pixel_of(position)
        point = torch.cat([position, self.elevation[row, column].unsqueeze(-1)], -1)
        return LinkTruth(
            position=position,
            gain_db=torch.where(known, gain_db, 0.0),
            known=known,
            delay=(point.unsqueeze(-2) - self.cell_position).norm(dim=-1) / SPEED_OF_LIGHT,
            azimuth_deg=bearing_deg(self.cell_position[:, :2], position.unsqueeze(-2)),
            los=self.los[:, row, column].movedim(0, -1),
        )

    def samples_at(self, position: Float[Tensor, "n 2"]) -> MapSamples:
        """The pixels at positions. Raises `UelError` for positions that are not finite or off the tile."""
        self.grid.require(position)
        return self._samples(self.grid.pixel_of(position))

    def samples_of(self, pixels: Bool[Tensor, "row column"]) -> MapSamples:
        """The pixels of a mask, row by row."""
        row, column = pixels.nonzero(as_tuple=True)
        return self._samples((row, column))

    def _samples(self, pixels: tuple[Tensor, Tensor]) -> MapSamples:
        row, column = pixels
        return MapSamples(**{f.name: getattr(self, f.name)[:, row, column].unsqueeze(-1) for f in fields(MapSamples)})

    @property
    def cell_position(self) -> Float[Tensor, "cell 3"]:
        """Antennas in metres, (x, y, z)."""
        return cell_positions(self.sites, self.gain.device)

    @cached_property
    def delay(self) -> Float[Tensor, "cell row column"]:
        """Delay in seconds of the direct line from the antenna to the UE in the pixel's centre."""
        point = torch.cat([self.grid.centres(self.gain.device), self.elevation.unsqueeze(-1)], dim=-1)
        return (point - self.cell_position[:, None, None]).norm(dim=-1) / SPEED_OF_LIGHT

    @cached_property
    def distance(self) -> Float[Tensor, "cell row column"]:
        """Horizontal distance in metres from the antenna to each pixel's centre."""
        return (self.grid.centres(self.gain.device) - self.cell_position[:, None, None, :2]).norm(dim=-1)

    @cached_property
    def azimuth_deg(self) -> Float[Tensor, "cell row column"]:
        """Compass azimuth of each pixel's centre seen from the antenna."""
        return bearing_deg(self.cell_position[:, None, None, :2], self.grid.centres(self.gain.device))

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def rsrp_dbm(self) -> Float[Tensor, "cell row column"]:
        """Path gain plus the power of a resource element; must not be read where it is not `known`."""
        return self.level_db + reference_power_dbm(self.sites).to(self.gain.device)[:, None, None]

    @property
    def facts(self) -> dict[str, str]:
        """Cells, grid, share of pixels that any cell reaches, levels there, tile and simulator."""
        reached = self.known.any(0)
        level = self.rsrp_dbm.masked_fill(~self.known, -torch.inf).amax(0)[reached]
        facts = {
            "cells": str(len(self.gain)),
            "size": f"{self.grid.size:g} m",
            "pixel": f"{self.grid.pixel:g} m",
            "pixels with a path": f"{float(reached.float().mean()):.0%}",
            "RSRP of the strongest cell": range_text(level, "dBm"),
        }
        facts |= {"tile": str(self.made_on)} if self.made_on else {}
        return facts | ({"simulator": self.backend} if self.backend else {})

    def plot(
        self,
        ax: "matplotlib.axes.Axes | None" = None,
        *,
        cell: int | None = None,
        channel: str = "rsrp",
        tile: Any = None,
    ) -> "matplotlib.axes.Axes":
        """Draw one quantity in metres of the tile, north up; pixels that no path reaches are hatched.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            cell: number of the cell; None: the strongest cell of each pixel.
            channel: `rsrp`, `gain`, `error`, `sinr`, `sight`, and of a traced map `spread` and `excess`.
            tile: the `uel.Tile` whose buildings are outlined; None: no buildings.

        Raises:
            UelError: for a channel or a cell that the map does not have, and for a tile that it was not made on.
        """
        return function_named("uel.plots.radio_map:plot_radio_map")(self, ax, cell, channel, tile)

    def to_xarray(self, tile: Any = None) -> "xarray.Dataset":
        """All quantities as a dataset of (cell, y, x), NaN where no path is known; with a `uel.Tile` that has a
        projection in its coordinates (CF conventions), else in metres of the tile."""
        return function_named("uel.conversion.datasets:radio_dataset")(self, tile)
