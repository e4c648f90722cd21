"""What a locator has to beat: from a guess without data to kNN on fingerprints. All answers in metres."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uel.measurement import MeasurementModel
from uel.posterior import geometric_median, grid_posterior
from uel.radiomap import RadioMap
from uel.reports import Reports
from uel.sites import reference_power_dbm
from uel.units import to_db

NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Place:
    """What every method may know of a tile: its radio map, where a phone can be, and fingerprints from it."""

    radio: RadioMap
    prior: Float[Tensor, "row column"]
    """probability of an outdoor phone per pixel"""
    model: MeasurementModel
    fingerprints: Reports
    """reports with known positions, one leading axis"""
    fingerprint_position: Float[Tensor, "fingerprint 2"]

    @property
    def power_dbm(self) -> Float[Tensor, " cell"]:
        return reference_power_dbm(self.radio.sites)

    @property
    def points(self) -> Float[Tensor, "pixel 2"]:
        return self.radio.grid.centres().reshape(-1, 2)


Method = Callable[[Reports, Place], Float[Tensor, "batch 2"]]


def tile_centre(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """The same guess for everybody: the geometric median of where phones can be."""
    weight = place.prior.reshape(1, -1)
    return geometric_median(place.points[None], weight / weight.sum()).expand(len(reports), 2)


def strongest_cell(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """Centroid of the pixels where the serving cell is the map's strongest."""
    weight = _serving_area(place) + 1e-12 * place.prior.flatten()
    centroid = weight @ place.points / weight.sum(1, keepdim=True)
    return centroid[reports.serving]


def cell_ta(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """Centroid of the serving cell's area cut with the timing-advance annulus (as without TA, where none is)."""
    area = _serving_area(place)[reports.serving]
    ring = torch.exp(place.model.log_likelihood(reports, place.radio, place.power_dbm)[:, 1]).flatten(1)
    weight = area * ring + 1e-9 * ring * place.prior.flatten() + 1e-30
    annulus = weight @ place.points / weight.sum(1, keepdim=True)
    return torch.where(reports.has_timing_advance.unsqueeze(-1), annulus, strongest_cell(reports, place))


def knn_map(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """Mean position of the outdoor pixels whose mapped features lie nearest."""
    radio = place.radio
    outdoors = (place.prior > 0).flatten()
    level = to_db(torch.where(radio.known, radio.gain, 1e-30)) + place.power_dbm[:, None, None]
    level = level.clamp(min=place.model.sensitivity_dbm).flatten(1).T[outdoors]
    distance = _level_distance(reports, level, place.model)
    extra = place.model.log_likelihood(reports, radio, place.power_dbm)[:, 1:].sum(1).flatten(1)[:, outdoors]
    return _neighbours(distance - 2 * extra, place.points[outdoors])


def knn_survey(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """Mean position of the surveyed reports whose features lie nearest."""
    known = place.fingerprints
    level = torch.where(known.heard, known.rsrp_dbm, place.model.sensitivity_dbm)
    return _neighbours(
        _level_distance(reports, level, place.model) + _feature_distance(reports, place), place.fingerprint_position
    )


def grid_bayes(reports: Reports, place: Place) -> Float[Tensor, "batch 2"]:
    """Geometric median of the exact grid posterior: the limit, when the reports obey this map and model."""
    posterior = grid_posterior(reports, place.radio, place.prior, place.model, place.power_dbm)
    return geometric_median(place.points[None], posterior.flatten(1))


METHODS: dict[str, Method] = {
    f.__name__: f for f in (tile_centre, strongest_cell, cell_ta, knn_map, knn_survey, grid_bayes)
}


def _serving_area(place: Place) -> Float[Tensor, "cell pixel"]:
    """Prior weight of the pixels that each cell serves, strongest first on the map."""
    level = to_db(torch.where(place.radio.known, place.radio.gain, 1e-30)) + place.power_dbm[:, None, None]
    best = level.argmax(0)
    covered = place.radio.known.any(0) * place.prior
    return torch.stack([(best == c) * covered for c in range(len(level))]).flatten(1)


def _level_distance(reports: Reports, level: Tensor, model: MeasurementModel) -> Float[Tensor, "batch candidate"]:
    """Squared level differences in units of the fading, silent cells at the sensitivity."""
    mine = torch.where(reports.heard, reports.rsrp_dbm, model.sensitivity_dbm)
    return (torch.cdist(mine, level) / (math.sqrt(2) * model.shadowing_db)).square()


def _feature_distance(reports: Reports, place: Place) -> Float[Tensor, "batch candidate"]:
    """Squared differences of timing advance and azimuth, where both sides have one from the same cell."""
    known, model = place.fingerprints, place.model
    same = reports.serving[:, None] == known.serving
    range_off = (reports.timing_advance[:, None] - known.timing_advance) * model.range_step / model.nlos_excess
    angle_off = (reports.azimuth_deg[:, None] - known.azimuth_deg + 180) % 360 - 180
    total = (reports.has_timing_advance[:, None] & known.has_timing_advance) * torch.where(same, range_off**2, 9.0)
    both = reports.has_azimuth[:, None] & known.has_azimuth
    return total + both * torch.where(same, (angle_off / model.azimuth_noise_nlos_deg) ** 2, 9.0)


def _neighbours(distance: Tensor, position: Tensor) -> Float[Tensor, "batch 2"]:
    nearest = distance.topk(min(NEIGHBOURS, distance.shape[1]), largest=False).indices
    return position[nearest].mean(1)
