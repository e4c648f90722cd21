"""Where a phone that moves is: particles that walk as phones do, weighed by what each report says
(`uel.estimation.track_likelihood`)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.track_likelihood import TrackLikelihood
from uel.mobility.motion import HEADING_DRIFT, drive, unit_vector, walk

POSITION_JITTER = 0.3  # m, standard deviation by which a copied particle leaves its twin
HEADING_JITTER = math.radians(3.0)  # the same of its heading


@dataclass(frozen=True, eq=False)
class MotionModel:
    """How phones of one class move, which every filter knows; see `uel.mobility.trajectories.draw_tracks`."""

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
            angle = (
                torch.randn(len(here), 1, generator=generator)
                * HEADING_DRIFT
                * seconds.sqrt().unsqueeze(1)
                * self.wander
            )
            moved = walk(self.grid, self.free, here, heading, stride, angle)[:, 1]
        off = moved - here
        length = off.norm(dim=-1, keepdim=True)
        return moved, torch.where(length > 1e-6, off / length.clamp(min=1e-6), -heading)

    def allows(self, position: Float[Tensor, "*n 2"]) -> Bool[Tensor, "*n"]:
        row, column = self.grid.pixel_of(position)
        return self.free[row, column] & self.grid.contains(position)


@dataclass(frozen=True, eq=False)
class ParticleCloud:
    """Weighted positions in metres of one phone each."""

    position: Float[Tensor, "track particle 2"]
    weight: Float[Tensor, "track particle"]

    @property
    def median(self) -> Float[Tensor, "track 2"]:
        """The geometric median, the estimate of least expected error."""
        return geometric_median(self.position, self.weight)


def filter_track(
    evidence: TrackLikelihood,
    grid: Grid,
    motion: MotionModel,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> ParticleCloud:
    """Where phones are at their last report: sequential importance resampling (Gordon et al., IEE Proc. F 1993).

    `grid` is that of the evidence, `time` in seconds. Particles are copied when their effective number falls below a
    half, and copies are moved apart by `POSITION_JITTER` and `HEADING_JITTER`: a car that drives straight on would
    never part from its copy. That makes the answer slightly too wide.
    """
    *_, last = filter_steps(evidence, grid, motion, time, particles, generator)
    return last


def filter_steps(
    evidence: TrackLikelihood,
    grid: Grid,
    motion: MotionModel,
    time: Float[Tensor, "track report"],
    particles: int,
    generator: torch.Generator,
) -> Iterator[ParticleCloud]:
    """`filter_track`, report by report: where phones are at each, given those up to it."""
    position, weight = _begin(evidence, grid, motion, particles, generator)
    evidence.first(position, generator)
    heading = unit_vector(2 * math.pi * torch.rand(position.shape[:2], generator=generator))
    yield ParticleCloud(position, weight)
    for report in range(1, time.shape[1]):
        position, heading = _spread(position, heading, weight, motion, evidence, generator)
        weight = torch.where(_poor(weight).unsqueeze(1), 1 / particles, weight)
        seconds = (time[:, report] - time[:, report - 1]).repeat_interleave(particles)
        ahead, turned = motion.step(position.flatten(0, 1), heading.flatten(0, 1), seconds, generator)
        moved = (ahead - position.flatten(0, 1)).norm(dim=-1).view(weight.shape)
        position, heading = ahead.view_as(position), turned.view_as(heading)
        log_w = weight.log() + evidence.weigh(report, position, moved, generator)
        weight = log_w.softmax(-1)
        yield ParticleCloud(position, weight)


def _begin(
    evidence: TrackLikelihood, grid: Grid, motion: MotionModel, particles: int, generator: torch.Generator
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
    position: Tensor,
    heading: Tensor,
    weight: Tensor,
    motion: MotionModel,
    evidence: TrackLikelihood,
    generator: torch.Generator,
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
    nearby = position + POSITION_JITTER * torch.randn(position.shape, generator=generator) * poor.unsqueeze(-1)
    position = torch.where(motion.allows(nearby).unsqueeze(-1), nearby, position)
    angle = HEADING_JITTER * torch.randn(weight.shape, generator=generator) * poor + torch.atan2(
        heading[..., 1], heading[..., 0]
    )
    return position, unit_vector(angle)
