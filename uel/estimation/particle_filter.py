"""Particle filter for a moving phone: particles move as phones do and are weighted by the reports' likelihood.

The likelihoods are in `uel.estimation.track_likelihood`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.track_likelihood import TrackLikelihood
from uel.mobility.motion import HEADING_DRIFT, drive, unit_vector, walk

POSITION_JITTER = 0.3  # m, standard deviation by which a copied particle is moved
HEADING_JITTER = math.radians(3.0)  # standard deviation by which its heading is turned


@dataclass(frozen=True, eq=False, repr=False)
class MotionModel(ShortRepr):
    """How phones of one class move, which every filter knows; see `uel.mobility.trajectories.draw_tracks`."""

    grid: Grid
    free: Bool[Tensor, "row column"]
    """pixels of `grid` where phones may be: free ones, or road for a car on a tile that has any"""
    speed: float
    """m/s"""
    wander: bool
    """a pedestrian's heading turns"""
    roads: bool = False
    """a car follows the road"""

    def step(
        self, position: Float[Tensor, "n 2"], heading: Float[Tensor, "n 2"], seconds: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
        """Positions and headings after `seconds`, drawn as the tracks were."""
        stride = self.speed * seconds
        if self.roads:
            next_position = drive(self.grid, self.free, position, heading, stride, 1)[:, 1]
        else:
            noise = torch.randn(len(position), 1, generator=generator, device=generator.device)
            angle = noise * HEADING_DRIFT * seconds.sqrt().unsqueeze(1) * self.wander
            next_position = walk(self.grid, self.free, position, heading, stride, angle)[:, 1]
        offset = next_position - position
        length = offset.norm(dim=-1, keepdim=True)
        return next_position, torch.where(length > 1e-6, offset / length.clamp(min=1e-6), -heading)

    def allows(self, position: Float[Tensor, "*n 2"]) -> Bool[Tensor, "*n"]:
        """Whether a phone can be at positions."""
        row, column = self.grid.pixel_of(position)
        return self.free[row, column] & self.grid.contains(position)


@dataclass(frozen=True, eq=False, repr=False)
class ParticleCloud(ShortRepr):
    """Weighted positions in metres, one set of particles for each phone."""

    position: Float[Tensor, "track particle 2"]
    weight: Float[Tensor, "track particle"]

    @property
    def median(self) -> Float[Tensor, "track 2"]:
        """The geometric median, the position of least expected error."""
        return geometric_median(self.position, self.weight)


def filter_track(
    likelihood: TrackLikelihood,
    grid: Grid,
    motion: MotionModel,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> ParticleCloud:
    """Particles at the last report of each track: sequential importance resampling (Gordon et al., IEE Proc. F 1993).

    `grid` is the likelihood's, `time` is in seconds. Particles are resampled when their effective number falls below a
    half, and copies are moved by `POSITION_JITTER` and `HEADING_JITTER`: the copy of a car that drives straight on
    would never part from it. The result is slightly too wide for that.
    """
    *_, last = filter_steps(likelihood, grid, motion, time, particles, generator)
    return last


def filter_steps(
    likelihood: TrackLikelihood,
    grid: Grid,
    motion: MotionModel,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> Iterator[ParticleCloud]:
    """The particles of `filter_track` at each report, given the reports up to it."""
    position, weight = _initial_particles(likelihood, grid, motion, particles, generator)
    likelihood.initialise(position, generator)
    heading = unit_vector(2 * math.pi * torch.rand(position.shape[:2], generator=generator, device=generator.device))
    yield ParticleCloud(position, weight)
    for report in range(1, time.shape[1]):
        position, heading = _resample(position, heading, weight, motion, likelihood, generator)
        weight = torch.where(_is_degenerate(weight).unsqueeze(1), 1 / particles, weight)
        seconds = (time[:, report] - time[:, report - 1]).repeat_interleave(particles)
        next_position, next_heading = motion.step(position.flatten(0, 1), heading.flatten(0, 1), seconds, generator)
        distance = (next_position - position.flatten(0, 1)).norm(dim=-1).view(weight.shape)
        position, heading = next_position.view_as(position), next_heading.view_as(heading)
        log_w = weight.log() + likelihood.log_likelihood(report, position, distance, generator)
        weight = log_w.softmax(-1)
        yield ParticleCloud(position, weight)


def _initial_particles(
    likelihood: TrackLikelihood, grid: Grid, motion: MotionModel, particles: int, generator: torch.Generator
) -> tuple[Float[Tensor, "track particle 2"], Float[Tensor, "track particle"]]:
    """Particles drawn from the first report's posterior, uniform within a pixel; weight 0 where no phone can be."""
    probability = likelihood.initial_log_probability().flatten(1).softmax(-1)
    pixel = torch.multinomial(probability, particles, replacement=True, generator=generator)
    within = torch.rand(*pixel.shape, 2, generator=generator, device=generator.device) - 0.5
    position = grid.centres().reshape(-1, 2)[pixel] + within * grid.pixel * 0.999
    allowed = motion.allows(position).float()
    allowed = torch.where(allowed.any(1, keepdim=True), allowed, 1.0)
    return position, allowed / allowed.sum(1, keepdim=True)


def _is_degenerate(weight: Float[Tensor, "track particle"]) -> Bool[Tensor, " track"]:
    """Whether the effective number of particles is below a half."""
    return 1 / weight.square().sum(1) < weight.shape[1] / 2


def _resample(
    position: Tensor,
    heading: Tensor,
    weight: Tensor,
    motion: MotionModel,
    likelihood: TrackLikelihood,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "track particle 2"], Float[Tensor, "track particle 2"]]:
    """Resample the degenerate tracks' particles (systematic resampling), then jitter them."""
    count = weight.shape[1]
    quantile = (
        torch.arange(count, device=weight.device)
        + torch.rand(len(weight), 1, generator=generator, device=generator.device)
    ) / count
    index = torch.searchsorted(weight.double().cumsum(1), quantile.double()).clamp(max=count - 1)
    degenerate = _is_degenerate(weight).unsqueeze(1)
    index = torch.where(degenerate, index, torch.arange(count, device=weight.device))
    likelihood.resample(index)
    track = torch.arange(len(weight), device=weight.device).unsqueeze(1)
    position, heading = position[track, index], heading[track, index]
    jittered = position + POSITION_JITTER * torch.randn(
        position.shape, generator=generator, device=generator.device
    ) * degenerate.unsqueeze(-1)
    position = torch.where(motion.allows(jittered).unsqueeze(-1), jittered, position)
    noise = HEADING_JITTER * torch.randn(weight.shape, generator=generator, device=generator.device) * degenerate
    return position, unit_vector(noise + torch.atan2(heading[..., 1], heading[..., 0]))
