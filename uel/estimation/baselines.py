"""Baselines that a locator has to beat, from a guess without data to kNN on fingerprints. Positions are in metres."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.display.short_repr import ShortRepr
from uel.core.units import to_db, wrap_deg
from uel.estimation.grid_posterior import geometric_median, grid_posterior
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

DEFAULT_NEIGHBOURS = 8
OTHER_SERVER_DISTANCE = 9.0  # squared distance of a feature that two reports have from different cells: 3 sigma


@dataclass(frozen=True, eq=False, repr=False)
class LocalizationProblem(ShortRepr):
    """One tile as every method knows it: a radio map, the prior of outdoor positions, and labelled reports."""

    radio: RadioMap
    prior: Float[Tensor, "row column"]
    """probability of an outdoor phone per pixel"""
    model: ObservationModel
    fingerprints: Reports
    """reports with known positions, one leading axis"""
    fingerprint_position: Float[Tensor, "fingerprint 2"]

    @property
    def power_dbm(self) -> Float[Tensor, " cell"]:
        """Reference-signal power of every cell."""
        return reference_power_dbm(self.radio.sites)

    def labelled(self, part: slice) -> "LocalizationProblem":
        """The same problem with some of its fingerprints."""
        return replace(self, fingerprints=self.fingerprints[part], fingerprint_position=self.fingerprint_position[part])

    @property
    def points(self) -> Float[Tensor, "pixel 2"]:
        """Centres of all pixels in metres, row by row."""
        return self.radio.grid.centres().reshape(-1, 2)


BaselineMethod = Callable[[Reports, LocalizationProblem], Float[Tensor, "batch 2"]]


def prior_median(reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Geometric median of the prior: the same guess for every report."""
    weight = problem.prior.reshape(1, -1)
    return geometric_median(problem.points[None], weight / weight.sum()).expand(len(reports), 2)


