"""Adaptation of a locator to one deployment by its labelled reports: azimuths, mast heights, map correction, trust.

adaptation = SiteAdaptation(LocalizationProblem(radio, prior, model, labelled_reports, their_positions), maps)
refined_locator = adaptation.refined_locator(locator, RefinementConfig())
position = refined_locator(adaptation.correct_angles(reports)).position
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.azimuth_offsets import azimuth_offset_deg
from uel.adaptation.kriging import ErrorCovariance
from uel.adaptation.map_correction import (
    GIVEN_MAP_ERRORS,
    MIN_LOG_ODDS,
    RESTORED_MAP_ERRORS,
    MapCorrection,
    correct_map,
)
from uel.adaptation.mast_heights import MapFactory, fit_mast_heights
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.fix import Fix
from uel.estimation.ray_rescoring import fit_ray_noise
from uel.estimation.refinement import PatchSortedMap, RefinementResult, patch_posterior, refine_fix
from uel.estimation.robust_bayes import RobustGridBayes
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import with_azimuth_offsets

TRUST_VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)  # in the locator's heatmap, when a fix is refined
REPORTS_PER_CHUNK = 16  # labelled reports located at once
MAX_TRACED_REPORTS = 96  # labelled reports that a simulator is compared with


@dataclass(frozen=True, eq=False)
class RefinedLocator:
    """A locator with refinement of its fixes, on a map that may be better than the one in the locator's input."""

    locator: Locator
    locator_maps: TileMaps
    """input of the locator"""
    locator_model: ObservationModel
    """observation model in the locator's input"""
    refinement_maps: TileMaps
    """maps on which fixes are refined"""
    patch_map: PatchSortedMap
    """`refinement_maps`, sorted by patches"""
    refinement_model: ObservationModel
    """how phones report, on `refinement_maps`"""
    config: RefinementConfig

    @staticmethod
    def of(locator: Locator, maps: TileMaps, config: RefinementConfig) -> "RefinedLocator":
        """Refinement on the locator's own map, with the observation model that it was trained with."""
        model = locator.measurement
        patch_map = PatchSortedMap.of(maps, locator.config.patches)
        return RefinedLocator(locator, maps, model, maps, patch_map, model, config)

    def locate(self, reports: Reports) -> Fix:
        """The locator's own fixes."""
        return self.locator(reports, self.locator_maps, self.locator_model)

    @property
    def without_entropy_gate(self) -> "RefinedLocator":
        """The same, but every fix is refined, whatever its heatmap's entropy."""
        return replace(self, config=replace(self.config, entropy=0.0))

    def refine(self, fix: Fix, reports: Reports) -> RefinementResult:
        """The locator's fixes of these reports, refined."""
        return refine_fix(fix, reports, self.patch_map, self.refinement_model, self.config)

    def __call__(self, reports: Reports) -> RefinementResult:
        """Locate reports, then refine their fixes."""
        return self.refine(self.locate(reports), reports)


