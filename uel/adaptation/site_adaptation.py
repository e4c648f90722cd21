"""What a place's labelled reports teach: which way its antennas look, what is wrong with its map, whom to trust.

learned = Learned(Place(radio, prior, model, labelled_reports, their_positions), maps)
ask = learned.refiner(locator, Refinement())
where = ask(learned.read(reports)).position
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
    """A locator with second thoughts: its fixes, looked at again on a map that may be better than the one it saw."""

    locator: Locator
    maps: TileMaps
    """what the locator is shown"""
    known: ObservationModel
    """the rules of reporting that the locator is told"""
    right: TileMaps
    """what its fixes are looked at again on"""
    fine: PatchSortedMap
    """the same, sorted by patches"""
    model: ObservationModel
    """how phones report, on these maps"""
    plan: RefinementConfig

    @staticmethod
    def of(locator: Locator, maps: TileMaps, plan: RefinementConfig) -> "RefinedLocator":
        """On the locator's own map, with no more known than when it was trained."""
        model = locator.measurement
        return RefinedLocator(locator, maps, model, maps, PatchSortedMap.of(maps, locator.config.patches), model, plan)

    def locate(self, reports: Reports) -> Fix:
        """The locator's own fixes."""
        return self.locator(reports, self.maps, self.known)

    @property
    def always(self) -> "RefinedLocator":
        """The same, whatever the heatmap's entropy."""
        return replace(self, plan=replace(self.plan, entropy=0.0))

    def again(self, fix: Fix, reports: Reports) -> RefinementResult:
        """Its fixes of these reports, looked at again."""
        return refine_fix(fix, reports, self.fine, self.model, self.plan)

    def __call__(self, reports: Reports) -> RefinementResult:
        """Located, then looked at again."""
        return self.again(self.locate(reports), reports)