def cell_id(reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Centroid of the pixels where the serving cell is the map's strongest."""
    weight = _serving_area(problem) + 1e-12 * problem.prior.flatten()
    centroid = weight @ problem.points / weight.sum(1, keepdim=True)
    return centroid[reports.serving]


def cell_id_ta(reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Centroid of the serving cell's area within the timing-advance annulus; `cell_id` for a report without one."""
    area = _serving_area(problem)[reports.serving]
    ring = problem.model.range_log_likelihood(reports, problem.radio).exp().flatten(1)
    weight = area * ring + 1e-9 * ring * problem.prior.flatten() + 1e-30
    annulus = weight @ problem.points / weight.sum(1, keepdim=True)
    return torch.where(reports.has_timing_advance.unsqueeze(-1), annulus, cell_id(reports, problem))


def cell_id_survey(
    serving: Int[Tensor, " batch"], labelled: Reports, position: Float[Tensor, "n 2"]
) -> Float[Tensor, "batch 2"]:
    """Mean position of the labelled reports with the same serving cell; of all of them where none has it."""
    cells, overall_mean = range(labelled.heard.shape[1]), position.mean(0)
    by_cell = [labelled.serving == cell for cell in cells]
    centre = [position[same].mean(0) if same.any() else overall_mean for same in by_cell]
    return torch.stack(centre)[serving]


def knn_map(
    reports: Reports, problem: LocalizationProblem, neighbours: int = DEFAULT_NEIGHBOURS
) -> Float[Tensor, "batch 2"]:
    """Mean position of the outdoor pixels whose mapped features are nearest to the report's."""
    radio, model = problem.radio, problem.model
    outdoors = (problem.prior > 0).flatten()
    level = _mapped_level(problem).clamp(min=model.sensitivity_dbm).flatten(1).T[outdoors]
    steps = (radio.delay * SPEED_OF_LIGHT / model.range_step).flatten(1)[:, outdoors][reports.serving]
    range_offset = (reports.timing_advance[:, None] + 0.5 - steps) * reports.has_timing_advance[:, None]
    azimuth = radio.azimuth_deg.flatten(1)[:, outdoors][reports.serving]
    angle_offset = (reports.azimuth_deg[:, None] - azimuth) * reports.has_azimuth[:, None]
    distance = _level_distance(reports, level, model) + _offset_distance(range_offset, angle_offset, model)
    return mean_of_nearest(distance, problem.points[outdoors], neighbours)


def knn_survey(
    reports: Reports, problem: LocalizationProblem, neighbours: int = DEFAULT_NEIGHBOURS
) -> Float[Tensor, "batch 2"]:
    """Mean position of the labelled reports whose features are nearest to the report's."""
    fingerprints = problem.fingerprints
    level = torch.where(fingerprints.heard, fingerprints.rsrp_dbm, problem.model.sensitivity_dbm)
    distance = _level_distance(reports, level, problem.model) + _feature_distance(reports, problem)
    return mean_of_nearest(distance, problem.fingerprint_position, neighbours)


def grid_bayes(reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch 2"]:
    """Geometric median of the exact grid posterior: the limit, when the reports obey this map and model."""
    posterior = grid_posterior(reports, problem.radio, problem.prior, problem.model, problem.power_dbm)
    possible = (problem.prior > 0).flatten()  # indoor pixels have no weight: half of a dense city, left out for speed
    return geometric_median(problem.points[None, possible], posterior.flatten(1)[:, possible])


def _serving_area(problem: LocalizationProblem) -> Float[Tensor, "cell pixel"]:
    """Prior weight of the pixels where each cell is the map's strongest."""
    radio = problem.radio
    level = _mapped_level(problem)
    strongest = level.argmax(0)
    covered = radio.known.any(0) * problem.prior
    return torch.stack([(strongest == c) * covered for c in range(len(level))]).flatten(1)


def _mapped_level(problem: LocalizationProblem) -> Float[Tensor, "cell row column"]:
    """Level of every cell in dBm; far below all others where the map knows none."""
    radio = problem.radio
    return to_db(torch.where(radio.known, radio.gain, 1e-30)) + problem.power_dbm[:, None, None]


def _level_distance(reports: Reports, level: Tensor, model: ObservationModel) -> Float[Tensor, "batch candidate"]:
    """Squared level differences in units of the fading; silent cells count as the sensitivity."""
    reported = torch.where(reports.heard, reports.rsrp_dbm, model.sensitivity_dbm)
    return (torch.cdist(reported, level) / (math.sqrt(2) * model.shadowing_db)).square()


def _feature_distance(reports: Reports, problem: LocalizationProblem) -> Float[Tensor, "batch candidate"]:
    """Squared differences of timing advance and azimuth where both reports have one.

    `OTHER_SERVER_DISTANCE` for each of them when the serving cells differ.
    """
    fingerprints, model = problem.fingerprints, problem.model
    both_ta = reports.has_timing_advance[:, None] & fingerprints.has_timing_advance
    both_azimuth = reports.has_azimuth[:, None] & fingerprints.has_azimuth
    range_offset = (reports.timing_advance[:, None] - fingerprints.timing_advance) * both_ta
    angle_offset = (reports.azimuth_deg[:, None] - fingerprints.azimuth_deg) * both_azimuth
    other_server = OTHER_SERVER_DISTANCE * (both_ta.float() + both_azimuth.float())
    same_server = reports.serving[:, None] == fingerprints.serving
    return torch.where(same_server, _offset_distance(range_offset, angle_offset, model), other_server)


def _offset_distance(range_offset: Tensor, angle_offset: Tensor, model: ObservationModel) -> Tensor:
    """Squared offsets of timing advance (steps) and azimuth (degrees) in units of their deviation without sight."""
    radial = range_offset * model.range_step / model.nlos_excess
    tangential = wrap_deg(angle_offset) / model.azimuth_noise_nlos_deg
    return radial.square() + tangential.square()


def mean_of_nearest(
    distance: Float[Tensor, "batch candidate"], position: Float[Tensor, "candidate 2"], count: int
) -> Float[Tensor, "batch 2"]:
    """Mean position of the `count` candidates of least distance: k nearest neighbours, whatever the distance."""
    nearest = distance.topk(min(count, distance.shape[1]), largest=False).indices
    return position[nearest].mean(1)
