"""The joint Gaussian process that `DistrictKriging` equals: all levels of all cells in one covariance matrix."""

import torch
from torch import Tensor

from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.config import PredictionParameters
from uel.prediction.link_trend import link_features


def joint_prior(
    labels: MeasuredNetwork, points: Tensor, parameters: PredictionParameters
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and covariance of reported levels (label by label, cell by cell) and then of all cells at `points`, and the
    reported levels."""
    trend, residual = parameters.trend, parameters.residual
    cells, devices = labels.cells, len(labels.devices)
    entries = [(cell, label) for label, cell in labels.is_reported.nonzero().tolist()]
    position = [labels.position[label] for _, label in entries]
    cell_of = [cell for cell, _ in entries]
    device = [int(labels.device[label]) for _, label in entries]
    for cell in range(len(cells)):
        position += list(points)
        cell_of += [cell] * len(points)
        device += [-1] * len(points)
    place, cell = torch.stack(position).double(), torch.tensor(cell_of)
    features = torch.stack([link_features(cells, p[None].float())[c, 0] for p, c in zip(place, cell_of, strict=True)])
    features = features.double()
    mean = features @ torch.tensor(trend.mean).double() + cells.power_dbm[cell].double()
    same = cell[:, None] == cell
    distance = (place[:, None] - place).norm(dim=-1)
    fields = residual.long_std_db**2 * (-distance / residual.long_length).exp()
    fields = fields + residual.short_std_db**2 * (-distance / residual.short_length).exp()
    own = features * torch.tensor(trend.cell_std).double() ** 2 @ features.T
    shared = features * torch.tensor(trend.district_std).double() ** 2 @ features.T
    mast = labels.cells.mast[cell]
    covariance = shared + (mast[:, None] == mast) * trend.mast_std**2 + same * (fields + own)
    if devices > 1:
        make = torch.tensor(device)
        covariance = covariance + ((make[:, None] == make) & (make >= 0)) * trend.device_std**2
    covariance = covariance + residual.noise_std_db**2 * torch.eye(len(place))
    level = torch.tensor([float(labels.level_dbm[label, c]) for c, label in entries], dtype=torch.float64)
    return mean, covariance, level
