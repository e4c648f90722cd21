"""Paths in PyTorch, and the gain, delays, directions and Doppler shift of their links."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Complex, Float, Float64, Int, Shaped
from torch import Tensor

from uel.core.display.short_repr import ShortRepr


@dataclass(frozen=True, eq=False, repr=False)
class PathSet(ShortRepr):
    """All paths of a batch of links, one a row, differentiable in positions and parameters they were traced with.

    Gains are incoherent: the sum over paths of the power that an isotropic receiver takes in both polarisations, as
    in radio maps; transmit antennas of a cell radiate in phase at boresight and share the power of one.
    """

    receivers: int
    cells: int
    target: Int[Tensor, " row"]
    """receiver of the path"""
    source: Int[Tensor, " row"]
    """cell of the path"""
    power: Float[Tensor, " row"]
    """linear path gain"""
    delay: Float64[Tensor, " row"]
    """s; in float32 its phase at 28 GHz would be off by degrees"""
    departure: Float[Tensor, "row 3"]
    """unit vector, away from the cell"""
    arrival: Float[Tensor, "row 3"]
    """unit vector from the receiver to where the path comes from"""
    doppler: Float[Tensor, " row"]
    """Hz"""
    interactions: Int[Tensor, "row 4"]
    """reflections, refractions, diffractions and scatterings on the path; none on the direct one"""
    amplitude: Complex[Tensor, "row receive transmit"]
    """field that each polarisation of the receiver takes from each of the cell's antenna patterns, without the phase
    of the path's length (`channel.ofdm.path_coefficients` adds it); a single antenna at the cell's position alone, with
    all the power"""

    @staticmethod
    def cat(parts: list["PathSet"]) -> "PathSet":
        """Batches of receivers one after the other."""
        first = torch.tensor([0, *(part.receivers for part in parts)], device="cpu").cumsum(0).tolist()
        shifted = [replace(part, target=part.target + start) for part, start in zip(parts, first[:-1], strict=True)]
        names = [f.name for f in fields(PathSet)][2:]
        return PathSet(first[-1], parts[0].cells, *(torch.cat([getattr(p, n) for p in shifted]) for n in names))

    @staticmethod
    def of_same_links(parts: list["PathSet"]) -> "PathSet":
        """Paths of the same receivers and cells, one set after the other."""
        names = [f.name for f in fields(PathSet)][2:]
        return replace(parts[0], **{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    # ---- values of links, receiver × cell ----------------------------------------------------------------

    @property
    def bounces(self) -> Int[Tensor, " row"]:
        """Interactions on the path."""
        return self.interactions.sum(-1)

    def of_receivers(self, first: int, count: int) -> "PathSet":
        """The paths of `count` receivers from `first` on."""
        paths = self.select(((self.target >= first) & (self.target < first + count)).nonzero()[:, 0])
        return replace(paths, receivers=count, target=paths.target - first)

    def select(self, index: Int[Tensor, " kept"]) -> "PathSet":
        """Some of the paths, in this order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(PathSet)[2:]})

    @cached_property
    def link(self) -> Int[Tensor, " row"]:
        return self.target * self.cells + self.source

    def gain(self) -> Float[Tensor, "receiver cell"]:
        """Linear path gain; 0 where there is no path."""
        return self.sum_of_links(self.power)

    def known(self) -> Bool[Tensor, "receiver cell"]:
        """Whether a link has a path."""
        return self.gain().detach() > 0

    def has_direct_path(self) -> Bool[Tensor, "receiver cell"]:
        """Whether a link has a path without interactions."""
        direct = torch.zeros(self.receivers * self.cells, dtype=torch.bool, device=self.power.device)
        direct[self.link[self.bounces == 0]] = True
        return direct.view(self.receivers, self.cells)

    def first_arrival(self) -> Float64[Tensor, "receiver cell"]:
        """Delay of the earliest path in seconds, 0 where there is none."""
        first = self.delay.new_full((self.receivers * self.cells,), torch.inf).scatter_reduce(
            0, self.link, self.delay, "amin"
        )
        return torch.where(first.isfinite(), first, 0.0).view(self.receivers, self.cells)

    def mean_delay(self) -> Float64[Tensor, "receiver cell"]:
        """Delay in seconds, weighted by power."""
        return self._mean(self.delay)

    def delay_spread(self) -> Float64[Tensor, "receiver cell"]:
        """RMS delay spread in seconds (Molisch, Wireless Communications, 2011, equation 6.39)."""
        mean = self.mean_delay()
        variance = self._mean((self.delay - mean.flatten()[self.link]).square())
        # The root of 0 has no gradient; a spread below a millionth of the delay is none.
        floor = (1e-6 * mean.detach()).square() + 1e-30
        return torch.where(variance > floor, variance.clamp(min=1e-30).sqrt(), 0.0)

    def mean_arrival(self) -> Float[Tensor, "receiver cell 3"]:
        """Mean direction to where the power comes from; its length is 1 for one path, less for many."""
        return torch.stack([self._mean(axis) for axis in self.arrival.unbind(-1)], -1)

    def mean_departure(self) -> Float[Tensor, "receiver cell 3"]:
        """Mean direction in which the power leaves the cell."""
        return torch.stack([self._mean(axis) for axis in self.departure.unbind(-1)], -1)

    def mean_doppler(self) -> Float[Tensor, "receiver cell"]:
        """Doppler shift in Hz, weighted by power."""
        return self._mean(self.doppler)

    def strongest_row(self) -> Int[Tensor, "receiver cell"]:
        """Row of each link's strongest path; -1 where there is none."""
        return self.strongest_rows(1)[..., 0]

    def count(self) -> Int[Tensor, "receiver cell"]:
        """Paths of a link."""
        return torch.bincount(self.link, minlength=self.receivers * self.cells).view(self.receivers, self.cells)

    def strongest_rows(self, count: int) -> Int[Tensor, "receiver cell path"]:
        """Rows of each link's `count` strongest paths, the strongest first; -1 where there are no more."""
        order, rank = self._order
        row = torch.full((self.receivers * self.cells, count), -1, device=self.power.device)
        kept = rank < count
        row[self.link[order[kept]], rank[kept]] = order[kept]
        return row.view(self.receivers, self.cells, count)

    @cached_property
    def _order(self) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Rows link by link, the strongest first, and the rank of each within its link."""
        order = self.power.detach().argsort(descending=True, stable=True)
        order = order[self.link[order].argsort(stable=True)]
        each = self.count().flatten()
        return order, torch.arange(len(order), device=order.device) - (each.cumsum(0) - each)[self.link[order]]

    @staticmethod
    def values_at(values: Shaped[Tensor, "row ..."], row: Int[Tensor, "*n"]) -> Shaped[Tensor, "..."]:
        """Values of rows as `strongest_rows` gives them; 0 where there is none."""
        return torch.cat([values, values.new_zeros(1, *values.shape[1:])])[row]

    def sum_of_links(self, values: Float[Tensor, " row"]) -> Float[Tensor, "receiver cell"]:
        """Sum of values over each link's paths."""
        total = values.new_zeros(self.receivers * self.cells).index_add(0, self.link, values)
        return total.view(self.receivers, self.cells)

    def _mean(self, values: Float[Tensor, " row"]) -> Float[Tensor, "receiver cell"]:
        total = self.gain()
        empty = total.detach() <= 0
        # Fractions of power first: powers of 1e-12 times delays of 1e-6 would leave float32.
        fraction = self.power / torch.where(empty, 1.0, total).flatten()[self.link]
        return self.sum_of_links(fraction * values)


