"""How truth becomes a report, and how likely a report is at each pixel: one set of parameters for both.

Every density here is the exact law of what `observe` draws; `tests/test_measurement.py` holds the two together.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import log_ndtr

from uel.errors import UelError
from uel.radiomap import RadioMap
from uel.reports import Reports, Truth
from uel.units import SPEED_OF_LIGHT, timing_advance_step, to_db, wrap_deg

NEVER = -30.0  # nats: stands for log 0 where a map excludes a report, finite so that one bad pixel is no NaN
DB_PER_NEPER = 10 / math.log(10)


@dataclass(frozen=True, kw_only=True)
class MeasurementModel:
    """The realism between the ray-traced truth and a phone's report (levels in dB, ranges in metres)."""

    shadowing_db: float = 8.0
    """standard deviation of log-normal shadow fading, independent per link"""
    sensitivity_dbm: float = -120.0
    """RSRP below which a cell is not reported"""
    rsrp_step_db: float = 1.0
    """reporting step of RSRP (TS 38.133, clause 10.1.6)"""
    cells_max: int = 8
    """strongest cells that one report holds"""
    subcarrier_spacing: float = 30e3
    """Hz: sets the timing advance step"""
    range_noise: float = 5.0
    """m, standard deviation of the one-way range behind the timing advance"""
    nlos_excess: float = 30.0
    """m, mean of the exponential excess range when the line of sight is blocked"""
    azimuth_noise_deg: float = 5.0
    """standard deviation of the serving cell's azimuth in line of sight"""
    azimuth_noise_nlos_deg: float = 25.0
    """the same when the line of sight is blocked"""
    azimuth_step_deg: float = 1.0
    """reporting step of the azimuth"""
    feature_dropout: float = 0.0
    """share of timing advances and of azimuths that are missing"""

    def __post_init__(self) -> None:
        for name in ("shadowing_db", "rsrp_step_db", "range_noise", "azimuth_noise_deg", "azimuth_step_deg"):
            if not getattr(self, name) > 0:
                raise UelError(f"{name} must be positive", got=getattr(self, name), do="give a positive number")
        if not 0 <= self.feature_dropout < 1 or self.cells_max < 1:
            raise UelError("dropout lies in [0, 1) and a report holds a cell at least", got=self, do="mend the model")

    @property
    def range_step(self) -> float:
        """One timing-advance step as a one-way distance in metres."""
        return timing_advance_step(self.subcarrier_spacing)

    @property
    def for_traced(self) -> "MeasurementModel":
        """The same realism for ray-traced truth, whose delays and angles bring their own multipath excess."""
        return replace(self, nlos_excess=1e-3, azimuth_noise_nlos_deg=self.azimuth_noise_deg)

    # ---- truth → report ------------------------------------------------------------------------------

    def observe(self, truth: Truth, power_dbm: Float[Tensor, " cell"], generator: torch.Generator) -> Reports:
        """Draw one report per place of `truth` (any leading axes).

        `power_dbm` is the cells' power per resource element. Fading is independent per link and place.
        """
        noise = torch.randn(truth.gain_db.shape, generator=generator) * self.shadowing_db
        level = truth.gain_db + power_dbm + noise
        rsrp = (level / self.rsrp_step_db).round() * self.rsrp_step_db
        heard = truth.known & (rsrp >= self.sensitivity_dbm)
        heard &= self._strongest(rsrp, heard)
        serving = torch.where(heard, level, -torch.inf).argmax(-1)
        audible = heard.any(-1)
        at = lambda values: values.gather(-1, serving.unsqueeze(-1)).squeeze(-1)  # noqa: E731
        steps = self._range(at(truth.delay), at(truth.los), generator) / self.range_step
        azimuth = self._azimuth(at(truth.azimuth_deg), at(truth.los), generator)
        has_ta, has_azimuth = (
            audible & (torch.rand(audible.shape, generator=generator) >= self.feature_dropout) for _ in range(2)
        )
        return Reports(
            rsrp_dbm=rsrp * heard,
            heard=heard,
            serving=serving,
            timing_advance=steps.floor().clamp(min=0) * has_ta,
            has_timing_advance=has_ta,
            azimuth_deg=azimuth * has_azimuth,
            has_azimuth=has_azimuth,
        )

    def _strongest(self, rsrp: Tensor, heard: Tensor) -> Tensor:
        rank = torch.where(heard, -rsrp, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
        return rank < self.cells_max

    def _range(self, delay: Tensor, los: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(delay.shape, generator=generator) * self.range_noise
        excess = torch.empty_like(delay).exponential_(generator=generator) * self.nlos_excess
        return delay * SPEED_OF_LIGHT + noise + torch.where(los, 0.0, excess)

    def _azimuth(self, azimuth_deg: Tensor, los: Tensor, generator: torch.Generator) -> Tensor:
        sigma = torch.where(los, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
        noisy = azimuth_deg + torch.randn(azimuth_deg.shape, generator=generator) * sigma
        return ((noisy / self.azimuth_step_deg).round() * self.azimuth_step_deg) % 360.0

    # ---- report → likelihood of every pixel ----------------------------------------------------------

    def log_likelihood(
        self, reports: Reports, radio: RadioMap, power_dbm: Float[Tensor, " cell"], map_error: bool = False
    ) -> Float[Tensor, "batch feature row column"]:
        """Log-probability in nats of each report at each pixel, by feature: RSRP, timing advance, azimuth.

        A feature that is absent contributes 0. With `map_error` the map's Monte-Carlo error is added to
        the fading's variance.
        """
        return torch.stack(
            [
                self._rsrp_term(reports, radio, power_dbm, map_error),
                self.range_log_likelihood(reports, radio),
                self.azimuth_log_likelihood(reports, radio),
            ],
            dim=1,
        )

    def _rsrp_term(self, reports: Reports, radio: RadioMap, power_dbm: Tensor, map_error: bool) -> Tensor:
        variance = self.shadowing_db**2 + (DB_PER_NEPER * radio.relative_error * map_error) ** 2
        sigma = variance.sqrt()
        mean = to_db(torch.where(radio.known, radio.gain, 1.0)) + power_dbm[:, None, None]
        censor = self._censor_level(reports)
        total = torch.zeros(len(reports), *radio.grid.shape)
        for cell in range(len(power_dbm)):  # one cell at a time bounds the memory of a large batch
            level = reports.rsrp_dbm[:, cell, None, None]
            heard = log_normal_bin(level - mean[cell], sigma[cell], self.rsrp_step_db)
            heard = torch.where(radio.known[cell], heard, NEVER)
            # Few distinct censoring levels occur in a batch (one, unless reports are full): one table for each.
            levels, which = censor[:, cell].unique(return_inverse=True)
            silent = log_ndtr((levels[:, None, None] - mean[cell]) / sigma[cell])
            silent = torch.where(radio.known[cell], silent, 0.0)[which]
            term = torch.where(reports.heard[:, cell, None, None], heard, silent)
            total += term.clamp(min=NEVER)
        return total

    def _censor_level(self, reports: Reports) -> Float[Tensor, "batch cell"]:
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

    def range_log_likelihood(self, reports: Reports, radio: RadioMap) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of each timing advance at each pixel; 0 where a report has none."""
        distance = radio.delay[reports.serving] * SPEED_OF_LIGHT
        low = reports.timing_advance[:, None, None] * self.range_step
        # Step 0 holds everything below one step: noise cannot make a range negative.
        low_edge = torch.where(low > 0, low - distance, -torch.inf)
        high_edge = low + self.range_step - distance
        los = radio.los[reports.serving]
        sight = normal_interval(low_edge, high_edge, self.range_noise)
        blocked = ex_gaussian_cdf(high_edge, self.range_noise, self.nlos_excess) - ex_gaussian_cdf(
            low_edge, self.range_noise, self.nlos_excess
        )
        probability = torch.where(los, sight, blocked)
        term = probability.clamp(min=math.exp(NEVER)).log()
        return term * reports.has_timing_advance[:, None, None]

    def azimuth_log_likelihood(self, reports: Reports, radio: RadioMap) -> Float[Tensor, "batch row column"]:
        """Log-probability in nats of each azimuth at each pixel; 0 where a report has none."""
        los = radio.los[reports.serving]
        sigma = torch.where(los, self.azimuth_noise_deg, self.azimuth_noise_nlos_deg)
        off = wrap_deg(reports.azimuth_deg[:, None, None] - radio.azimuth_deg[reports.serving])
        # 25° wraps around the circle: one turn either way holds all but 1e-12 of the probability.
        turns = torch.stack([log_normal_bin(off + 360.0 * k, sigma, self.azimuth_step_deg) for k in (-1, 0, 1)])
        return turns.logsumexp(0).clamp(min=NEVER) * reports.has_azimuth[:, None, None]


def log_normal_bin(offset: Float[Tensor, "*n"], sigma: Float[Tensor, "*#n"], step: float) -> Float[Tensor, "*n"]:
    """Log-probability that a zero-mean normal variable, rounded to `step`, gives `offset`.

    The density in the bin's centre times its width, with the second-order term of the bin's average
    (relative error below 2e-4 within four sigma ≥ 5 steps, 1e-5 within two).
    """
    z = offset / sigma
    curvature = (step / sigma) ** 2 / 24 * (z**2 - 1)
    return math.log(step / math.sqrt(2 * math.pi)) - sigma.log() - z**2 / 2 + torch.log1p(curvature.clamp(min=-0.5))


def normal_interval(low: Tensor, high: Tensor, sigma: float) -> Tensor:
    """Probability that a zero-mean normal variable falls between two offsets, exact in both tails."""
    flip = low > 0
    a, b = torch.where(flip, -high, low) / sigma, torch.where(flip, -low, high) / sigma
    return torch.special.ndtr(b) - torch.special.ndtr(a)


def ex_gaussian_cdf(x: Tensor, sigma: float, mean: float) -> Tensor:
    """Distribution function of N(0, sigma²) + Exp(mean) (Grushka, Psychological Bulletin 1972)."""
    z = x / sigma
    ratio = sigma / mean
    tail = torch.exp((-z * ratio + ratio**2 / 2 + log_ndtr(z - ratio)).clamp(max=0.0))
    return torch.where(torch.isinf(x), (x > 0).to(x.dtype), torch.special.ndtr(z) - tail)
