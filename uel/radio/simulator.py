"""Protocols of a propagation simulator, and its closed form in free space."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.core.tile_reference import TileReference
from uel.core.units import bearing_deg, from_db, to_db
from uel.errors import UelError
from uel.radio.antennas.gain import antenna_gain_db
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.sites import Site, cell_positions, require_sites


@runtime_checkable
class PathGain(Protocol):
    """An object with `path_gain`: a `RadioMap` looks it up, a `Simulator` computes it."""

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """Linear path gain (incoherent sum over paths) from every cell at positions in metres.

        Positions are (x, y), taken at UE height, or (x, y, z). A link without a path has gain 0 (censored).
        Differentiable in `position`. Raises `UelError` for positions that are not finite or off the tile.
        """
        ...


@runtime_checkable
class Paths(PathGain, Protocol):
    """An object with `paths`, all quantities of a report: a `RadioMap` looks them up, a `Simulator` computes them."""

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """Gain, first arrival, strongest path's azimuth and line of sight of every link.

        Positions have shape (n, 2) or (n, 3); differentiable in them. Raises `UelError` for any other shape.
        """
        ...


@runtime_checkable
class Simulator(Paths, Protocol):
    """A model of propagation between the cells of its sites and any position.

    `FreeSpace` and `sim_bridge.Sionna` implement it; a `RadioMap` implements its part `PathGain`.

    Example:
        >>> import uel
        >>> isinstance(uel.FreeSpace((uel.Site(position=(0.0, 0.0, 25.0)),)), uel.Simulator)
        True
    """

    @property
    def sites(self) -> tuple[Site, ...]:
        """The transmitters."""
        ...

    def radio_map(self, grid: Grid) -> RadioMap:
        """Path gain and its standard error for every pixel of a grid."""
        ...


class DeferredSimulator:
    """A simulator that is opened by its first query: a ray tracer's scene takes seconds and memory.

    Args:
        sites: the transmitters.
        open_simulator: opens the simulator of these sites.

    Example:
        >>> import torch, uel
        >>> from uel.radio.simulator import DeferredSimulator
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> simulator = DeferredSimulator(sites, lambda: uel.FreeSpace(sites))
        >>> simulator.path_gain(torch.zeros(1, 2)).shape
        torch.Size([1, 1])
    """

    def __init__(self, sites: tuple[Site, ...], open_simulator: Callable[[], Simulator]) -> None:
        self.sites, self._open_simulator = sites, open_simulator

    @cached_property
    def simulator(self) -> Simulator:
        """The opened simulator."""
        return self._open_simulator()

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """See `PathGain.path_gain`."""
        return self.simulator.path_gain(position)

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """See `Paths.paths`."""
        return self.simulator.paths(position)

    def radio_map(self, grid: Grid) -> RadioMap:
        """See `Simulator.radio_map`."""
        return self.simulator.radio_map(grid)


def require_position_rows(position: Float[Tensor, "*n dim"]) -> None:
    """Raise `UelError` unless positions have shape (n, 2) or (n, 3), as `Simulator.paths` requires."""
    if position.ndim != 2 or position.shape[-1] not in (2, 3):
        raise UelError(
            "positions must have shape (n, 2) or (n, 3)",
            got=f"shape {tuple(position.shape)}",
            do="give one row (x, y) or (x, y, z) in metres for each position; for a single position p, p[None]",
        )


@dataclass(frozen=True, repr=False)
class FreeSpace(ShortRepr):
    """Antennas in free space (Friis, Proc. IRE 34, 1946); tests compare ray tracers with it.

    Antennas are isotropic unless `patterns` asks for those of the cells.

    Args:
        sites: the transmitters.
        size: side in metres of the square in which positions may lie.
        ue_height: metres above the ground, of positions given as (x, y).
        ground: elevation in metres of the ground at positions (x, y), `*n 2` to `*n`; None: 0 everywhere.
        patterns: whether the cells' arrays have their patterns, azimuths and tilts, see `uel.radio.antennas`.
        made_on: the tile whose ground it is.

    Example:
        >>> import torch, uel
        >>> simulator = uel.FreeSpace((uel.Site(position=(0.0, 0.0, 1.5)),))
        >>> gain = simulator.path_gain(torch.tensor([[100.0, 0.0]]))  # (λ / 4πd)²
        >>> round(float(10 * gain.log10()), 1)
        -83.3
    """

    sites: tuple[Site, ...]
    """transmitters"""
    size: float = 512.0
    """m, side of the square in which positions must lie"""
    ue_height: float = 1.5
    """m, height of (x, y) positions above the ground"""
    ground: Callable[[Tensor], Tensor] | None = None
    """elevation (m) of the ground at positions (x, y); None: 0 everywhere"""
    patterns: bool = False
    """whether antennas have the cells' patterns; False: they are isotropic"""
    made_on: TileReference | None = None
    """the tile whose ground it is; None in empty space"""

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """(λ / 4πd)², times the antenna's gain with `patterns`; see `PathGain.path_gain`."""
        wavelength = SPEED_OF_LIGHT / require_sites(self.sites).frequency
        offset = self._offset(position)
        distance = offset.norm(dim=-1)
        gain = (wavelength / (4 * math.pi * distance)) ** 2
        if not self.patterns:
            return gain
        return gain * from_db(antenna_gain_db(self.sites, offset / distance.unsqueeze(-1))).to(gain.dtype)

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """See `Simulator.paths`; each link has one path, in line of sight."""
        require_position_rows(position)
        gain = self.path_gain(position)
        los = torch.ones_like(gain, dtype=torch.bool)
        azimuth = bearing_deg(cell_positions(self.sites, position.device)[:, :2], position[:, None, :2])
        delay = self._offset(position).norm(dim=-1) / SPEED_OF_LIGHT
        return LinkTruth(position[:, :2], to_db(gain), los, delay, azimuth, los)

    def radio_map(self, grid: Grid) -> RadioMap:
        """See `Simulator.radio_map`; exact, so its error is 0."""
        points = self._points(grid.centres())
        offset = self._offset(points)
        gain, distance = (v.movedim(-1, 0) for v in (self.path_gain(points), offset.norm(dim=-1)))
        los = torch.ones_like(gain, dtype=torch.bool)
        departure = (offset.movedim(-2, 0) / distance.unsqueeze(-1)).movedim(-1, 1)
        zero = torch.zeros_like(gain)
        channels = PropagationChannels(distance / SPEED_OF_LIGHT, zero, -departure, departure, zero + 1)
        return RadioMap(grid, self.sites, gain, zero, los, los, points[..., 2], channels, self.made_on)

    def _offset(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell 3"]:
        """Vectors in metres from every cell to positions."""
        return self._points(position).unsqueeze(-2) - cell_positions(self.sites, position.device)

    def _points(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 3"]:
        """(x, y) at UE height above the ground; (x, y, z) as it is. Raises `UelError` off the square."""
        Grid(size=self.size, pixel=self.size).require(position)
        if position.shape[-1] == 3:
            return position
        z = torch.full_like(position[..., :1], self.ue_height)
        if self.ground is not None:
            z = z + self.ground(position).unsqueeze(-1)
        return torch.cat([position, z], -1)
