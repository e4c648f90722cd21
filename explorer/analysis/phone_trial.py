"""A trial of a locator on freshly drawn phones, with positions, conditions and uncertainties beside the errors.

Grid Bayes on the same map locates the same phones. On phones drawn from that map it is the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.estimation.estimates import Estimate, FixEstimate, GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.scoring import EstimationMethod, Scores, score
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.mobility.trajectories import draw_positions
from uel.models.locator import Locator
from uel.survey.dataset import TileSurvey

PHONES_PER_TRIAL = 128  # a few seconds on two cores
REPORTS_PER_CHUNK = 32  # reports whose likelihood maps are in memory at once
SAMPLES_PER_FIX = 200  # drawn from each density: the rank of the truth is known to 1/√200 at worst
PERMUTED_FEATURES = {
    "levels": ("rsrp_dbm", "heard"),
    "timing advance": ("timing_advance", "has_timing_advance"),
    "azimuth": ("azimuth_deg", "has_azimuth"),
}
PHONES_PER_SWAP = 8  # other phones whose feature one phone gets, one after the other
Count = Callable[[int], object]  # is told how many more phones have been located


def ignore_count(count: int) -> None:
    """What is told where nobody watches."""


@dataclass(frozen=True, eq=False)
class DrawnPhones:
    """Reports of phones with their true positions."""

    reports: Reports
    position: Float[Tensor, "n 2"]
    los: Bool[Tensor, " n"]
    """the serving antenna is in sight"""
    speed: Float[Tensor, " n"] | None = None
    """m/s; None for phones that are drawn from a map and do not move"""
    number: Int[Tensor, " n"] | None = None
    """of the report in its survey, over all its tracks; None for phones of no survey"""

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, chosen: slice | Tensor) -> "DrawnPhones":
        """Some of the phones."""
        speed, number = (None if values is None else values[chosen] for values in (self.speed, self.number))
        return DrawnPhones(self.reports[chosen], self.position[chosen], self.los[chosen], speed, number)

    @property
    def audible(self) -> "DrawnPhones":
        """The phones that hear a cell."""
        return self[self.reports.heard.any(-1)]


@dataclass(frozen=True, eq=False)
class PhoneTrial:
    """Errors and uncertainties of locator and grid Bayes for each phone."""

    phones: DrawnPhones
    estimate: Float[Tensor, "n 2"]
    error: Float[Tensor, " n"]
    """m, the locator's"""
    limit_error: Float[Tensor, " n"]
    """m, grid Bayes'"""
    rank: Float[Tensor, " n"]
    """probability of the smallest region that holds the true position: uniform for a calibrated density"""
    limit_rank: Float[Tensor, " n"]
    entropy: Float[Tensor, " n"]
    """nats, of the heatmap"""

    @property
    def heard(self) -> Int[Tensor, " n"]:
        """Cells in each report."""
        return self.phones.reports.heard.sum(-1)


def draw_phones(deployment: Deployment, model: ObservationModel, count: int, seed: int) -> DrawnPhones:
    """Phones that hear a cell, drawn from the deployment's ray-traced survey if it has one, otherwise from its map.

    A survey may have fewer than `count`. Raises `UelError` where no phone hears a cell.
    """
    generator = torch.Generator().manual_seed(seed)
    maps, survey = deployment.maps, deployment.survey
    if survey is None:
        phones = _from_map(deployment.tile, maps, model, count, generator)
    else:
        phones = _from_survey(survey, maps, model, count, generator)
    if not len(phones):
        do = "choose another tile, or repeat uel map"
        raise UelError("no phone on this tile hears a cell", got=deployment.tile.name, do=do)
    return phones[:count]


def _from_map(
    tile: Tile, maps: TileMaps, model: ObservationModel, count: int, generator: torch.Generator
) -> DrawnPhones:
    parts = []
    for _ in range(4):
        position = draw_positions(tile, maps.radio.sites, count, generator)
        truth = maps.radio.pixel_truth(position)
        reports = model.observe(truth, maps.power_dbm, generator)
        parts.append(DrawnPhones(reports, position, reports.at_serving(truth.los)).audible)
    reports = Reports.cat([part.reports for part in parts])
    return DrawnPhones(reports, *(torch.cat([getattr(part, name) for part in parts]) for name in ("position", "los")))


