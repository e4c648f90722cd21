"""How truth becomes a report, and how likely a report is at each pixel: one set of parameters for both.

Every density here is the exact law of what `observe` draws; `tests/uel/measurement/test_model.py` holds the two
together.
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
    """The realism between the ray-traced truth and a phone's report (levels in dB, ranges in metres)."""

    @staticmethod
    def of(parameters: ObservationParameters) -> "ObservationModel":
        """The model with these parameters, as a configuration gives them."""
        return ObservationModel(**vars(parameters))

    @property
    def for_ray_tracing(self) -> "ObservationModel":
        """The same realism for ray-traced truth, whose delays and angles bring their own multipath excess."""
        return replace(self, nlos_excess=1e-3, azimuth_noise_nlos_deg=self.azimuth_noise_deg)

    # ---- truth → report ------------------------------------------------------------------------------

    def observe(
        self,
        truth: LinkTruth,
        power_dbm: Float[Tensor, " cell"],
        generator: torch.Generator,
        valid: Bool[Tensor, "*n"] | None = None,
    ) -> Reports:
        """Draw one report per place of `truth` (any leading axes); none where a padded track is not `valid`.

        `power_dbm` is the cells' power per resource element. Fading is independent per link and place, unless
        cells are correlated; with a decorrelation distance it follows the last leading axis, where there are two.
        """
        fork = _fork(generator)
        level = truth.gain_db + power_dbm + self._fading(truth, generator, fork)
        rsrp = (level / self.rsrp_step_db).round() * self.rsrp_step_db
        received = _kept(rsrp.shape[:-1], self.report_dropout, fork)
        received &= torch.ones_like(received) if valid is None else valid
        heard = truth.known & (rsrp >= self.sensitivity_dbm) & received.unsqueeze(-1)
        heard &= _kept(heard.shape, self.cell_dropout, fork)
        heard &= self._strongest(rsrp, heard)
        serving = torch.where(heard, level, -torch.inf).argmax(-1)
        audible = heard.any(-1)
        at = lambda values: values.gather(-1, serving.unsqueeze(-1)).squeeze(-1)  # noqa: E731
        los = at(truth.los)
        reach = self._range(at(truth.delay), self._seen(los, fork), self.range_noise, generator)
        azimuth = self._azimuth(at(truth.azimuth_deg), self._seen(los, fork), generator)
        has_ta, has_azimuth = (
            audible & (torch.rand(audible.shape, generator=generator) >= self.feature_dropout) for _ in range(2)
        )
        reports = Reports(
            rsrp_dbm=rsrp * heard,
            heard=heard,
            serving=serving,
            timing_advance=(reach / self.range_step).floor().clamp(min=0) * has_ta,
            has_timing_advance=has_ta,
            azimuth_deg=azimuth * has_azimuth,
            has_azimuth=has_azimuth,
            received=received,
            **(self._every_link(truth, heard, fork) if "toa" in features_of(self.tier) else {}),
        )
        return reports.with_tier(self.tier)

    def _fading(self, truth: LinkTruth, generator: torch.Generator, fork: torch.Generator) -> Float[Tensor, "*n cell"]:
        """Shadow fading and level noise in dB."""
        white = torch.randn(truth.gain_db.shape, generator=generator)
        if self.cell_correlation:
            common = torch.randn((*white.shape[:-1], 1), generator=fork)
            white = math.sqrt(1 - self.cell_correlation) * white + math.sqrt(self.cell_correlation) * common
        if self.decorrelation_distance and white.ndim > 2:
            white = correlate_along_track(white, truth.position, self.decorrelation_distance)
        fading = white * self.shadowing_db
        if self.level_noise_db:
            fading = fading + torch.randn(fading.shape, generator=fork) * self.level_noise_db
        if self.level_outliers:
            struck = torch.rand(fading.shape, generator=fork) < self.level_outliers
            fading = fading + struck * torch.randn(fading.shape, generator=fork) * self.outlier_db
        return fading

    def _every_link(self, truth: LinkTruth, heard: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Times and angles of arrival of all reported cells."""
        has_toa, has_aoa = (heard & _kept(heard.shape, self.feature_dropout, generator) for _ in range(2))
        toa = self._range(truth.delay, self._seen(truth.los, generator), self.toa_noise, generator) / SPEED_OF_LIGHT
        aoa = self._azimuth(truth.azimuth_deg, self._seen(truth.los, generator), generator)
        return {"toa": toa * has_toa, "has_toa": has_toa, "aoa_deg": aoa * has_aoa, "has_aoa": has_aoa}

    def _strongest(self, rsrp: Tensor, heard: Tensor) -> Tensor:
        rank = torch.where(heard, -rsrp, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
        return rank < self.cells_max

    def _seen(self, los: Bool[Tensor, "*n"], generator: torch.Generator) -> Bool[Tensor, "*n"]:
        """Where the sight is free, given where it is said to be."""
        if not self.has_uncertain_los:
            return los
        return los ^ (torch.rand(los.shape, generator=generator) < self._sight_wrong(los))

    def _sight_wrong(self, los: Tensor) -> Tensor:
        return torch.where(los, self.false_sight, self.missed_sight)

    def _range(self, delay: Tensor, los: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
        noise = torch.randn(delay.shape, generator=generator) * sigma
        excess = torch.empty_like(delay).exponential_(generator=generator) * self.nlos_excess
        return delay * SPEED_OF_LIGHT + noise + torch.where(los, 0.0, excess)

    def _azimuth(self, azimuth_deg: Tensor, los: Tensor, generator: torch.Generator) -> Tensor:
        sigma = torch.where(los, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
        noisy = azimuth_deg + torch.randn(azimuth_deg.shape, generator=generator) * sigma
        return ((noisy / self.azimuth_step_deg).round() * self.azimuth_step_deg) % 360.0

    # ---- report → likelihood of every pixel ----------------------------------------------------------

    def log_likelihood(
        self, reports: Reports, radio: RadioMap | MapSamples, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> Float[Tensor, "batch feature row column"]:
        """Log-probability in nats of each report at each pixel, by feature: RSRP, range, azimuth.

        Range is the timing advance's probability and the density per metre of times of arrival; azimuth is that
        of the serving cell or of all. A feature that is absent contributes 0, a lost report 0 in all. With
        `map_error` the map's Monte-Carlo error is added to the fading's variance.

        Reports of one phone that stands share its fading: the joint law of such reports is not the sum of these
        over reports, which holds for independent fading only (`decorrelation_distance` 0, or strides far longer).
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
        """Log-probability in nats of which cells each report holds and of their levels, at each pixel."""
        return self.rsrp_likelihood(radio, power_dbm, map_error).log_likelihood(reports, self.censoring_level(reports))

    def rsrp_likelihood(
        self, radio: RadioMap | MapSamples, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> RsrpLikelihood:
        """The law of levels at every pixel of a map."""
        own = self.shadowing_db**2 * (1 - self.cell_correlation) + self.level_noise_db**2
        return RsrpLikelihood(
            mean=radio.level_db + power_dbm[:, None, None],
            known=radio.known,
            link_std=(own + (DB_PER_NEPER * radio.relative_error * map_error) ** 2).sqrt(),
            common_std=self.shadowing_db * math.sqrt(self.cell_correlation),
            step=self.rsrp_step_db,
            dropout=self.cell_dropout,
            outlier_fraction=self.level_outliers,
            outlier_std=self.outlier_db,
        )

    def censoring_level(self, reports: Reports) -> Float[Tensor, "batch cell"]:
        """dBm below which an unreported cell must lie: the sensitivity, or the weakest of a full report.

        Levels come in steps, so ties are common; among equals the first cells are reported. A cell that comes
        after all that tie for the weakest place may therefore lie as high as they do.
        """
        weakest = torch.where(reports.heard, reports.rsrp_dbm, torch.inf).amin(-1, keepdim=True)
        index = torch.arange(reports.heard.shape[-1])
        last = torch.where(reports.heard & (reports.rsrp_dbm == weakest), index, -1).amax(-1, keepdim=True)
        full = reports.heard.sum(-1, keepdim=True) >= self.cells_max
        limit = torch.where(index > last, weakest + self.rsrp_step_db, weakest)
        return torch.where(full, limit, self.sensitivity_dbm) - self.rsrp_step_db / 2

    def range_log_likelihood(self, reports: Reports, radio: RadioMap | MapSamples) -> Float[Tensor, "batch row column"]:
        """Log-likelihood in nats of timing advances and times of arrival at each pixel; 0 where there are none.

        A time of arrival of the serving cell says what its timing advance says, which then adds nothing: two draws
        of one link would average away an excess that in truth they share.
        """
        delay = radio.delay
        distance, los = delay[reports.serving] * SPEED_OF_LIGHT, radio.los[reports.serving]
        alone = reports.has_timing_advance & ~reports.at_serving(reports.has_toa)
        total = self._timing_advance_term(reports, distance, los) * alone[:, None, None]
        for cell in self._cells("toa", reports.has_toa):
            excess = (reports.toa[:, cell, None, None] - delay[cell]) * SPEED_OF_LIGHT
            blocked = log_ex_gaussian(excess, self.toa_noise, self.nlos_excess)
            free = log_normal(excess, self.toa_noise)
            term = self._by_sight(
                radio.los[cell], lambda los, free=free, blocked=blocked: torch.where(los, free, blocked)
            )
            total += term.clamp(min=NEVER) * reports.has_toa[:, cell, None, None]
        return total

    def _timing_advance_term(self, reports: Reports, distance: Tensor, los: Tensor) -> Tensor:
        low = reports.timing_advance[:, None, None] * self.range_step
        # Step 0 holds everything below one step: noise cannot make a range negative.
        low_edge = torch.where(low > 0, low - distance, -torch.inf)
        high_edge = low + self.range_step - distance
        sight = normal_interval(low_edge, high_edge, self.range_noise)
        blocked = ex_gaussian_cdf(high_edge, self.range_noise, self.nlos_excess) - ex_gaussian_cdf(
            low_edge, self.range_noise, self.nlos_excess
        )
        law = lambda free: torch.where(free, sight, blocked).clamp(min=math.exp(NEVER)).log()  # noqa: E731
        return self._by_sight(los, law)

    def azimuth_log_likelihood(
        self, reports: Reports, radio: RadioMap | MapSamples
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of the azimuths at each pixel, the serving cell's once; 0 where there are none."""
        azimuth, serving = radio.azimuth_deg, reports.serving
        alone = reports.has_azimuth & ~reports.at_serving(reports.has_aoa)
        total = self._azimuth_term(reports.azimuth_deg, azimuth[serving], radio.los[serving]) * alone[:, None, None]
        for cell in self._cells("aoa_deg", reports.has_aoa):
            term = self._azimuth_term(reports.aoa_deg[:, cell], azimuth[cell], radio.los[cell])
            total += term * reports.has_aoa[:, cell, None, None]
        return total

    def _cells(self, feature: str, has: Bool[Tensor, "batch cell"]) -> list[int]:
        """The cells of which any report says a feature, in a tier that has it."""
        return has.any(0).nonzero()[:, 0].tolist() if feature in features_of(self.tier) else []

    def _azimuth_term(self, said_deg: Float[Tensor, " batch"], true_deg: Tensor, los: Tensor) -> Tensor:
        off = wrap_deg(said_deg[:, None, None] - true_deg)

        def law(free: Tensor) -> Tensor:
            sigma = torch.where(free, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
            # 25° wraps around the circle: one turn either way holds all but 1e-12 of the probability.
            turns = torch.stack([log_normal_bin(off + 360.0 * k, sigma, self.azimuth_step_deg) for k in (-1, 0, 1)])
            return turns.logsumexp(0).clamp(min=NEVER)

        return self._by_sight(los, law)

    def _by_sight(self, los: Tensor, law: Callable[[Tensor], Tensor]) -> Tensor:
        """A log-law that depends on free sight, mixed with the other case as far as the map may be wrong."""
        told = law(los)
        if not self.has_uncertain_los:
            return told
        wrong = self._sight_wrong(los)
        return torch.logaddexp(torch.log1p(-wrong) + told, wrong.log() + law(~los))


def _fork(generator: torch.Generator) -> torch.Generator:
    """A generator of its own stream, which leaves the numbers that the given one will draw as they are."""
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=twin)))


def _kept(shape: torch.Size, dropout: float, generator: torch.Generator) -> Tensor:
    """Which of many things are not dropped."""
    if not dropout:
        return torch.ones(shape, dtype=torch.bool)
    return torch.rand(shape, generator=generator) >= dropout
