"""How likely the reports of a moving phone are at each place: the likelihood that the particle filter uses.

Either rasters of log-density, as any method of single reports gives them, taken as independent (`RasterLikelihood`); or
the law of levels on a map whose fading, and whose own errors, go along with the phone (`CorrelatedFadingLikelihood`),
which on the true map is the limit.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.grid import Grid
from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.rsrp_likelihood import NEVER
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

MIN_PROBABILITY = 1e-300  # probability, in double precision
MAX_FADING_STDS = 40.0  # standard deviations of fading


@runtime_checkable
class TrackLikelihood(Protocol):
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


@dataclass(frozen=True, eq=False)
class RasterLikelihood:
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


class CorrelatedFadingLikelihood:
    """The law of reports along a track: each particle carries its fading, which changes as it moves.

    Fading is a first-order autoregressive process (`uel.measurement.rsrp_likelihood.correlate_along_track`). A heard
    level tells it within a reporting step, a silent cell bounds it; it is drawn from what is left. Ranges and azimuths
    are independent between reports. With `map_error` what a map gets wrong goes along likewise: fading is then as wide
    as both together.
    """

    def __init__(
        self,
        reports: Reports,
        radio: RadioMap,
        prior: Float[Tensor, "row column"],
        model: ObservationModel,
        map_error: bool = False,
    ) -> None:
        """`reports` has axes (track, report). Raises `UelError` for realism that this law does not hold for."""
        strange = ("cell_correlation", "level_noise_db", "cell_dropout", "report_dropout")
        if any(getattr(model, name) for name in strange) or not model.decorrelation_distance:
            do = f"give a decorrelation distance, and leave out {', '.join(strange)}"
            raise UelError("the law of tracks is known for fading along the track alone", got=model, do=do)
        self.radio, self.model, self.prior, self.reports = radio, model, prior, reports
        tracks, count = reports.received.shape
        flat = replace(reports, **{name: value.flatten(0, 1) for name, value in vars(reports).items()})
        other = model.range_log_likelihood(flat, radio) + model.azimuth_log_likelihood(flat, radio)
        self.other = other.unflatten(0, (tracks, count))
        self.censor = model.censor_level(flat).unflatten(0, (tracks, count))
        self.law = model.level_law(radio, reference_power_dbm(radio.sites), map_error)

    def start(self) -> Float[Tensor, "track row column"]:
        level = self.law.log_likelihood(self.reports[:, 0], self.censor[:, 0])
        return level + self.other[:, 0] + self.prior.log()

    def standing(self) -> Float[Tensor, "track row column"]:
        """The exact posterior of phones that stand: their fading stays, so that only ranges and azimuths are new."""
        log_p = self.start() + self.other[:, 1:].sum(1)
        return log_p.flatten(1).softmax(-1).view_as(log_p)

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
        at = lambda raster: raster[:, row, column].movedim(0, -1)  # noqa: E731
        mean, own, known = at(self.law.mean).double(), at(self.law.own), at(self.law.known)
        heard = self.reports.heard[:, report].unsqueeze(1)
        level, half = self.reports.rsrp_dbm[:, report].unsqueeze(1), self.law.step / 2
        low = torch.where(heard, level - half - mean, -torch.inf) / own
        high = (torch.where(heard, level + half, self.censor[:, report].unsqueeze(1)) - mean) / own
        u = torch.rand(low.shape, generator=generator, dtype=torch.double)
        chance, fading = _within(low, high, centre, spread, u)
        if self.law.outliers:
            struck, after = _struck(low, high, centre, spread, self.law.wide / own, generator)
            odds = self.law.outliers * struck
            chance = (1 - self.law.outliers) * chance + odds
            is_struck = torch.rand(odds.shape, generator=generator, dtype=torch.double) * chance < odds
            fading = torch.where(is_struck, after, fading)
        log_p = torch.where(known, chance.log().clamp(min=NEVER), torch.where(heard, NEVER, 0.0))
        return log_p.sum(-1), torch.where(known, fading, centre + spread * _normal(u))


def _within(
    low: Tensor, high: Tensor, centre: Tensor, spread: Tensor, u: Float[Tensor, "*n"]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Chance that N(`centre`, `spread`²) lies between two bounds, and which value it has there, by `u` in 0 to 1."""
    a, b = (torch.special.ndtr((edge - centre) / spread) for edge in (low, high))
    drawn = centre + spread * _normal(a + u * (b - a))
    return (b - a).clamp(min=MIN_PROBABILITY), drawn.clamp(
        min=low.clamp(min=-MAX_FADING_STDS), max=high.clamp(max=MAX_FADING_STDS)
    )


def _struck(
    low: Tensor, high: Tensor, centre: Tensor, spread: Tensor, far: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """The same where the level has N(0, `far`²) more of its own, and what the fading then is."""
    wide = (spread**2 + far**2).sqrt()
    u = torch.rand(low.shape, generator=generator, dtype=torch.double)
    chance, both = _within(low, high, centre, wide, u)
    kept = (spread / wide) ** 2
    noise = torch.randn(low.shape, generator=generator, dtype=torch.double)
    return chance, centre + kept * (both - centre) + spread * (1 - kept).sqrt() * noise


def _normal(share: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The standard normal variable below which that share lies."""
    return torch.special.ndtri(share.clamp(1e-15, 1 - 1e-15))


def _at(raster: Float[Tensor, "track row column"], grid: Grid, position: Float[Tensor, "track particle 2"]) -> Tensor:
    """A raster's value at every particle."""
    row, column = grid.pixel_of(position)
    return raster[torch.arange(len(raster)).unsqueeze(1), row, column]
