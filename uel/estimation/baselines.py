"""What a locator has to beat: from a guess without data to kNN on fingerprints. All answers in metres."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db, wrap_deg
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

DEFAULT_NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class LocalizationProblem:
    """What every method may know of a tile: its radio map, where a phone can be, and fingerprints from it."""

    radio: RadioMap
    prior: Float[Tensor, "row column"]
    """probability of an outdoor phone per pixel"""
    model: ObservationModel
    fingerprints: Reports
    """reports with known positions, one leading axis"""
    fingerprint_position: Float[Tensor, "fingerprint 2"]

    @property
    def power_dbm(self) -> Float[Tensor, " cell"]:
        return reference_power_dbm(self.radio.sites)

    def labelled(self, part: slice) -> "LocalizationProblem":
        """The same place with some of its fingerprints."""
        return replace(self, fingerprints=self.fingerprints[part], fingerprint_position=self.fingerprint_position[part])

    @property
    def points(self) -> Float[Tensor, "pixel 2"]:
        return self.radio.grid.centres().reshape(-1, 2)


BaselineMethod = Callable[[Reports, LocalizationProblem], Float[Tensor, "batch 2"]]


def prior_median(reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """The same guess for everybody: the geometric median of where phones can be."""
    weight = place.prior.reshape(1, -1)
    return geometric_median(place.points[None], weight / weight.sum()).expand(len(reports), 2)


def cell_id(reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Centroid of the pixels where the serving cell is the map's strongest."""
    weight = _serving_area(place) + 1e-12 * place.prior.flatten()
    centroid = weight @ place.points / weight.sum(1, keepdim=True)
    return centroid[reports.serving]


def cell_id_ta(reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Centroid of the serving cell's area cut with the timing-advance annulus (as without TA, where none is)."""
    area = _serving_area(place)[reports.serving]
    ring = place.model.range_log_likelihood(reports, place.radio).exp().flatten(1)
    weight = area * ring + 1e-9 * ring * place.prior.flatten() + 1e-30
    annulus = weight @ place.points / weight.sum(1, keepdim=True)
    return torch.where(reports.has_timing_advance.unsqueeze(-1), annulus, cell_id(reports, place))


def knn_map(
    reports: Reports, place: LocalizationProblem, neighbours: int = DEFAULT_NEIGHBOURS
) -> Float[Tensor, "batch 2"]:
    """Mean position of the outdoor pixels whose mapped features lie nearest."""
    radio, model = place.radio, place.model
    outdoors = (place.prior > 0).flatten()
    level = to_db(torch.where(radio.known, radio.gain, 1e-30)) + place.power_dbm[:, None, None]
    level = level.clamp(min=model.sensitivity_dbm).flatten(1).T[outdoors]
    steps = (radio.delay * SPEED_OF_LIGHT / model.range_step).flatten(1)[:, outdoors][reports.serving]
    range_off = (reports.timing_advance[:, None] + 0.5 - steps) * reports.has_timing_advance[:, None]
    azimuth = radio.azimuth_deg.flatten(1)[:, outdoors][reports.serving]
    angle_off = (reports.azimuth_deg[:, None] - azimuth) * reports.has_azimuth[:, None]
    distance = _level_distance(reports, level, model) + _offset_distance(range_off, angle_off, model)
    return _neighbours(distance, place.points[outdoors], neighbours)


def knn_survey(
    reports: Reports, place: LocalizationProblem, neighbours: int = DEFAULT_NEIGHBOURS
) -> Float[Tensor, "batch 2"]:
    """Mean position of the surveyed reports whose features lie nearest."""
    known = place.fingerprints
    level = torch.where(known.heard, known.rsrp_dbm, place.model.sensitivity_dbm)
    distance = _level_distance(reports, level, place.model) + _feature_distance(reports, place)
    return _neighbours(distance, place.fingerprint_position, neighbours)


def grid_bayes(reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Geometric median of the exact grid posterior: the limit, when the reports obey this map and model."""
    posterior = grid_posterior(reports, place.radio, place.prior, place.model, place.power_dbm)
    possible = (place.prior > 0).flatten()  # indoor pixels have no weight: half of a dense city, left out for speed
    return geometric_median(place.points[None, possible], posterior.flatten(1)[:, possible])


BASELINE_METHODS: dict[str, BaselineMethod] = {
    f.__name__: f for f in (prior_median, cell_id, cell_id_ta, knn_map, knn_survey, grid_bayes)
}


def _serving_area(place: LocalizationProblem) -> Float[Tensor, "cell pixel"]:
    """Prior weight of the pixels that each cell serves, strongest first on the map."""
    level = to_db(torch.where(place.radio.known, place.radio.gain, 1e-30)) + place.power_dbm[:, None, None]
    best = level.argmax(0)
    covered = place.radio.known.any(0) * place.prior
    return torch.stack([(best == c) * covered for c in range(len(level))]).flatten(1)


def _level_distance(reports: Reports, level: Tensor, model: ObservationModel) -> Float[Tensor, "batch candidate"]:
    """Squared level differences in units of the fading, silent cells at the sensitivity."""
    mine = torch.where(reports.heard, reports.rsrp_dbm, model.sensitivity_dbm)
    return (torch.cdist(mine, level) / (math.sqrt(2) * model.shadowing_db)).square()


def _feature_distance(reports: Reports, place: LocalizationProblem) -> Float[Tensor, "batch candidate"]:
    """Squared differences of timing advance and azimuth, where both sides have one; 9 each for another server."""
    known, model = place.fingerprints, place.model
    both_ta = reports.has_timing_advance[:, None] & known.has_timing_advance
    both_azimuth = reports.has_azimuth[:, None] & known.has_azimuth
    range_off = (reports.timing_advance[:, None] - known.timing_advance) * both_ta
    angle_off = (reports.azimuth_deg[:, None] - known.azimuth_deg) * both_azimuth
    other = 9.0 * (both_ta.float() + both_azimuth.float())
    same = reports.serving[:, None] == known.serving
    return torch.where(same, _offset_distance(range_off, angle_off, model), other)


def _offset_distance(range_off: Tensor, angle_off: Tensor, model: ObservationModel) -> Tensor:
    """Squared offsets of timing advance (steps) and azimuth (degrees) in units of their spread without sight."""
    along = range_off * model.range_step / model.nlos_excess
    around = wrap_deg(angle_off) / model.azimuth_noise_nlos_deg
    return along.square() + around.square()


def _neighbours(distance: Tensor, position: Tensor, count: int) -> Float[Tensor, "batch 2"]:
    nearest = distance.topk(min(count, distance.shape[1]), largest=False).indices
    return position[nearest].mean(1)
