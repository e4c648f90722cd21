"""Where a phone that moves is: particles that walk as phones do, weighed by what each report says.

One filter serves everybody. The evidence differs: rasters of log-density, as any method of single reports gives them
(`RasterEvidence`); or the exact law of a phone whose fading goes with it (`FadingEvidence`), which is the limit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.grid import Grid
from uel.levels import NEVER
from uel.measurement import MeasurementModel
from uel.posterior import geometric_median
from uel.radiomap import RadioMap
from uel.reports import Reports
from uel.sites import reference_power_dbm
from uel.walks import WANDER, drive, unit, walk

TINY = 1e-300  # probability, in double precision
JITTER = 0.3  # m, standard deviation by which a copied particle leaves its twin
TURN = math.radians(3.0)  # the same of its heading


@dataclass(frozen=True, eq=False)
class Motion:
    """How phones of one class move, which every filter knows; see `uel.tracks.draw_tracks`."""

    grid: Grid
    free: Bool[Tensor, "row column"]
    """where they may be: `grid`'s pixels that are free, or road for a car on a tile that has any"""
    speed: float
    """m/s"""
    wander: bool
    """a pedestrian's heading turns"""
    roads: bool = False
    """a car that follows the road"""

    def step(
        self, here: Float[Tensor, "n 2"], heading: Float[Tensor, "n 2"], seconds: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
        """Positions and headings one stride on, drawn as the tracks were."""
        stride = self.speed * seconds
        if self.roads:
            moved = drive(self.grid, self.free, here, heading, stride, 1)[:, 1]
        else:
            angle = torch.randn(len(here), 1, generator=generator) * WANDER * seconds.sqrt().unsqueeze(1) * self.wander
            moved = walk(self.grid, self.free, here, heading, stride, angle)[:, 1]
        off = moved - here
        length = off.norm(dim=-1, keepdim=True)
        return moved, torch.where(length > 1e-6, off / length.clamp(min=1e-6), -heading)

    def allows(self, position: Float[Tensor, "*n 2"]) -> Bool[Tensor, "*n"]:
        row, column = self.grid.pixel_of(position)
        return self.free[row, column] & self.grid.contains(position)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Weighted positions in metres of one phone each."""

    position: Float[Tensor, "track particle 2"]
    weight: Float[Tensor, "track particle"]

    @property
    def median(self) -> Float[Tensor, "track 2"]:
        """The geometric median, the estimate of least expected error."""
        return geometric_median(self.position, self.weight)


@runtime_checkable
class Evidence(Protocol):
    """What reports say of particles."""

    def start(self) -> Float[Tensor, "track row column"]:
        """Log-probability of the pixels after the first report, up to a constant for each track."""
        ...

    def first(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        """Particles begin here; their pixels were drawn from `start`."""
        ...

    def weigh(
        self, report: int, position: Float[Tensor, "track particle 2"], moved: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        """Log-likelihood of a later report for particles that `moved` so many metres to get there."""
        ...

    def keep(self, index: Int[Tensor, "track particle"]) -> None:
        """Only these particles live on."""
        ...


def follow(
    evidence: Evidence,
    grid: Grid,
    motion: Motion,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> Cloud:
    """Where phones are at their last report: sequential importance resampling (Gordon et al., IEE Proc. F 1993).

    `grid` is that of the evidence, `time` in seconds. Particles are copied when their effective number falls below a
    half, and copies are moved apart by `JITTER` and `TURN`: a car that drives straight on would never part from its
    copy. That makes the answer slightly too wide.
    """
    *_, last = followed(evidence, grid, motion, time, particles, generator)
    return last


def followed(
    evidence: Evidence,
    grid: Grid,
    motion: Motion,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> Iterator[Cloud]:
    """`follow`, report by report: where phones are at each, given those up to it."""
    position, weight = _begin(evidence, grid, motion, particles, generator)
    evidence.first(position, generator)
    heading = unit(2 * math.pi * torch.rand(position.shape[:2], generator=generator))
    yield Cloud(position, weight)
    for report in range(1, time.shape[1]):
        position, heading = _spread(position, heading, weight, motion, evidence, generator)
        weight = torch.where(_poor(weight).unsqueeze(1), 1 / particles, weight)
        seconds = (time[:, report] - time[:, report - 1]).repeat_interleave(particles)
        ahead, turned = motion.step(position.flatten(0, 1), heading.flatten(0, 1), seconds, generator)
        moved = (ahead - position.flatten(0, 1)).norm(dim=-1).view(weight.shape)
        position, heading = ahead.view_as(position), turned.view_as(heading)
        log_w = weight.log() + evidence.weigh(report, position, moved, generator)
        weight = log_w.softmax(-1)
        yield Cloud(position, weight)


def _begin(
    evidence: Evidence, grid: Grid, motion: Motion, particles: int, generator: torch.Generator
) -> tuple[Float[Tensor, "track particle 2"], Float[Tensor, "track particle"]]:
    """Pixels from the first report, places in them drawn evenly; what falls where no phone can be has no weight."""
    share = evidence.start().flatten(1).softmax(-1)
    pixel = torch.multinomial(share, particles, replacement=True, generator=generator)
    within = torch.rand(*pixel.shape, 2, generator=generator) - 0.5
    position = grid.centres().reshape(-1, 2)[pixel] + within * grid.pixel * 0.999
    allowed = motion.allows(position).float()
    allowed = torch.where(allowed.any(1, keepdim=True), allowed, 1.0)
    return position, allowed / allowed.sum(1, keepdim=True)


def _poor(weight: Float[Tensor, "track particle"]) -> Bool[Tensor, " track"]:
    """Whose effective number of particles is below a half."""
    return 1 / weight.square().sum(1) < weight.shape[1] / 2


def _spread(
    position: Tensor, heading: Tensor, weight: Tensor, motion: Motion, evidence: Evidence, generator: torch.Generator
) -> tuple[Float[Tensor, "track particle 2"], Float[Tensor, "track particle 2"]]:
    """Copy the heavy particles in place of the light ones where that is due (systematic resampling), then jitter."""
    count = weight.shape[1]
    comb = (torch.arange(count) + torch.rand(len(weight), 1, generator=generator)) / count
    index = torch.searchsorted(weight.double().cumsum(1), comb.double()).clamp(max=count - 1)
    poor = _poor(weight).unsqueeze(1)
    index = torch.where(poor, index, torch.arange(count))
    evidence.keep(index)
    track = torch.arange(len(weight)).unsqueeze(1)
    position, heading = position[track, index], heading[track, index]
    nearby = position + JITTER * torch.randn(position.shape, generator=generator) * poor.unsqueeze(-1)
    position = torch.where(motion.allows(nearby).unsqueeze(-1), nearby, position)
    angle = TURN * torch.randn(weight.shape, generator=generator) * poor + torch.atan2(heading[..., 1], heading[..., 0])
    return position, unit(angle)


# ---- evidence ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RasterEvidence:
    """A raster of log-density for each report, taken as independent; `power` below 1 says that they are not quite."""

    grid: Grid
    log_density: Float[Tensor, "track report row column"]
    prior: Float[Tensor, "row column"]
    power: float = 1.0

    def start(self) -> Float[Tensor, "track row column"]:
        return self.power * self.log_density[:, 0] + self.prior.clamp(min=1e-12).log()

    def first(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        """Nothing is remembered of particles."""

    def weigh(
        self, report: int, position: Float[Tensor, "track particle 2"], moved: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        return self.power * _at(self.log_density[:, report], self.grid, position)

    def keep(self, index: Int[Tensor, "track particle"]) -> None:
        """Nothing is remembered of particles."""


class FadingEvidence:
    """The exact law of reports along a track: each particle carries its fading, which changes as it moves.

    Fading is a first-order autoregressive process (`uel.levels.along_track`). A heard level tells it within a reporting
    step, a silent cell bounds it; it is drawn from what is left. Ranges and azimuths are independent between reports.
    """

    def __init__(self, reports: Reports, radio: RadioMap, prior: Tensor, model: MeasurementModel) -> None:
        """`reports` has axes (track, report). Raises `UelError` for realism that this law does not hold for."""
        strange = ("cell_correlation", "level_noise_db", "cell_dropout", "report_dropout")
        if any(getattr(model, name) for name in strange) or not model.decorrelation_distance:
            do = f"give a decorrelation distance, and leave out {', '.join(strange)}"
            raise UelError("the limit of tracks is known for fading along the track alone", got=model, do=do)
        self.radio, self.model, self.prior, self.reports = radio, model, prior, reports
        tracks, count = reports.received.shape
        flat = _flat(reports)
        other = model.range_log_likelihood(flat, radio) + model.azimuth_log_likelihood(flat, radio)
        self.other = other.unflatten(0, (tracks, count))
        self.censor = model.censor_level(flat).unflatten(0, (tracks, count))
        self.law = model.level_law(radio, reference_power_dbm(radio.sites))

    def start(self) -> Float[Tensor, "track row column"]:
        level = self.law.log_likelihood(self.reports[:, 0], self.censor[:, 0])
        return level + self.other[:, 0] + self.prior.log()

    def first(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        zero = torch.zeros(*position.shape[:2], len(self.law.mean), dtype=torch.double)
        _, self.fading = self._levels(0, position, zero, torch.ones_like(zero), generator)

    def weigh(
        self, report: int, position: Float[Tensor, "track particle 2"], moved: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        keep = (-moved.double() / self.model.decorrelation_distance).exp().unsqueeze(-1)
        spread = (1 - keep**2).clamp(min=1e-6).sqrt().expand_as(self.fading)
        log_p, self.fading = self._levels(report, position, keep * self.fading, spread, generator)
        return log_p.float() + _at(self.other[:, report], self.radio.grid, position)

    def keep(self, index: Int[Tensor, "track particle"]) -> None:
        self.fading = self.fading.gather(1, index.unsqueeze(-1).expand_as(self.fading))

    def _levels(
        self, report: int, position: Tensor, centre: Tensor, spread: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "track particle"], Float[Tensor, "track particle cell"]]:
        """Log-likelihood of levels given the fading before (in sigmas: N(`centre`, `spread`²)), and fading after."""
        row, column = self.radio.grid.pixel_of(position)
        mean = self.law.mean[:, row, column].movedim(0, -1).double()
        known = self.law.known[:, row, column].movedim(0, -1)
        heard = self.reports.heard[:, report].unsqueeze(1)
        level = self.reports.rsrp_dbm[:, report].unsqueeze(1)
        half, sigma = self.model.rsrp_step_db / 2, self.model.shadowing_db
        low = torch.where(heard, level - half - mean, -torch.inf) / sigma
        high = torch.where(heard, level + half, self.censor[:, report].unsqueeze(1)) - mean
        a, b = (torch.special.ndtr((edge - centre) / spread) for edge in (low, high / sigma))
        chance = (b - a).clamp(min=TINY)
        log_p = torch.where(known, chance.log().clamp(min=NEVER), torch.where(heard, NEVER, 0.0))
        u = torch.rand(chance.shape, generator=generator, dtype=torch.double)
        drawn = centre + spread * torch.special.ndtri((a + u * (b - a)).clamp(1e-15, 1 - 1e-15))
        free = centre + spread * torch.special.ndtri(u.clamp(1e-15, 1 - 1e-15))
        inside = drawn.clamp(min=low.clamp(min=-40.0), max=(high / sigma).clamp(max=40.0))
        return log_p.sum(-1), torch.where(known, inside, free)


def standing_limit(
    reports: Reports, radio: RadioMap, prior: Float[Tensor, "row column"], model: MeasurementModel
) -> Float[Tensor, "track row column"]:
    """The exact posterior of phones that stand, with correlated fading: levels say once what they say.

    Every report repeats the first one's fading, so that its level adds nothing; ranges and azimuths are drawn anew.
    """
    assert model.decorrelation_distance > 0, "without correlation the levels are independent"
    tracks, count = reports.received.shape
    flat = _flat(reports)
    other = model.range_log_likelihood(flat, radio) + model.azimuth_log_likelihood(flat, radio)
    first = reports[:, 0]
    level = model.level_log_likelihood(first, radio, reference_power_dbm(radio.sites))
    log_p = level + other.unflatten(0, (tracks, count)).sum(1) + prior.log()
    return log_p.flatten(1).softmax(-1).view_as(log_p)


def _flat(reports: Reports) -> Reports:
    """Tracks of reports as one row of them."""
    return replace(reports, **{name: value.flatten(0, 1) for name, value in vars(reports).items()})


def _at(raster: Float[Tensor, "track row column"], grid: Grid, position: Float[Tensor, "track particle 2"]) -> Tensor:
    """A raster's value at every particle."""
    row, column = grid.pixel_of(position)
    return raster[torch.arange(len(raster)).unsqueeze(1), row, column]