def _from_survey(
    survey: TileSurvey, maps: TileMaps, model: ObservationModel, count: int, generator: torch.Generator
) -> DrawnPhones:
    truth, speed = survey.truth[survey.valid], survey.velocity[survey.valid].norm(dim=-1)
    number = torch.randperm(len(truth), generator=generator)[: 2 * count]
    truth = truth[number]
    reports = model.for_ray_tracing.observe(truth, maps.power_dbm, generator)
    return DrawnPhones(reports, truth.position, reports.at_serving(truth.los), speed[number], number).audible


def score_phones(
    locator: Locator, maps: TileMaps, phones: DrawnPhones, seed: int, count: Count = ignore_count
) -> PhoneTrial:
    """Locate phones by the locator and by grid Bayes, each phone twice; `count` is told as they are located."""

    def grid_bayes(reports: Reports) -> GridEstimate:
        posterior = grid_posterior(reports, maps.radio, maps.prior, locator.measurement, maps.power_dbm)
        return GridEstimate(maps.radio.grid, posterior)

    generator = torch.Generator().manual_seed(seed)
    own = _score(_fixes_of(locator, maps), phones, count, generator)
    limit = _score(grid_bayes, phones, count, generator)
    assert own.hpd_level is not None
    assert own.entropy is not None
    assert limit.hpd_level is not None
    return PhoneTrial(phones, own.estimate, own.error, limit.error, own.hpd_level, limit.hpd_level, own.entropy)


def _fixes_of(locator: Locator, maps: TileMaps) -> EstimationMethod:
    return lambda reports: FixEstimate(locator(reports, maps), SAMPLES_PER_FIX)


def _score(
    method: EstimationMethod, phones: DrawnPhones, count: Count, generator: torch.Generator | None = None
) -> Scores:
    def counted(reports: Reports) -> Estimate:
        estimate = method(reports)
        count(len(reports))
        return estimate

    return score(counted, phones.reports, phones.position, reports_per_call=REPORTS_PER_CHUNK, generator=generator)


def permutation_importance(
    locator: Locator, maps: TileMaps, phones: DrawnPhones, seed: int, count: Count = ignore_count
) -> dict[str, Float[Tensor, " n"]]:
    """Errors in m after one feature is permuted among phones of the same serving cell, by feature and for "nothing".

    Permutation importance (Breiman 2001, section 10) measures the loss by a wrong feature, not by a missing one.
    """
    generator = torch.Generator().manual_seed(seed)
    reports = {"nothing": phones.reports}
    for name in PERMUTED_FEATURES:
        order = _permutation_within(phones.reports.serving, generator)
        reports[name] = _with_feature_of(phones.reports, name, phones.reports[order])
    fixes = _fixes_of(locator, maps)
    return {name: _score(fixes, replace(phones, reports=swapped), count).error for name, swapped in reports.items()}


def phone_importance(
    locator: Locator, maps: TileMaps, phones: DrawnPhones, number: int, seed: int, count: Count = ignore_count
) -> dict[str, Float[Tensor, " other"]]:
    """Errors in m of one phone that gets a feature of other phones of its serving cell, by feature; one error for each
    of at most `PHONES_PER_SWAP` others, none where it is alone on its cell.
    """
    same = phones.reports.serving == phones.reports.serving[number]
    same[number] = False
    others = same.nonzero()[:, 0]
    others = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))][:PHONES_PER_SWAP]
    if not len(others):
        return {name: torch.zeros(0) for name in PERMUTED_FEATURES}
    repeated, fixes = phones[torch.full_like(others, number)], _fixes_of(locator, maps)
    swapped = {n: _with_feature_of(repeated.reports, n, phones.reports[others]) for n in PERMUTED_FEATURES}
    return {name: _score(fixes, replace(repeated, reports=part), count).error for name, part in swapped.items()}


def _with_feature_of(reports: Reports, name: str, others: Reports) -> Reports:
    """Reports with one feature of other reports."""
    return replace(reports, **{field: getattr(others, field) for field in PERMUTED_FEATURES[name]})


def _permutation_within(group: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
    """A random permutation within groups."""
    order = torch.arange(len(group))
    for value in group.unique().tolist():
        members = (group == value).nonzero()[:, 0]
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return order
