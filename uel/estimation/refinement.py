"""Second thoughts about a fix, on the finest grid: where the phone is within the patches that the heatmap leaves.

A heatmap knows patches, and one Gaussian in each; a locator that was trained for maps of every quality also doubts
good ones. Refinement weighs the pixels of the likely patches by the likelihood of the report, with the map's own error
bar, and believes the heatmap by a power: p(pixel) ∝ L(pixel) · prior · (heat(patch) / L(patch))^trust, where L(patch)
is the likelihood summed over the patch. With trust 1 patches keep their probability, with 0 the answer is grid Bayes
within the patches that are looked at. Of an untrained locator, whose heatmap is that sum, all powers say the same.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.grid import Grid
from uel.estimation.config import RefinementConfig
from uel.estimation.estimates import MIN_PIXEL_PROBABILITY, GridEstimate
from uel.estimation.fix import Fix, join_patches, pool_to_patches, split_into_patches
from uel.estimation.grid_posterior import geometric_median, log_posterior
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import MapSamples

PRIOR_FLOOR = 1e-6  # prior of a pixel where no phone can be, as for the locator


@dataclass(frozen=True, eq=False)
class PatchSortedMap:
    """A map sorted by patches, so that a few of them are looked up at once."""

    grid: Grid
    patches: int
    """a side"""
    spots: MapSamples
    """cell × (patch · pixel) × 1"""
    log_prior: Float[Tensor, "patch pixel"]
    power_dbm: Float[Tensor, " cell"]

    @staticmethod
    def of(maps: TileMaps, patches: int) -> "PatchSortedMap":
        """All of a tile's pixels. The patches must divide them, as for the locator."""
        radio = maps.radio
        sort = lambda values: split_into_patches(values.unsqueeze(-1), patches)[..., 0]  # noqa: E731
        column = lambda values: sort(values).flatten(1).unsqueeze(-1)  # noqa: E731
        names = ("gain", "relative_error", "known", "los", "delay", "azimuth_deg")
        return PatchSortedMap(
            grid=radio.grid,
            patches=patches,
            spots=MapSamples(**{name: column(getattr(radio, name)) for name in names}),
            log_prior=sort(maps.prior.clamp(min=PRIOR_FLOOR).log()[None])[0],
            power_dbm=maps.power_dbm,
        )

    def evidence(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, map_error: bool
    ) -> Float[Tensor, "batch k pixel"]:
        """Log-likelihood and log-prior in nats of the pixels of some patches."""
        log_p = self._features(reports, patch, model, map_error).sum(1)[..., 0]
        return log_p.unflatten(1, (len(patch), -1)) + self.log_prior[patch]

    def log_posterior(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, plan: RefinementConfig
    ) -> Float[Tensor, "batch k pixel"]:
        """Log-probability of the pixels of some patches, among these."""
        features = self._features(reports, patch, model, plan.map_error)
        log_p = log_posterior(features, self.log_prior[patch].reshape(-1, 1), plan.doubt)[..., 0]
        return log_p.unflatten(1, (len(patch), -1))

    def _features(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, map_error: bool
    ) -> Float[Tensor, "batch feature spot 1"]:
        pixels = self.log_prior.shape[1]
        index = (patch.unsqueeze(1) * pixels + torch.arange(pixels)).flatten()
        return model.log_likelihood(reports, self.spots[index], self.power_dbm, map_error)