@dataclass(frozen=True, eq=False)
class SiteAdaptation:
    """Everything that is estimated once from the labelled reports of a deployment.

    Locators must get reports through `correct_angles`.

    Example:
        >>> import torch, uel
        >>> from uel.estimation.baselines import LocalizationProblem
        >>> from uel.models.inputs import BUILDING_CHANNELS
        >>> sites = tuple(uel.Site(position=(x, y, 25.0)) for x, y in ((-50.0, -50.0), (50.0, -50.0), (0.0, 50.0)))
        >>> radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
        >>> maps = uel.TileMaps(radio, torch.zeros(BUILDING_CHANNELS, 16, 16), torch.full((16, 16), 1 / 256))
        >>> model, generator = uel.ObservationModel(), torch.Generator().manual_seed(0)
        >>> position = (torch.rand(64, 2, generator=generator) - 0.5) * 120
        >>> reports = model.observe(radio.pixel_truth(position), maps.power_dbm, generator)
        >>> adaptation = uel.SiteAdaptation(LocalizationProblem(radio, maps.prior, model, reports, position), maps)
        >>> adaptation.azimuth_offset_deg.shape  # degrees of each cell
        torch.Size([3])
    """

    problem: LocalizationProblem
    """the assumed map, and labelled reports with angles under the antennas' assumed azimuths"""
    maps: TileMaps
    """the same map, as input of locators"""
    map_factory: MapFactory | None = None
    """makes maps with other mast heights; with it mast heights are fitted, too (`uel.adaptation.mast_heights`)"""
    restorer: MapRestorer | None = None
    """network that has learned elsewhere how maps are wrong: its map is used where labelled reports are likelier"""

    def __str__(self) -> str:
        """The estimates in words."""
        count, correction = f"{len(self.problem.fingerprints)} labelled reports", self.correction
        offsets = [f"cell {cell} by {by:.0f}°" for cell, by in enumerate(self.azimuth_offset_deg.tolist()) if by]
        sites = f"azimuths corrected: {', '.join(offsets) or 'none'}"
        if self.map_factory:
            heights = [f"{number} by {by:+.1f} m" for number, by in enumerate(self.mast_height_offset) if by]
            sites += f"; masts raised: {', '.join(heights) or 'none'}"
        if self.uses_restored_map:
            sites += "; map restored"
        covariance = correction.covariance
        if covariance is None:
            return f"{count}: levels of the map not corrected; {sites}"
        bars = f" and {100 * covariance.bar_fraction:g} % of its error bars" if covariance.bar_fraction else ""
        errors = f"errors of {covariance.std_db:g} dB{bars}, correlated over {covariance.length:g} m"
        gain = f"reports {correction.log_likelihood_gain:.2f} nats likelier"
        return f"{count}: {errors}, corrected ({gain}); {sites}"

    def correct_angles(self, reports: Reports) -> Reports:
        """Reports with the angles that antennas with the corrected azimuths would have measured."""
        return reports.rotate_angles(-self.azimuth_offset_deg)

    @cached_property
    def azimuth_offset_deg(self) -> Float[Tensor, " cell"]:
        """Degrees clockwise by which angles of each cell are too large, see `uel.adaptation.azimuth_offsets`."""
        return azimuth_offset_deg(self.problem)

    @property
    def mast_height_offset(self) -> list[float]:
        """Metres by which each mast stands higher than assumed."""
        pairs = zip(self._radio_of_corrected_sites.sites, self.problem.radio.sites, strict=True)
        return [fitted.position[2] - assumed.position[2] for fitted, assumed in pairs]

    @cached_property
    def _radio_of_corrected_sites(self) -> RadioMap:
        """The map with corrected azimuths, and with fitted mast heights where there is a map factory."""
        radio = self.problem.radio
        sites = with_azimuth_offsets(radio.sites, (-self.azimuth_offset_deg).tolist())
        radio = replace(radio, sites=sites)
        if self.map_factory is None:
            return radio
        return fit_mast_heights(replace(self.problem, radio=radio), self.map_factory)

    def corrected_maps(self, bayes: RobustGridBayes) -> TileMaps:
        """The tile's maps with the corrected radio map of `bayes`."""
        return replace(self.maps, radio=bayes.radio)

    def locator_input(self, locator: Locator, bayes: RobustGridBayes) -> tuple[TileMaps, ObservationModel]:
        """Maps and observation model for a locator: the assumed ones, or corrected ones if it was trained on such."""
        if locator.config.corrected_maps:
            return self.corrected_maps(bayes), bayes.model
        return self.maps, self.problem.model

    def locate(self, locator: Locator, reports: Reports) -> Fix:
        """A locator's own fixes of reports with corrected angles."""
        return locator(reports, *self.locator_input(locator, self.correction.bayes))

    @cached_property
    def correction(self) -> MapCorrection:
        """The corrected map, see `uel.adaptation.map_correction`."""
        return self._best_correction[0]

    @property
    def uses_restored_map(self) -> bool:
        """Whether the restorer's map is corrected rather than the given one: labelled positions are surely likelier."""
        return self._best_correction[1]

    @cached_property
    def _best_correction(self) -> tuple[MapCorrection, bool]:
        """The better correction of the given and the restored map, and whether it is the restored one's."""
        given = self._correct(self._radio_of_corrected_sites)
        if self.restorer is None:
            return given, False
        restored_radio = self.restorer.restore(replace(self.maps, radio=self._radio_of_corrected_sites))
        restored = self._correct(restored_radio, RESTORED_MAP_ERRORS)
        gain = restored.held_out_log_probability - given.held_out_log_probability
        return (restored, True) if gain > MIN_LOG_ODDS else (given, False)

    def _correct(self, radio: RadioMap, errors: Sequence[ErrorCovariance] = GIVEN_MAP_ERRORS) -> MapCorrection:
        reports = self.correct_angles(self.problem.fingerprints)
        return correct_map(replace(self.problem, radio=radio, fingerprints=reports), errors)

    def refined_locator(self, locator: Locator, config: RefinementConfig) -> RefinedLocator:
        """Refinement on the corrected map, with the likeliest trust in the locator (`config.trust` or `TRUST_VALUES`).

        That is the trust under which the positions of held-out labelled reports are likeliest. Where they are likelier
        without refinement, nothing is refined (`RefinementConfig.entropy` is infinite).
        """
        config = replace(config, doubt=self.correction.bayes.doubt)
        half = self._refined_locator(locator, self.correction.half_bayes, config)
        held_out, chunks = self.correction.held_out, []
        for start in range(0, len(held_out.fingerprints), REPORTS_PER_CHUNK):
            chunk = held_out.labelled(slice(start, start + REPORTS_PER_CHUNK))
            fix = half.locate(chunk.fingerprints)
            posterior = patch_posterior(fix, chunk.fingerprints, half.patch_map, half.refinement_model, config)
            chunks.append((fix, posterior, chunk.fingerprint_position))

        def score(trust: float) -> float:
            return sum(
                float(posterior.pixel_estimate(trust).log_density(position).sum()) for _, posterior, position in chunks
            )

        trust = max(sorted({*TRUST_VALUES, config.trust}), key=score)
        unrefined_score = sum(float(fix.log_density(position).sum()) for fix, _, position in chunks)
        entropy = config.entropy if score(trust) > unrefined_score else math.inf
        return self._refined_locator(locator, self.correction.bayes, replace(config, trust=trust, entropy=entropy))

    @torch.no_grad()
    def fit_ray_rescoring(
        self, locator: Locator, config: RayRescoringConfig, simulator: Simulator
    ) -> RayRescoringConfig:
        """The config with a simulator's errors as held-out labelled reports show them."""
        held_out = self.correction.held_out.labelled(slice(MAX_TRACED_REPORTS))
        half = self._refined_locator(locator, self.correction.half_bayes, RefinementConfig())
        return fit_ray_noise(
            config,
            held_out.fingerprints,
            held_out.fingerprint_position,
            half.patch_map,
            half.refinement_maps,
            half.refinement_model,
            simulator,
        )

    def _refined_locator(self, locator: Locator, bayes: RobustGridBayes, config: RefinementConfig) -> RefinedLocator:
        maps = self.corrected_maps(bayes)
        patch_map = PatchSortedMap.of(maps, locator.config.patches)
        return RefinedLocator(locator, *self.locator_input(locator, bayes), maps, patch_map, bayes.model, config)
