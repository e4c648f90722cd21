"""Tiny worlds in empty space, where every answer can be written down."""

from dataclasses import replace

import torch
from torch import Tensor

from uel.core.grid import Grid
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site

SIZE = 256.0
CORNERS = ((-90.0, -70.0), (85.0, -95.0), (100.0, 80.0), (-75.0, 100.0), (10.0, 5.0), (-20.0, -110.0))


def masts(*places: tuple[float, float], height: float = 20.0) -> tuple[Site, ...]:
    """Sites with one omni cell each."""
    return tuple(Site(position=(x, y, height)) for x, y in places)


def radio_map(sites: tuple[Site, ...], pixel: float = 8.0, size: float = SIZE) -> RadioMap:
    """Free space: every pixel known and in sight."""
    return FreeSpace(sites, size=size).radio_map(Grid(size=size, pixel=pixel))


def rough_map(count: int = 5, pixel: float = 8.0, seed: int = 0) -> RadioMap:
    """Free space with blocked lines of sight (20 dB down) and pixels without a path, at random."""
    radio = radio_map(masts(*CORNERS[:count]), pixel)
    generator = torch.Generator().manual_seed(seed)
    los = torch.rand(radio.gain.shape, generator=generator) > 0.5
    known = torch.rand(radio.gain.shape, generator=generator) > 0.1
    gain = torch.where(los, radio.gain, radio.gain / 100)
    return replace(radio, gain=torch.where(known, gain, 0.0), known=known, los=los & known)


def one_pixel(*places: tuple[float, float], los: bool = True, gain_db: float | None = None) -> RadioMap:
    """A map of the single place (0, 0); the sites may stand outside of it, level with the phone."""
    radio = radio_map(masts(*places, height=1.5), pixel=8.0, size=8.0)
    gain = radio.gain if gain_db is None else torch.full_like(radio.gain, 10 ** (gain_db / 10))
    return replace(radio, gain=gain, los=torch.full_like(radio.los, los))


def silent(count: int, cells: int) -> Reports:
    """Reports of phones that hear nothing."""
    zero, no = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    return Reports(
        rsrp_dbm=torch.zeros(count, cells),
        heard=torch.zeros(count, cells, dtype=torch.bool),
        serving=torch.zeros(count, dtype=torch.long),
        timing_advance=zero,
        has_timing_advance=no,
        azimuth_deg=zero,
        has_azimuth=no,
    )


def draw_pixels(prior: Tensor, count: int, seed: int = 0) -> Tensor:
    """Flat pixel indices drawn from a prior."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(prior.flatten(), count, replacement=True, generator=generator)