def azimuth_deg(direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Compass azimuth in degrees, in [0, 360)."""
    east, north, _ = direction.unbind(-1)
    return torch.rad2deg(torch.atan2(east, north)) % 360.0


def elevation_deg(direction: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Angle above the horizon in degrees."""
    return torch.rad2deg(torch.asin(direction[..., 2].clamp(-1, 1)))


def radiated_power(
    real: Float[Tensor, "row receive transmit"],
    imag: Float[Tensor, "row receive transmit"],
    departure: Float[Tensor, "row 3"],
    element: Float[Tensor, "row antenna 3"],
    wavelength: float,
    weights: Complex[Tensor, "row antenna"] | None = None,
) -> Float[Tensor, " row"]:
    """Power of each path; `element` are the antennas' offsets from the cell's position in m.

    All antennas send in phase and share the power of one, or have these `weights` (of total power 1)."""
    if weights is not None:
        field = radiated_field(real, imag, departure, element, wavelength, weights)
        return (field.real.square() + field.imag.square()).sum(-1)
    antennas = element.shape[1] * real.shape[2]
    real, imag = real.sum(-1), imag.sum(-1)
    power = (real.square() + imag.square()).sum(-1) / antennas
    if element.shape[1] > 1:
        phase = 2 * math.pi / wavelength * (element * departure.unsqueeze(1)).sum(-1)
        power = power * (phase.cos().sum(-1).square() + phase.sin().sum(-1).square())
    return power


def radiated_field(
    real: Float[Tensor, "row receive transmit"],
    imag: Float[Tensor, "row receive transmit"],
    departure: Float[Tensor, "row 3"],
    element: Float[Tensor, "row antenna 3"],
    wavelength: float,
    weights: Complex[Tensor, "row antenna"] | None = None,
) -> Complex[Tensor, "row receive"]:
    """Field at the receiver whose power is `radiated_power`, without the phase of the path's length."""
    field = torch.complex(real, imag).sum(-1) / math.sqrt(real.shape[2])
    phase = 2 * math.pi / wavelength * (element * departure.unsqueeze(1)).sum(-1)
    steering = torch.polar(torch.ones_like(phase), phase)
    weighted = steering / math.sqrt(element.shape[1]) if weights is None else steering * weights
    return field * weighted.sum(-1, keepdim=True)
