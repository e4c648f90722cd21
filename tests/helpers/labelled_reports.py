"""Labelled reports on made-up radio maps, and localization problems with them."""

import torch
from torch import Tensor

from tests.helpers.free_space import draw_pixels
from uel.estimation.baselines import LocalizationProblem
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm

MODEL = ObservationModel()


def draw_reports(radio: RadioMap, count: int, model: ObservationModel, seed: int) -> tuple[Tensor, Reports]:
    """Positions at pixel centres and reports drawn there from a map."""
    prior = torch.ones(radio.grid.shape)
    position = radio.grid.centres().reshape(-1, 2)[draw_pixels(prior, count, seed)]
    power = reference_power_dbm(radio.sites)
    return position, model.observe(radio.pixel_truth(position), power, torch.Generator().manual_seed(seed))


def problem_on(true: RadioMap, given: RadioMap, model: ObservationModel = MODEL) -> LocalizationProblem:
    """A problem with a given map, and 256 labelled reports from the true one."""
    position, reports = draw_reports(true, 256, model, seed=5)
    prior = torch.ones(given.grid.shape) / given.grid.count**2
    return LocalizationProblem(given, prior, MODEL, reports, position)
