"""Offsets of antennas' azimuths from the assumed ones, estimated from labelled reports.

An antenna measures angles from its own boresight: with a wrong assumed azimuth every reported angle of that cell is
rotated by the same amount. A few labelled reports show it, and the radio map need not be right for that.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.baselines import LocalizationProblem
from uel.estimation.robust_bayes import MAX_LABELLED_REPORTS
from uel.measurement.reports import Reports

MAX_OFFSET_DEG = 60  # tried in both directions, degree by degree: the step in which angles are reported
PRIOR_STD_DEG = 20.0  # of the offset of an antenna that has one
PRIOR_PROBABILITY = 0.1  # that an antenna has an offset
MIN_PROBABILITY = 0.9  # from which on an offset is applied: a less certain one is noise, added to every angle


def azimuth_offset_deg(problem: LocalizationProblem) -> Float[Tensor, " cell"]:
    """Degrees clockwise by which each cell's reported angles are too large; 0 where that is not certain.

    The mean of the posterior over whole degrees, from the problem's labelled reports (the same that every method is
    tuned on), under the model's distribution of angles. Prior: an antenna has the assumed azimuth, or, one in ten, a
    normally distributed offset of 20° (a spike and a slab; Mitchell and Beauchamp, 1988).
    """
    offsets = torch.arange(-MAX_OFFSET_DEG, MAX_OFFSET_DEG + 1, device="cpu").float()
    reports, position = problem.fingerprints[:MAX_LABELLED_REPORTS], problem.fingerprint_position[:MAX_LABELLED_REPORTS]
    result = torch.zeros(len(problem.radio.gain), device="cpu")
    for cell in range(len(result)):
        cell_reports, cell_report_position = _reports_of_cell(reports, position, cell)
        if not len(cell_reports):
            continue
        samples = problem.radio.samples_at(cell_report_position)
        rotated = (cell_reports.rotate_angles(-offset.expand(len(result))) for offset in offsets)
        log_p = torch.stack(
            [problem.model.azimuth_log_likelihood(r, samples)[..., 0].diagonal().sum() for r in rotated]
        )
        log_joint = log_p + (-(offsets / PRIOR_STD_DEG).square() / 2).log_softmax(0)
        log_odds = log_joint.logsumexp(0) - log_p[MAX_OFFSET_DEG]
        probability = torch.sigmoid(log_odds + math.log(PRIOR_PROBABILITY / (1 - PRIOR_PROBABILITY)))
        result[cell] = (log_joint.softmax(0) * offsets).sum() if probability > MIN_PROBABILITY else 0.0
    return result


def _reports_of_cell(
    reports: Reports, position: Float[Tensor, "n 2"], cell: int
) -> tuple[Reports, Float[Tensor, "m 2"]]:
    """The reports with an angle of one cell, without the angles of others, and their positions."""
    has_azimuth = reports.has_azimuth & (reports.serving == cell)
    has_aoa = torch.zeros_like(reports.has_aoa)
    has_aoa[:, cell] = reports.has_aoa[:, cell]
    has_angle = has_azimuth | has_aoa.any(-1)
    return reports.with_masks(has_azimuth=has_azimuth, has_aoa=has_aoa)[has_angle], position[has_angle]