@dataclass(frozen=True, eq=False)
class SiteAdaptation:
    """A place whose labelled reports are asked once for all that they tell; locators read reports through `read`."""

    place: LocalizationProblem
    """the map as believed, labelled reports as they read under the antennas' believed azimuths"""
    maps: TileMaps
    """the same map, for locators"""
    tracer: MapFactory | None = None
    """how maps of other masts are made here; with it masts' heights are found, too (`uel.adaptation.mast_heights`)"""
    restorer: MapRestorer | None = None
    """what has learned elsewhere how maps are wrong: believed where labelled reports bear it out"""

    def __str__(self) -> str:
        """What was learned, in words."""
        told, corrected = f"{len(self.place.fingerprints)} labelled reports", self.corrected
        turned = [f"cell {cell} by {by:.0f}°" for cell, by in enumerate(self.turns_deg.tolist()) if by]
        said = f"antennas turned: {', '.join(turned) or 'none'}"
        if self.tracer:
            up = [f"{number} by {by:+.1f} m" for number, by in enumerate(self.raised_by) if by]
            said += f"; masts raised: {', '.join(up) or 'none'}"
        if self.restored:
            said += "; map restored"
        if corrected.alike is None:
            return f"{told}: levels of the map left alone; {said}"
        bars = f" and {100 * corrected.alike.share:g} % of its error bars" if corrected.alike.share else ""
        field = f"errors of {corrected.alike.spread:g} dB{bars}, alike over {corrected.alike.length:g} m"
        return f"{told}: {field}, put right (reports {corrected.gain:.2f} nats likelier); {said}"

    def read(self, reports: Reports) -> Reports:
        """Reports with their angles as they read once the antennas' azimuths are put right."""
        return reports.rotate_angles(-self.turns_deg)

    @cached_property
    def turns_deg(self) -> Float[Tensor, " cell"]:
        """By how many degrees angles of each cell read too far clockwise, see `uel.adaptation.azimuth_offsets`."""
        return azimuth_offset_deg(self.place)

    @property
    def raised_by(self) -> list[float]:
        """By how many metres each mast stands higher than believed."""
        pairs = zip(self._posed.sites, self.place.radio.sites, strict=True)
        return [found.position[2] - believed.position[2] for found, believed in pairs]

    @cached_property
    def _posed(self) -> RadioMap:
        """The map with the antennas' azimuths, and where there is a tracer their heights, put right."""
        radio = self.place.radio
        posed = replace(radio, sites=with_azimuth_offsets(radio.sites, (-self.turns_deg).tolist()))
        return fit_mast_heights(replace(self.place, radio=posed), self.tracer) if self.tracer else posed

    def right(self, bayes: RobustGridBayes) -> TileMaps:
        """The maps with all that labelled reports tell."""
        return replace(self.maps, radio=bayes.radio)

    def shown(self, locator: Locator, bayes: RobustGridBayes) -> tuple[TileMaps, ObservationModel]:
        """What a locator is shown and told: the maps as believed, or put right if it learned from such maps."""
        return (self.right(bayes), bayes.model) if locator.config.corrected_maps else (self.maps, self.place.model)

    def locate(self, locator: Locator, reports: Reports) -> Fix:
        """A locator's own fixes of reports as they are read."""
        return locator(reports, *self.shown(locator, self.corrected.bayes))

    @cached_property
    def corrected(self) -> MapCorrection:
        """The map put right, see `uel.adaptation.map_correction`."""
        return self._either[0]

    @property
    def restored(self) -> bool:
        """Whether that is the map which the restorer made of the given one: labelled places are surely likelier."""
        return self._either[1]

    @cached_property
    def _either(self) -> tuple[MapCorrection, bool]:
        given = self._correct(self._posed)
        if self.restorer is None:
            return given, False
        restored = self._correct(self.restorer.restored(replace(self.maps, radio=self._posed)), RESTORED_MAP_ERRORS)
        return (restored, True) if restored.likely - given.likely > MIN_LOG_ODDS else (given, False)

    def _correct(self, radio: RadioMap, errors: Sequence[ErrorCovariance] = GIVEN_MAP_ERRORS) -> MapCorrection:
        return correct_map(replace(self.place, radio=radio, fingerprints=self.read(self.place.fingerprints)), errors)

    def refiner(self, locator: Locator, plan: RefinementConfig) -> RefinedLocator:
        """On the map put right, with the trust in the locator (the plan's or one of `TRUST_VALUES`) that is borne out.

        That is the one under which the places of labelled reports are likeliest, of those that were not kriged. Where
        they are likelier without any second thoughts, there are none (`RefinementConfig.entropy` is infinite).
        """
        plan = replace(plan, doubt=self.corrected.bayes.doubt)
        judging = self._with(locator, self.corrected.half, plan)
        judge, parts = self.corrected.judge, []
        for start in range(0, len(judge.fingerprints), REPORTS_PER_CHUNK):
            some = judge.labelled(slice(start, start + REPORTS_PER_CHUNK))
            fix = judging.locate(some.fingerprints)
            seen = patch_posterior(fix, some.fingerprints, judging.fine, judging.model, plan)
            parts.append((fix, seen, some.fingerprint_position))

        def score(trust: float) -> float:
            return sum(float(seen.pixels(trust).log_density(at).sum()) for _, seen, at in parts)

        trust = max(sorted({*TRUST_VALUES, plan.trust}), key=score)
        plain = sum(float(fix.log_density(at).sum()) for fix, _, at in parts)
        entropy = plan.entropy if score(trust) > plain else math.inf
        return self._with(locator, self.corrected.bayes, replace(plan, trust=trust, entropy=entropy))

    @torch.no_grad()
    def rescoring(self, locator: Locator, plan: RayRescoringConfig, simulator: Simulator) -> RayRescoringConfig:
        """The plan with what is borne out of a simulator's levels at labelled reports that were not kriged."""
        some, half = (
            self.corrected.judge.labelled(slice(MAX_TRACED_REPORTS)),
            self._with(locator, self.corrected.half, RefinementConfig()),
        )
        return fit_ray_noise(
            plan, some.fingerprints, some.fingerprint_position, half.fine, half.right, half.model, simulator
        )

    def _with(self, locator: Locator, bayes: RobustGridBayes, plan: RefinementConfig) -> RefinedLocator:
        right = self.right(bayes)
        fine = PatchSortedMap.of(right, locator.config.patches)
        return RefinedLocator(locator, *self.shown(locator, bayes), right, fine, bayes.model, plan)
