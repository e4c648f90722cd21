"""Observation model: draws reports of true links, and gives their likelihood at each pixel with the same parameters.

Every likelihood here is the exact distribution of the reports that `observe` draws;
`tests/uel/measurement/test_model.py` compares the two.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import wrap_deg
from uel.measurement.distributions import ex_gaussian_cdf, log_ex_gaussian, log_normal, log_normal_bin, normal_interval
from uel.measurement.parameters import ObservationParameters
from uel.measurement.reports import Reports
from uel.measurement.rsrp_likelihood import NEVER, RsrpLikelihood, correlate_along_track
from uel.measurement.tiers import features_of
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapSamples, RadioMap

DB_PER_NEPER = 10 / math.log(10)


@dataclass(frozen=True, kw_only=True)
class ObservationModel(ObservationParameters):
    """Sampling and likelihood of reports, given links (levels in dB, ranges in metres).

    Raises:
        UelError: for parameters outside their range, see `ObservationParameters`.

    Example:
        >>> import torch, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
        >>> model, power = uel.ObservationModel(shadowing_db=6.0), uel.reference_power_dbm(sites)
        >>> truth = radio.pixel_truth(torch.tensor([[30.0, 40.0]]))
        >>> reports = model.observe(truth, power, torch.Generator().manual_seed(0))
        >>> model.log_likelihood(reports, radio, power).shape  # nats: report, kind of measurement, row, column
        torch.Size([1, 3, 16, 16])
    """

    @staticmethod
    def from_parameters(parameters: ObservationParameters) -> "ObservationModel":
        """The model with the parameters of a configuration."""
        return ObservationModel(**vars(parameters))

    @property
    def for_ray_tracing(self) -> "ObservationModel":
        """The model for ray-traced truth, whose delays and angles already include the multipath excess."""
        return replace(self, nlos_excess=1e-3, azimuth_noise_nlos_deg=self.azimuth_noise_deg)

    # ---- sampling ------------------------------------------------------------------------------------

    def observe(
        self,
        truth: LinkTruth,
        power_dbm: Float[Tensor, " cell"],
        generator: torch.Generator,
        valid: Bool[Tensor, "*n"] | None = None,
    ) -> Reports:
        """Draw one report per position of `truth` (any leading axes); none where a padded track is not `valid`.

        `power_dbm` is the cells' power per resource element. Fading is independent per link and position, unless cells
        are correlated; with a decorrelation distance it is correlated along the last of two or more leading axes.
        """
        fork = _fork(generator)
        level = truth.gain_db + power_dbm + self._fading(truth, generator, fork)
        rsrp = (level / self.rsrp_step_db).round() * self.rsrp_step_db
        received = _not_dropped(rsrp.shape[:-1], self.report_dropout, fork)
        received &= torch.ones_like(received) if valid is None else valid
        heard = truth.known & (rsrp >= self.sensitivity_dbm) & received.unsqueeze(-1)
        heard &= _not_dropped(heard.shape, self.cell_dropout, fork)
        heard &= self._strongest(rsrp, heard)
        serving = torch.where(heard, level, -torch.inf).argmax(-1)
        audible = heard.any(-1)

        def at_serving(values: Tensor) -> Tensor:
            return values.gather(-1, serving.unsqueeze(-1)).squeeze(-1)

        los = at_serving(truth.los)
        serving_range = self._range(at_serving(truth.delay), self._true_los(los, fork), self.range_noise, generator)
        azimuth = self._azimuth(at_serving(truth.azimuth_deg), self._true_los(los, fork), generator)
        has_ta, has_azimuth = (
            audible & (torch.rand(audible.shape, generator=generator, device=generator.device) >= self.feature_dropout)
            for _ in range(2)
        )
        reports = Reports(
            rsrp_dbm=rsrp * heard,
            heard=heard,
            serving=serving,
            timing_advance=(serving_range / self.range_step).floor().clamp(min=0) * has_ta,
            has_timing_advance=has_ta,
            azimuth_deg=azimuth * has_azimuth,
            has_azimuth=has_azimuth,
            received=received,
            **(self._arrivals(truth, heard, fork) if "toa" in features_of(self.tier) else {}),
        )
        return reports.with_tier(self.tier)

    def _fading(self, truth: LinkTruth, generator: torch.Generator, fork: torch.Generator) -> Float[Tensor, "*n cell"]:
        """Shadow fading and level noise in dB."""
        white = torch.randn(truth.gain_db.shape, generator=generator, device=generator.device)
        if self.cell_correlation:
            common = torch.randn((*white.shape[:-1], 1), generator=fork, device=fork.device)
            white = math.sqrt(1 - self.cell_correlation) * white + math.sqrt(self.cell_correlation) * common
        if self.decorrelation_distance and white.ndim > 2:
            white = correlate_along_track(white, truth.position, self.decorrelation_distance)
        fading = white * self.shadowing_db
        if self.level_noise_db:
            fading = fading + torch.randn(fading.shape, generator=fork, device=fork.device) * self.level_noise_db
        if self.level_outliers:
            is_outlier = torch.rand(fading.shape, generator=fork, device=fork.device) < self.level_outliers
            fading = (
                fading + is_outlier * torch.randn(fading.shape, generator=fork, device=fork.device) * self.outlier_db
            )
        return fading

    def _arrivals(self, truth: LinkTruth, heard: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Times and angles of arrival of all reported cells."""
        has_toa, has_aoa = (heard & _not_dropped(heard.shape, self.feature_dropout, generator) for _ in range(2))
        toa = self._range(truth.delay, self._true_los(truth.los, generator), self.toa_noise, generator) / SPEED_OF_LIGHT
        aoa = self._azimuth(truth.azimuth_deg, self._true_los(truth.los, generator), generator)
        return {"toa": toa * has_toa, "has_toa": has_toa, "aoa_deg": aoa * has_aoa, "has_aoa": has_aoa}

    def _strongest(self, rsrp: Tensor, heard: Tensor) -> Tensor:
        rank = torch.where(heard, -rsrp, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
        return rank < self.cells_max

    def _true_los(self, los: Bool[Tensor, "*n"], generator: torch.Generator) -> Bool[Tensor, "*n"]:
        """Draw the true line of sight, given the map's."""
        if not self.has_uncertain_los:
            return los
        return los ^ (
            torch.rand(los.shape, generator=generator, device=generator.device) < self._los_error_probability(los)
        )

    def _los_error_probability(self, los: Tensor) -> Tensor:
        return torch.where(los, self.false_sight, self.missed_sight)

    def _range(self, delay: Tensor, los: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
        noise = torch.randn(delay.shape, generator=generator, device=generator.device) * sigma
        excess = torch.empty_like(delay).exponential_(generator=generator) * self.nlos_excess
        return delay * SPEED_OF_LIGHT + noise + torch.where(los, 0.0, excess)

    def _azimuth(self, azimuth_deg: Tensor, los: Tensor, generator: torch.Generator) -> Tensor:
        sigma = torch.where(los, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
        noisy = azimuth_deg + torch.randn(azimuth_deg.shape, generator=generator, device=generator.device) * sigma
        return ((noisy / self.azimuth_step_deg).round() * self.azimuth_step_deg) % 360.0

    # ---- likelihood of every pixel -------------------------------------------------------------------

    def log_likelihood(
        self, reports: Reports, radio: RadioMap | MapSamples, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> Float[Tensor, "batch feature row column"]:
        """Log-probability in nats of each report at each pixel, by feature: RSRP, range, azimuth.

        The range term is the timing advance's probability and the density per metre of times of arrival; the azimuth
        term covers the serving cell or all cells. An absent feature contributes 0, a lost report 0 in all features.
        With `map_error` the map's Monte-Carlo error is added to the fading's variance.

        The sum over several reports is their joint log-likelihood only if their fading is independent
        (`decorrelation_distance` 0, or much longer strides); a stationary phone keeps its fading.
        """
        terms = [
            self.level_log_likelihood(reports, radio, power_dbm, map_error),
            self.range_log_likelihood(reports, radio),
            self.azimuth_log_likelihood(reports, radio),
        ]
        return torch.stack(terms, dim=1) * reports.received[:, None, None, None]

    def level_log_likelihood(
        self, reports: Reports, radio: RadioMap | MapSamples, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of each report's cells and their levels, at each pixel."""
        return self.rsrp_likelihood(radio, power_dbm, map_error).log_likelihood(reports, self.censoring_level(reports))

    def rsrp_likelihood(
        self, radio: RadioMap | MapSamples, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> RsrpLikelihood:
        """Distribution of the levels at every pixel of a map."""
        link_variance = self.shadowing_db**2 * (1 - self.cell_correlation) + self.level_noise_db**2
        return RsrpLikelihood(
            mean=radio.level_db + power_dbm[:, None, None],
            known=radio.known,
            link_std=(link_variance + (DB_PER_NEPER * radio.relative_error * map_error) ** 2).sqrt(),
            common_std=self.shadowing_db * math.sqrt(self.cell_correlation),
            step=self.rsrp_step_db,
            dropout=self.cell_dropout,
            outlier_fraction=self.level_outliers,
            outlier_std=self.outlier_db,
        )

    def censoring_level(self, reports: Reports) -> Float[Tensor, "batch cell"]:
        """Level in dBm below which an unreported cell must lie: the sensitivity, or the weakest level of a full report.

        Levels come in steps, so ties are common; among equal levels the first cells are reported. A cell after the last
        one with the weakest level may therefore have that level itself.
        """
        weakest = torch.where(reports.heard, reports.rsrp_dbm, torch.inf).amin(-1, keepdim=True)
        index = torch.arange(reports.heard.shape[-1], device=reports.heard.device)
        last = torch.where(reports.heard & (reports.rsrp_dbm == weakest), index, -1).amax(-1, keepdim=True)
        full = reports.heard.sum(-1, keepdim=True) >= self.cells_max
        limit = torch.where(index > last, weakest + self.rsrp_step_db, weakest)
        return torch.where(full, limit, self.sensitivity_dbm) - self.rsrp_step_db / 2

    def range_log_likelihood(self, reports: Reports, radio: RadioMap | MapSamples) -> Float[Tensor, "batch row column"]:
        """Log-likelihood in nats of timing advances and times of arrival at each pixel; 0 where a report has none.

        The timing advance is ignored where the report has a time of arrival of the serving cell: both have the same
        excess, which two independent terms would average away.
        """
        delay = radio.delay
        total = delay.new_zeros(reports.heard.shape[0], *delay.shape[1:])
        use_timing_advance = reports.has_timing_advance & ~reports.at_serving(reports.has_toa)
        if _is_any(use_timing_advance):
            distance, los = delay[reports.serving] * SPEED_OF_LIGHT, radio.los[reports.serving]
            total = self._timing_advance_term(reports, distance, los) * use_timing_advance[:, None, None]
        for cell in self._cells("toa", reports.has_toa):
            excess = (reports.toa[:, cell, None, None] - delay[cell]) * SPEED_OF_LIGHT
            blocked = log_ex_gaussian(excess, self.toa_noise, self.nlos_excess)
            free = log_normal(excess, self.toa_noise)
            term = self._mix_los_error(
                radio.los[cell], lambda los, free=free, blocked=blocked: torch.where(los, free, blocked)
            )
            total += term.clamp(min=NEVER) * reports.has_toa[:, cell, None, None]
        return total

    def _timing_advance_term(self, reports: Reports, distance: Tensor, los: Tensor) -> Tensor:
        low = reports.timing_advance[:, None, None] * self.range_step
        # Step 0 holds everything below one step: noise cannot make a range negative.
        low_edge = torch.where(low > 0, low - distance, -torch.inf)
        high_edge = low + self.range_step - distance
        free = normal_interval(low_edge, high_edge, self.range_noise)
        blocked = ex_gaussian_cdf(high_edge, self.range_noise, self.nlos_excess) - ex_gaussian_cdf(
            low_edge, self.range_noise, self.nlos_excess
        )

        def log_p(los: Tensor) -> Tensor:
            return torch.where(los, free, blocked).clamp(min=math.exp(NEVER)).log()

        return self._mix_los_error(los, log_p)

    def azimuth_log_likelihood(
        self, reports: Reports, radio: RadioMap | MapSamples
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of the azimuths at each pixel, the serving cell's only once; 0 where a report has
        none."""
        azimuth, serving = radio.azimuth_deg, reports.serving
        total = azimuth.new_zeros(reports.heard.shape[0], *azimuth.shape[1:])
        use_serving_azimuth = reports.has_azimuth & ~reports.at_serving(reports.has_aoa)
        if _is_any(use_serving_azimuth):
            term = self._azimuth_term(reports.azimuth_deg, azimuth[serving], radio.los[serving])
            total = term * use_serving_azimuth[:, None, None]
        for cell in self._cells("aoa_deg", reports.has_aoa):
            term = self._azimuth_term(reports.aoa_deg[:, cell], azimuth[cell], radio.los[cell])
            total += term * reports.has_aoa[:, cell, None, None]
        return total

    def _cells(self, feature: str, has: Bool[Tensor, "batch cell"]) -> list[int]:
        """Cells for which any report has a feature, in a tier that has it."""
        return has.any(0).nonzero()[:, 0].tolist() if feature in features_of(self.tier) else []

    def _azimuth_term(self, reported_deg: Float[Tensor, " batch"], true_deg: Tensor, los: Tensor) -> Tensor:
        offset = wrap_deg(reported_deg[:, None, None] - true_deg)

        def log_p(los: Tensor) -> Tensor:
            sigma = torch.where(los, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
            # Noise wraps around the circle: one turn either way holds all but 1e-12 of the probability at 25°.
            turns = torch.stack([log_normal_bin(offset + 360.0 * k, sigma, self.azimuth_step_deg) for k in (-1, 0, 1)])
            return turns.logsumexp(0).clamp(min=NEVER)

        return self._mix_los_error(los, log_p)

    def _mix_los_error(self, los: Tensor, log_p: Callable[[Tensor], Tensor]) -> Tensor:
        """A log-probability that depends on line of sight, mixed over the map's error in it."""
        as_mapped = log_p(los)
        if not self.has_uncertain_los:
            return as_mapped
        error = self._los_error_probability(los)
        return torch.logaddexp(torch.log1p(-error) + as_mapped, error.log() + log_p(~los))


def _fork(generator: torch.Generator) -> torch.Generator:
    """A generator with an independent stream, seeded by a copy of `generator`, whose state stays as it is."""
    copy = torch.Generator()
    copy.set_state(generator.get_state())
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=copy, device=copy.device)))


def _is_any(mask: Bool[Tensor, " batch"]) -> bool:
    """Whether a feature is worth computing: some report has it. An exported program computes it for all."""
    return torch.compiler.is_compiling() or bool(mask.any())


def _not_dropped(shape: torch.Size, dropout: float, generator: torch.Generator) -> Tensor:
    """Random mask that is False with probability `dropout`; draws nothing for dropout 0."""
    if not dropout:
        return torch.ones(shape, dtype=torch.bool, device=generator.device)
    return torch.rand(shape, generator=generator, device=generator.device) >= dropout
