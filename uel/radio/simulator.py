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
from uel.core.grid import Grid
from uel.core.units import bearing_deg, to_db
from uel.errors import UelError
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

    sites: tuple[Site, ...]

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


@dataclass(frozen=True)
class FreeSpace:
    """Isotropic antennas in free space (Friis, Proc. IRE 34, 1946); tests compare ray tracers with it.

    Args:
        sites: the transmitters.
        size: side in metres of the square in which positions may lie.

    Example:
        >>> import torch, uel
        >>> simulator = uel.FreeSpace((uel.Site(position=(0.0, 0.0, 1.5)),))
        >>> gain = simulator.path_gain(torch.tensor([[100.0, 0.0]]))  # (λ / 4πd)²
        >>> round(float(10 * gain.log10()), 1)
        -83.3
    """

    sites: tuple[Site, ...]
    size: float = 512.0
    """m, side of the square in which positions must lie"""
    ue_height: float = 1.5
    """m, height of (x, y) positions above z = 0"""

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """(λ / 4πd)²; see `PathGain.path_gain`."""
        wavelength = SPEED_OF_LIGHT / require_sites(self.sites).frequency
        return (wavelength / (4 * math.pi * self._distance(position))) ** 2

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """See `Simulator.paths`; each link has one path, in line of sight."""
        require_position_rows(position)
        gain = self.path_gain(position)
        los = torch.ones_like(gain, dtype=torch.bool)
        azimuth = bearing_deg(cell_positions(self.sites)[:, :2], position[:, None, :2])
        delay = self._distance(position) / SPEED_OF_LIGHT
        return LinkTruth(position[:, :2], to_db(gain), los, delay, azimuth, los)

    def radio_map(self, grid: Grid) -> RadioMap:
        """See `Simulator.radio_map`; exact, so its error is 0."""
        gain, distance = (v.movedim(-1, 0) for v in (self.path_gain(grid.centres()), self._distance(grid.centres())))
        los = torch.ones_like(gain, dtype=torch.bool)
        elevation = torch.full(grid.shape, self.ue_height)
        points = torch.cat([grid.centres(), elevation[..., None]], -1)
        departure = ((points - cell_positions(self.sites)[:, None, None]) / distance.unsqueeze(-1)).movedim(-1, 1)
        zero = torch.zeros_like(gain)
        channels = PropagationChannels(distance / SPEED_OF_LIGHT, zero, -departure, departure, zero + 1)
        return RadioMap(grid, self.sites, gain, zero, los, los, elevation, channels)

    def _distance(self, position: Tensor) -> Tensor:
        Grid(size=self.size, pixel=self.size).require(position)
        if position.shape[-1] == 2:
            position = torch.cat([position, torch.full_like(position[..., :1], self.ue_height)], -1)
        return (position.unsqueeze(-2) - cell_positions(self.sites)).norm(dim=-1)
