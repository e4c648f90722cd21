"""Second stage of a fix on the finest grid: a posterior over the pixels of the patches that the heatmap leaves.

A heatmap has one probability per patch, and one Gaussian in each; a locator that was trained for maps of every quality
also doubts good ones. Refinement weights the pixels of the likely patches by the likelihood of the report, with the
map's own error bar, and by a power of the heatmap: p(pixel) ∝ L(pixel) · prior · (heat(patch) / L(patch))^trust, where
L(patch) is the likelihood summed over the patch. With trust 1 patches keep their probability, with 0 the result is grid
Bayes within the selected patches. The heatmap of an untrained locator is that sum: there all powers give the same.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.grid import Grid
from uel.estimation.config import RefinementConfig
from uel.estimation.estimates import MIN_PIXEL_PROBABILITY, GridEstimate
from uel.estimation.fix import Fix, join_patches, pool_to_patches, split_into_patches
from uel.estimation.grid_posterior import PRIOR_FLOOR, geometric_median, log_posterior
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import MapSamples


@dataclass(frozen=True, eq=False, repr=False)
class PatchSortedMap(ShortRepr):
    """A map with its pixels sorted by patch, so that a few patches can be looked up at once."""

    grid: Grid
    patches: int
    """on a side"""
    samples: MapSamples
    """cell × (patch · pixel) × 1"""
    log_prior: Float[Tensor, "patch pixel"]
    power_dbm: Float[Tensor, " cell"]

    @staticmethod
    def of(maps: TileMaps, patches: int) -> "PatchSortedMap":
        """All of a tile's pixels. The patches must divide them, as for the locator."""
        radio = maps.radio

        def by_patch(values: Tensor) -> Tensor:
            return split_into_patches(values.unsqueeze(-1), patches)[..., 0]

        names = ("gain", "relative_error", "known", "los", "delay", "azimuth_deg")
        columns = {name: by_patch(getattr(radio, name)).flatten(1).unsqueeze(-1) for name in names}
        return PatchSortedMap(
            grid=radio.grid,
            patches=patches,
            samples=MapSamples(**columns),
            log_prior=by_patch(maps.prior.clamp(min=PRIOR_FLOOR).log()[None])[0],
            power_dbm=maps.power_dbm,
        )

    def log_joint(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, map_error: bool
    ) -> Float[Tensor, "batch k pixel"]:
        """Log-likelihood plus log-prior in nats of the pixels of some patches."""
        log_p = self._log_likelihood(reports, patch, model, map_error).sum(1)[..., 0]
        return log_p.unflatten(1, (len(patch), -1)) + self.log_prior[patch]

    def log_posterior(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, config: RefinementConfig
    ) -> Float[Tensor, "batch k pixel"]:
        """Log-probability of the pixels of some patches, normalised over these patches."""
        features = self._log_likelihood(reports, patch, model, config.map_error)
        log_p = log_posterior(features, self.log_prior[patch].reshape(-1, 1), config.doubt)[..., 0]
        return log_p.unflatten(1, (len(patch), -1))

    def _log_likelihood(
        self, reports: Reports, patch: Int[Tensor, " k"], model: ObservationModel, map_error: bool
    ) -> Float[Tensor, "batch feature sample 1"]:
        pixels = self.log_prior.shape[1]
        index = (patch.unsqueeze(1) * pixels + torch.arange(pixels, device=patch.device)).flatten()
        return model.log_likelihood(reports, self.samples[index], self.power_dbm, map_error)


