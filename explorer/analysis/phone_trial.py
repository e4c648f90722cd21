"""A trial of a locator on freshly drawn phones, with positions, conditions and uncertainties beside the errors.

Grid Bayes on the same map locates the same phones. On phones drawn from that map it is the limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.errors import UelError
from uel.estimation.estimates import FixEstimate, GridEstimate
from uel.estimation.grid_posterior import grid_posterior
from uel.estimation.scoring import EstimationMethod, Scores, score
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.mobility.trajectories import draw_positions
from uel.models.locator import Locator

PHONES_PER_TRIAL = 128  # a few seconds on two cores
REPORTS_PER_CHUNK = 32  # reports whose likelihood maps are in memory at once
SAMPLES_PER_FIX = 200  # drawn from each density: the rank of the truth is known to 1/√200 at worst
PERMUTED_FEATURES = {
    "levels": ("rsrp_dbm", "heard"),
    "timing advance": ("timing_advance", "has_timing_advance"),
    "azimuth": ("azimuth_deg", "has_azimuth"),
}


@dataclass(frozen=True, eq=False)
class DrawnPhones:
    """Reports of phones with their true positions."""

    reports: Reports
    position: Float[Tensor, "n 2"]
    los: Bool[Tensor, " n"]
    """the serving antenna is in sight"""

    def __len__(self) -> int:
        return len(self.position)


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
    tile, maps, survey = deployment.tile, deployment.maps, deployment.survey
    if survey is None:
        parts = _from_map(tile, maps, model, count, generator)
    else:
        truth = survey.truth[survey.valid]
        truth = truth[torch.randperm(len(truth), generator=generator)[: 2 * count]]
        parts = iter([(model.for_ray_tracing.observe(truth, maps.power_dbm, generator), truth.position, truth.los)])
    audible = [_phones_with_cells(*part) for part in parts]
    phones = DrawnPhones(
        Reports.cat([p.reports for p in audible]),
        *(torch.cat([getattr(p, n) for p in audible]) for n in ("position", "los")),
    )
    if not len(phones):
        raise UelError("no phone on this tile hears a cell", got=tile.name, do="choose another tile, or repeat uel map")
    return DrawnPhones(phones.reports[:count], phones.position[:count], phones.los[:count])


def _from_map(
    tile: Tile, maps: TileMaps, model: ObservationModel, count: int, generator: torch.Generator
) -> Iterator[tuple[Reports, Tensor, Tensor]]:
    for _ in range(4):
        position = draw_positions(tile, maps.radio.sites, count, generator)
        truth = maps.radio.pixel_truth(position)
        yield model.observe(truth, maps.power_dbm, generator), position, truth.los


def _phones_with_cells(reports: Reports, position: Tensor, los: Tensor) -> DrawnPhones:
    audible = reports.heard.any(-1)
    return DrawnPhones(reports[audible], position[audible], reports.at_serving(los)[audible])


def score_phones(locator: Locator, maps: TileMaps, phones: DrawnPhones, seed: int) -> PhoneTrial:
    """Locate phones by the locator and by grid Bayes."""

    def grid_bayes(reports: Reports) -> GridEstimate:
        posterior = grid_posterior(reports, maps.radio, maps.prior, locator.measurement, maps.power_dbm)
        return GridEstimate(maps.radio.grid, posterior)

    generator = torch.Generator().manual_seed(seed)
    own = _score(lambda reports: FixEstimate(locator(reports, maps), SAMPLES_PER_FIX), phones, generator)
    limit = _score(grid_bayes, phones, generator)
    assert own.hpd_level is not None
    assert own.entropy is not None
    assert limit.hpd_level is not None
    return PhoneTrial(phones, own.estimate, own.error, limit.error, own.hpd_level, limit.hpd_level, own.entropy)


def _score(method: EstimationMethod, phones: DrawnPhones, generator: torch.Generator | None = None) -> Scores:
    return score(method, phones.reports, phones.position, reports_per_call=REPORTS_PER_CHUNK, generator=generator)


def permutation_importance(
    locator: Locator, maps: TileMaps, phones: DrawnPhones, seed: int
) -> dict[str, Float[Tensor, " n"]]:
    """Errors in m after one feature is permuted among phones of the same serving cell, by feature and for "nothing".

    Permutation importance (Breiman 2001, section 10) measures the loss by a wrong feature, not by a missing one.
    """

    def locate(reports: Reports) -> FixEstimate:
        return FixEstimate(locator(reports, maps))

    generator = torch.Generator().manual_seed(seed)
    reports = {"nothing": phones.reports}
    for name, fields in PERMUTED_FEATURES.items():
        order = _permutation_within(phones.reports.serving, generator)
        swapped = {field: getattr(phones.reports, field)[order] for field in fields}
        reports[name] = replace(phones.reports, **swapped)
    return {name: _score(locate, replace(phones, reports=permuted)).error for name, permuted in reports.items()}


def _permutation_within(group: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
    """A random permutation within groups."""
    order = torch.arange(len(group))
    for value in group.unique().tolist():
        members = (group == value).nonzero()[:, 0]
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return order
