"""Antennas that look elsewhere than believed, found out from reports whose places are known.

An antenna measures angles from its own boresight: who believes a wrong azimuth reads every angle of that cell turned by
the same amount. A few labelled reports of a place tell it, and nothing about the map has to be right for that.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.baselines import LocalizationProblem
from uel.estimation.robust_bayes import MAX_LABELLED_REPORTS
from uel.measurement.reports import Reports

MAX_OFFSET_DEG = 60  # degrees either way that are tried, one by one: the step in which angles are reported
PRIOR_STD_DEG = 20.0  # degrees, standard deviation of azimuths' errors before anything is measured
PRIOR_PROBABILITY = 0.1  # share of antennas that are believed to look elsewhere, before anything is measured
MIN_PROBABILITY = 0.9  # probability from which on a turn is believed: less is noise, and would be added to every angle


def azimuth_offset_deg(place: LocalizationProblem) -> Float[Tensor, " cell"]:
    """By how many degrees clockwise each cell's angles read too far; 0 where that is not certain.

    The mean of the posterior over whole degrees, from the place's labelled reports (the same that every method is tuned
    on), under the model's law of angles: an antenna looks where it is believed to, or, one in ten, elsewhere by a
    normal belief of 20° (a spike and a slab; Mitchell and Beauchamp, 1988).
    """
    tried = torch.arange(-MAX_OFFSET_DEG, MAX_OFFSET_DEG + 1).float()
    reports, position = place.fingerprints[:MAX_LABELLED_REPORTS], place.fingerprint_position[:MAX_LABELLED_REPORTS]
    turns = torch.zeros(len(place.radio.gain))
    for cell in range(len(turns)):
        mine, at = _of_cell(reports, position, cell)
        if not len(mine):
            continue
        spots = place.radio.spots(at)
        read = (mine.turned(-by.expand(len(turns))) for by in tried)
        log_p = torch.stack([place.model.azimuth_log_likelihood(r, spots)[..., 0].diagonal().sum() for r in read])
        turned = log_p + (-(tried / PRIOR_STD_DEG).square() / 2).log_softmax(0)
        probability = torch.sigmoid(
            turned.logsumexp(0) - log_p[MAX_OFFSET_DEG] + math.log(PRIOR_PROBABILITY / (1 - PRIOR_PROBABILITY))
        )
        turns[cell] = (turned.softmax(0) * tried).sum() if probability > MIN_PROBABILITY else 0.0
    return turns


def _of_cell(reports: Reports, position: Float[Tensor, "n 2"], cell: int) -> tuple[Reports, Float[Tensor, "m 2"]]:
    """The reports that say an angle of one cell, and no other angle."""
    has_azimuth = reports.has_azimuth & (reports.serving == cell)
    has_aoa = torch.zeros_like(reports.has_aoa)
    has_aoa[:, cell] = reports.has_aoa[:, cell]
    said = has_azimuth | has_aoa.any(-1)
    return reports.saying(has_azimuth=has_azimuth, has_aoa=has_aoa)[said], position[said]