@dataclass(frozen=True, eq=False, repr=False)
class RefinementResult(ShortRepr):
    """Fixes of which some were refined; an `uel.estimation.estimates.Estimate`."""

    locator_fix: Fix
    """of all reports, before refinement"""
    is_refined: Bool[Tensor, " n"]
    refined_pixels: GridEstimate
    """posteriors of the refined fixes, in their order"""

    @property
    def patches(self) -> int:
        """Patches of the heatmap on a side."""
        return round(self.locator_fix.log_heatmap.shape[1] ** 0.5)

    @property
    def position(self) -> Float[Tensor, "n 2"]:
        """The geometric median, in metres."""
        return self._position

    @cached_property
    def _position(self) -> Float[Tensor, "n 2"]:
        if not bool(self.is_refined.any()):
            return self.locator_fix.position
        refined = _median(self.refined_pixels, self.patches)
        return refined if bool(self.is_refined.all()) else self._merge(self.locator_fix.position, refined)

    @cached_property
    def fix(self) -> Fix:
        """One Gaussian per patch, like a locator's fix; the locator's own where nothing was refined."""
        log_p = self.refined_pixels.probability.clamp(min=MIN_PIXEL_PROBABILITY).log()
        refined = pool_to_patches(log_p, self.refined_pixels.grid, self.patches)
        names = ("log_heatmap", "mean", "component_covariance")
        return Fix(**{name: self._merge(getattr(self.locator_fix, name), getattr(refined, name)) for name in names})

    def log_density(self, truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Log-density in 1/m² at positions."""
        refined = self.refined_pixels.log_density(truth[self.is_refined])
        return self._merge(self.locator_fix.log_density(truth), refined)

    def hpd_level(self, truth: Float[Tensor, "n 2"], generator: torch.Generator) -> Float[Tensor, " n"]:
        """See `uel.estimation.estimates.Estimate.hpd_level`."""
        locator_level = self.locator_fix.hpd_level(truth, generator)
        return self._merge(locator_level, self.refined_pixels.hpd_level(truth[self.is_refined], generator))

    def _merge(self, all_values: Tensor, refined_values: Tensor) -> Tensor:
        """Values of all fixes with those of the refined ones put in."""
        return all_values.index_put((self.is_refined.nonzero()[:, 0],), refined_values)


def refine_fix(
    fix: Fix, reports: Reports, patch_map: PatchSortedMap, model: ObservationModel, config: RefinementConfig
) -> RefinementResult:
    """Refine the fixes whose heatmap has an entropy of `config.entropy` or more.

    `model` is how the reports are assumed to be observed. A fix that is not refined stays the same to the bit.
    """
    is_refined = fix.entropy() >= config.entropy
    undecided = Fix(fix.log_heatmap[is_refined], fix.mean[is_refined], fix.component_covariance[is_refined])
    if not len(undecided.mean):
        empty = GridEstimate(patch_map.grid, torch.zeros(0, *patch_map.grid.shape, device="cpu"))
        return RefinementResult(fix, is_refined, empty)
    posterior = patch_posterior(undecided, reports[is_refined], patch_map, model, config)
    return RefinementResult(fix, is_refined, posterior.pixel_estimate(config.trust))


@dataclass(frozen=True, eq=False, repr=False)
class PatchPosterior(ShortRepr):
    """Posterior of the pixels of some fixes' likely patches, before the locator's heatmap is taken into account."""

    fix: Fix
    patch_map: PatchSortedMap
    is_selected: Bool[Tensor, "batch patch"]
    """patches that are refined for each fix"""
    patch: Int[Tensor, " k"]
    """those that are refined for any fix"""
    log_p: Float[Tensor, "batch k pixel"]
    """log-probability of their pixels"""

    def pixel_estimate(self, trust: float) -> GridEstimate:
        """Probability of every pixel, see `RefinementConfig.trust`."""
        is_selected, heat = self.is_selected, self.fix.log_heatmap.exp()
        patch_weight = trust * (self.fix.log_heatmap[:, self.patch] - self.log_p.logsumexp(-1))
        score = self.log_p + patch_weight.unsqueeze(-1)
        score = score.masked_fill(~is_selected[:, self.patch].unsqueeze(-1), -torch.inf)
        inside = score.flatten(1).softmax(-1).view_as(score)
        pixels = inside.shape[-1]
        probability = (heat * ~is_selected / pixels).unsqueeze(-1).repeat(1, 1, pixels)
        probability[:, self.patch] += (heat * is_selected).sum(1)[:, None, None] * inside
        return GridEstimate(self.patch_map.grid, join_patches(probability, self.patch_map.patches))


def patch_posterior(
    fix: Fix, reports: Reports, patch_map: PatchSortedMap, model: ObservationModel, config: RefinementConfig
) -> PatchPosterior:
    """Posterior of the pixels in the patches that together hold `config.mass` of each heatmap."""
    is_selected = likeliest_patches(fix, config.mass)
    patch = is_selected.any(0).nonzero()[:, 0]
    log_p = patch_map.log_posterior(reports, patch, model, config)
    return PatchPosterior(fix, patch_map, is_selected, patch, log_p)


def likeliest_patches(fix: Fix, mass: float) -> Bool[Tensor, "batch patch"]:
    """Whether a patch is among the likeliest that together hold a probability of `mass`, at least one patch."""
    falling, order = fix.log_heatmap.exp().sort(dim=-1, descending=True)
    before = falling.cumsum(-1) - falling
    return torch.zeros_like(before, dtype=torch.bool).scatter(1, order, before < mass)


def _median(estimate: GridEstimate, patches: int) -> Float[Tensor, "batch 2"]:
    """The geometric median; patches of no weight, most of them, are left out for speed."""
    probability = split_into_patches(estimate.probability.unsqueeze(-1), patches)[..., 0]
    possible = (probability.sum(-1) > 1e-6).any(0)
    points = split_into_patches(estimate.grid.centres(probability.device)[None], patches)[0, possible].flatten(0, 1)[
        None
    ]
    weight = probability[:, possible].flatten(1)
    return geometric_median(points, weight / weight.sum(1, keepdim=True), estimate.grid.pixel**2 / 6)
