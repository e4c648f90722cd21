"""Likelihoods of a moving phone's reports at each position, as the particle filter uses them.

`RasterLikelihood` takes rasters of log-density, as any method for single reports gives them, and treats reports as
independent. `CorrelatedFadingLikelihood` is the level model on a map whose fading, and whose own errors, are correlated
along the track: on the true map it gives the limit.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.measurement.rsrp_likelihood import NEVER
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

MIN_PROBABILITY = 1e-300  # in double precision
MAX_FADING_STDS = 40.0
# Prior floor of the first report's rasters. It is lower than `grid_posterior.PRIOR_FLOOR` because nothing is learned
# here: particles are hardly ever drawn where no phone can be, and such a start has weight 0 in any case.
TRACK_PRIOR_FLOOR = 1e-12


@runtime_checkable
class TrackLikelihood(Protocol):
    """Likelihood of the reports of tracks at the positions of particles."""

    def initial_log_probability(self) -> Float[Tensor, "track row column"]:
        """Log-probability of the pixels after the first report, up to a constant for each track."""
        ...

    def initialise(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        """Start with particles whose pixels were drawn from `initial_log_probability`."""
        ...

    def log_likelihood(
        self, report: int, position: Float[Tensor, "track particle 2"], distance: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        """Log-likelihood of a later report for particles that moved `distance` metres since the report before."""
        ...

    def resample(self, index: Int[Tensor, "track particle"]) -> None:
        """Replace the particles by those at `index`."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class RasterLikelihood(ShortRepr):
    """A raster of log-density for each report, taken as independent.

    A `likelihood_exponent` below 1 accounts for reports that are not quite independent.
    """

    grid: Grid
    log_density: Float[Tensor, "track report row column"]
    prior: Float[Tensor, "row column"]
    likelihood_exponent: float = 1.0

    def initial_log_probability(self) -> Float[Tensor, "track row column"]:
        return self.likelihood_exponent * self.log_density[:, 0] + self.prior.clamp(min=TRACK_PRIOR_FLOOR).log()

    def initialise(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        """Do nothing: particles have no state."""

    def log_likelihood(
        self, report: int, position: Float[Tensor, "track particle 2"], distance: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        return self.likelihood_exponent * _value_at(self.log_density[:, report], self.grid, position)

    def resample(self, index: Int[Tensor, "track particle"]) -> None:
        """Do nothing: particles have no state."""


class CorrelatedFadingLikelihood:
    """Likelihood of reports along a track: each particle carries its fading, which changes as it moves.

    Fading is a first-order autoregressive process (`uel.measurement.rsrp_likelihood.along_track`). A heard level gives
    it within a reporting step, a silent cell bounds it; within these bounds it is drawn. Ranges and azimuths are
    independent between reports. With `map_error` the map's errors are correlated along the track like fading, which
    then has the variance of both together.
    """

    def __init__(
        self,
        reports: Reports,
        radio: RadioMap,
        prior: Float[Tensor, "row column"],
        model: ObservationModel,
        map_error: bool = False,
    ) -> None:
        """`reports` has axes (track, report). Raises `UelError` for a model that this likelihood does not hold for."""
        excluded = ("cell_correlation", "level_noise_db", "cell_dropout", "report_dropout")
        values = {name: getattr(model, name) for name in (*excluded, "decorrelation_distance")}
        if any(values[name] for name in excluded) or not model.decorrelation_distance:
            got = ", ".join(f"{name} {value:g}" for name, value in values.items())
            do = f"give a decorrelation_distance above 0, and set {', '.join(excluded)} to 0"
            raise UelError("tracks are filtered under fading that is correlated along the track only", got=got, do=do)
        self.radio, self.model, self.prior, self.reports = radio, model, prior, reports
        tracks, count = reports.received.shape
        flat = replace(reports, **{name: value.flatten(0, 1) for name, value in vars(reports).items()})
        range_and_azimuth = model.range_log_likelihood(flat, radio) + model.azimuth_log_likelihood(flat, radio)
        self.range_and_azimuth = range_and_azimuth.unflatten(0, (tracks, count))
        self.censor = model.censoring_level(flat).unflatten(0, (tracks, count))
        self.levels = model.rsrp_likelihood(radio, reference_power_dbm(radio.sites), map_error)

    def initial_log_probability(self) -> Float[Tensor, "track row column"]:
        level = self.levels.log_likelihood(self.reports[:, 0], self.censor[:, 0])
        return level + self.range_and_azimuth[:, 0] + self.prior.log()

    def stationary_posterior(self) -> Float[Tensor, "track row column"]:
        """The exact posterior of phones that stand: their fading stays, so that only ranges and azimuths are new."""
        log_p = self.initial_log_probability() + self.range_and_azimuth[:, 1:].sum(1)
        return log_p.flatten(1).softmax(-1).view_as(log_p)

    def initialise(self, position: Float[Tensor, "track particle 2"], generator: torch.Generator) -> None:
        zero = torch.zeros(*position.shape[:2], len(self.levels.mean), dtype=torch.double, device=position.device)
        _, self.fading = self._level_term(0, position, zero, torch.ones_like(zero), generator)

    def log_likelihood(
        self, report: int, position: Float[Tensor, "track particle 2"], distance: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "track particle"]:
        correlation = (-distance.double() / self.model.decorrelation_distance).exp().unsqueeze(-1)
        std = (1 - correlation**2).clamp(min=1e-6).sqrt().expand_as(self.fading)
        log_p, self.fading = self._level_term(report, position, correlation * self.fading, std, generator)
        return log_p.float() + _value_at(self.range_and_azimuth[:, report], self.radio.grid, position)

    def resample(self, index: Int[Tensor, "track particle"]) -> None:
        self.fading = self.fading.gather(1, index.unsqueeze(-1).expand_as(self.fading))

    def _level_term(
        self, report: int, position: Tensor, centre: Tensor, std: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "track particle"], Float[Tensor, "track particle cell"]]:
        """Log-likelihood of levels given the fading before (in sigmas: N(`centre`, `std`²)), and the fading after."""
        row, column = self.radio.grid.pixel_of(position)

        def at_particles(raster: Tensor) -> Tensor:
            return raster[:, row, column].movedim(0, -1)

        mean, sigma = at_particles(self.levels.mean).double(), at_particles(self.levels.link_std)
        known = at_particles(self.levels.known)
        heard = self.reports.heard[:, report].unsqueeze(1)
        level, half_step = self.reports.rsrp_dbm[:, report].unsqueeze(1), self.levels.step / 2
        low = torch.where(heard, level - half_step - mean, -torch.inf) / sigma
        high = (torch.where(heard, level + half_step, self.censor[:, report].unsqueeze(1)) - mean) / sigma
        u = torch.rand(low.shape, generator=generator, dtype=torch.double, device=generator.device)
        probability, fading = _draw_within(low, high, centre, std, u)
        if self.levels.outlier_fraction:
            outlier_std = self.levels.outlier_std / sigma
            outlier_probability, outlier_fading = _draw_outlier(low, high, centre, std, outlier_std, generator)
            joint = self.levels.outlier_fraction * outlier_probability
            probability = (1 - self.levels.outlier_fraction) * probability + joint
            is_outlier = (
                torch.rand(joint.shape, generator=generator, dtype=torch.double, device=generator.device) * probability
                < joint
            )
            fading = torch.where(is_outlier, outlier_fading, fading)
        log_p = torch.where(known, probability.log().clamp(min=NEVER), torch.where(heard, NEVER, 0.0))
        return log_p.sum(-1), torch.where(known, fading, centre + std * _normal_quantile(u))


def _draw_within(
    low: Tensor, high: Tensor, centre: Tensor, std: Tensor, u: Float[Tensor, "*n"]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Probability that N(`centre`, `std`²) lies between two bounds, and its `u`-quantile between them (u in 0 to 1)."""
    a, b = (torch.special.ndtr((bound - centre) / std) for bound in (low, high))
    value = centre + std * _normal_quantile(a + u * (b - a))
    return (b - a).clamp(min=MIN_PROBABILITY), value.clamp(
        min=low.clamp(min=-MAX_FADING_STDS), max=high.clamp(max=MAX_FADING_STDS)
    )


def _draw_outlier(
    low: Tensor, high: Tensor, centre: Tensor, std: Tensor, outlier_std: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """The same where the level has an outlier's N(0, `outlier_std`²) on top, and the fading without the outlier."""
    total_std = (std**2 + outlier_std**2).sqrt()
    u = torch.rand(low.shape, generator=generator, dtype=torch.double, device=generator.device)
    probability, total = _draw_within(low, high, centre, total_std, u)
    fading_fraction = (std / total_std) ** 2
    noise = torch.randn(low.shape, generator=generator, dtype=torch.double, device=generator.device)
    return probability, centre + fading_fraction * (total - centre) + std * (1 - fading_fraction).sqrt() * noise


def _normal_quantile(probability: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Quantile of the standard normal distribution."""
    return torch.special.ndtri(probability.clamp(1e-15, 1 - 1e-15))


def _value_at(
    raster: Float[Tensor, "track row column"], grid: Grid, position: Float[Tensor, "track particle 2"]
) -> Tensor:
    """A raster's value at every particle."""
    row, column = grid.pixel_of(position)
    return raster[torch.arange(len(raster), device=raster.device).unsqueeze(1), row, column]