@dataclass(frozen=True, eq=False)
class RefinementResult:
    """Fixes of which some were looked at again; an `uel.estimation.estimates.Estimate`."""

    plain: Fix
    """the locator's own"""
    chosen: Bool[Tensor, " n"]
    """who was refined"""
    pixels: GridEstimate
    """of those, in their order"""

    @property
    def patches(self) -> int:
        """Patches of the heatmap on a side."""
        return round(self.plain.log_heatmap.shape[1] ** 0.5)

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        """The geometric median, in metres."""
        return self._position

    @cached_property
    def _position(self) -> Float[Tensor, "n 2"]:
        if not bool(self.chosen.any()):
            return self.plain.position
        fine = _median(self.pixels, self.patches)
        return fine if bool(self.chosen.all()) else self._mixed(self.plain.position, fine)

    @cached_property
    def fix(self) -> Fix:
        """One Gaussian per patch, as locators answer; the locator's own where nothing was refined."""
        fine = pool_to_patches(
            self.pixels.probability.clamp(min=MIN_PIXEL_PROBABILITY).log(), self.pixels.grid, self.patches
        )
        parts = ("log_heatmap", "mean", "component_covariance")
        return Fix(**{name: self._mixed(getattr(self.plain, name), getattr(fine, name)) for name in parts})

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Log-density in 1/m² at positions."""
        return self._mixed(self.plain.log_density(truth), self.pixels.log_density(truth[self.chosen]))

    def level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        """See `uel.estimation.estimates.Estimate.level`."""
        return self._mixed(self.plain.hpd(truth, generator), self.pixels.level(truth[self.chosen], generator))

    def _mixed(self, plain: Tensor, fine: Tensor) -> Tensor:
        return plain.index_put((self.chosen.nonzero()[:, 0],), fine)


def refine_fix(
    fix: Fix, reports: Reports, fine: PatchSortedMap, model: ObservationModel, plan: RefinementConfig
) -> RefinementResult:
    """Fixes looked at again on the finest grid, of those whose heatmap is undecided enough.

    `model` is the realism that the reports are believed to have. What is not refined is not changed by a bit.
    """
    chosen = fix.entropy() >= plan.entropy
    some = Fix(fix.log_heatmap[chosen], fix.mean[chosen], fix.component_covariance[chosen])
    if not len(some.mean):
        return RefinementResult(fix, chosen, GridEstimate(fine.grid, torch.zeros(0, *fine.grid.shape)))
    return RefinementResult(fix, chosen, patch_posterior(some, reports[chosen], fine, model, plan).pixels(plan.trust))


@dataclass(frozen=True, eq=False)
class PatchPosterior:
    """What is seen at the likely patches of some fixes; how far their heatmaps are believed is still open."""

    fix: Fix
    fine: PatchSortedMap
    looked: Bool[Tensor, "batch patch"]
    """patches that are looked at for each fix"""
    patch: Int[Tensor, " k"]
    """those that are looked at for any"""
    log_p: Float[Tensor, "batch k pixel"]
    """log-probability of their pixels"""

    def pixels(self, trust: float) -> GridEstimate:
        """Probability of every pixel, see `RefinementConfig.trust`."""
        looked, heat = self.looked, self.fix.log_heatmap.exp()
        opinion = trust * (self.fix.log_heatmap[:, self.patch] - self.log_p.logsumexp(-1))
        score = (self.log_p + opinion.unsqueeze(-1)).masked_fill(~looked[:, self.patch].unsqueeze(-1), -torch.inf)
        inside = score.flatten(1).softmax(-1).view_as(score)
        share = (heat * ~looked / inside.shape[-1]).unsqueeze(-1).repeat(1, 1, inside.shape[-1])
        share[:, self.patch] += (heat * looked).sum(1)[:, None, None] * inside
        return GridEstimate(self.fine.grid, join_patches(share, self.fine.patches))


def patch_posterior(
    fix: Fix, reports: Reports, fine: PatchSortedMap, model: ObservationModel, plan: RefinementConfig
) -> PatchPosterior:
    """Weigh the pixels of the patches that together hold `plan.mass` of each heatmap."""
    looked = likeliest_patches(fix, plan.mass)
    patch = looked.any(0).nonzero()[:, 0]
    return PatchPosterior(fix, fine, looked, patch, fine.log_posterior(reports, patch, model, plan))


def likeliest_patches(fix: Fix, mass: float) -> Bool[Tensor, "batch patch"]:
    """The likeliest patches that together hold a share of the heatmap, one at least."""
    falling, order = fix.log_heatmap.exp().sort(dim=-1, descending=True)
    before = falling.cumsum(-1) - falling
    return torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before < mass)


def _median(pixels: GridEstimate, patches: int) -> Float[Tensor, "batch 2"]:
    """The geometric median; patches of no weight, most of them, are left out for speed."""
    share = split_into_patches(pixels.probability.unsqueeze(-1), patches)[..., 0]
    possible = (share.sum(-1) > 1e-6).any(0)
    points = split_into_patches(pixels.grid.centres()[None], patches)[0, possible].flatten(0, 1)[None]
    weight = share[:, possible].flatten(1)
    return geometric_median(points, weight / weight.sum(1, keepdim=True), pixels.grid.pixel**2 / 6)
