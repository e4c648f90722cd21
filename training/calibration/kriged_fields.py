"""Levels of every cell at every pixel, kriged from the reports of a drive test around a trend."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.adaptation.kriging import KrigedLevels
from uel.core.units import bearing_deg, wrap_deg
from uel.measurement.drive_test import Drive
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cell_positions, cells_of

# Of a cell that a report does not contain: the end of the RSRP range (TS 38.133, clause 10.1.6).
SILENT_LEVEL_DBM = -140.0
MAX_KRIGED_REPORTS = 600  # reports of a cell that are kriged: the cost is cubic in them
SLOPE_SIGNS = (-1.0, 1.0, -1.0, 1.0, 1.0)
"""of a level's slopes by `trend_features`: it falls with distance and off the boresight, and rises with the map's
gain"""


Trend = Callable[[Tensor], Tensor]
"""From positions (n, 2) to the features of the trend of levels (cell, n, feature)."""


@dataclass(frozen=True, eq=False)
class KrigedFields:
    """Kriged levels of every cell at every pixel with their standard deviation, and the log-odds of being reported."""

    points: Float[Tensor, "pixel 2"]
    mean: Float[Tensor, "cell pixel"]
    deviation: Float[Tensor, "cell pixel"]
    heard: Float[Tensor, "cell pixel"]
    """log-odds that a report contains the cell"""

    def log_likelihood(self, drive: Drive) -> Float[Tensor, "phone pixel"]:
        """Log-likelihood of each report at each pixel; cells are independent."""
        total = torch.zeros(len(drive), self.points.shape[0], dtype=torch.float32, device="cpu")
        for cell in range(len(self.mean)):
            level, heard = drive.reports.rsrp_dbm[:, cell, None], drive.reports.heard[:, cell, None]
            z = (level - self.mean[cell]) / self.deviation[cell]
            # Student's t with 5 degrees of freedom: a wall missing in the map must not exclude a position.
            log_t = -3.0 * torch.log1p(z.square() / 5) - self.deviation[cell].log()
            odds = self.heard[cell]
            total += torch.where(
                heard, log_t - torch.nn.functional.softplus(-odds), -torch.nn.functional.softplus(odds)
            )
        return total


@dataclass(frozen=True, eq=False)
class HeldOutCalibration:
    """Calibration on held-out folds: factor of the kriged standard deviation, and odds of being reported by level."""

    inflation: Float[Tensor, " cell"]
    odds: Float[Tensor, "cell 2"]


def trend_features(
    position: Float[Tensor, "n 2"], sites: tuple[Site, ...], radio: RadioMap | None
) -> Float[Tensor, "cell n feature"]:
    """Features of the trend of each cell's level: distance, angle off the boresight, and the map's gain if there is a
    map.
    """
    features = []
    site_position, cells = cell_positions(sites), [cell for _, cell in cells_of(sites)]
    gain, known = radio.gain_db(position) if radio is not None else (None, None)
    for number, cell in enumerate(cells):
        log_distance = (position - site_position[number, :2]).norm(dim=-1).clamp(min=5.0).log10()
        angle_off = wrap_deg(bearing_deg(site_position[number, :2].expand_as(position), position) - cell.azimuth_deg)
        columns = [log_distance, torch.cos(torch.deg2rad(angle_off)), (angle_off / 65).square().clamp(max=2.5)]
        if gain is not None and known is not None:
            is_known = known[:, number]
            columns += [
                torch.where(is_known, gain[:, number], gain[is_known, number].mean() if is_known.any() else 0.0),
                is_known.float(),
            ]
        features.append(torch.stack(columns, -1))
    return torch.stack(features)


def krige_fields(known: Drive, points: Tensor, trend: Trend, held_out: HeldOutCalibration) -> KrigedFields:
    """Fields kriged from reports, with standard deviations and reporting odds calibrated on held-out folds."""
    features, mean, deviation = trend(points), [], []
    kriged = _krige_cells(known, trend)
    for cell, field in enumerate(kriged):
        m, s = field.predict(points, features[cell])
        mean.append(m)
        deviation.append(s * held_out.inflation[cell])
    level = torch.stack(mean)
    odds = held_out.odds[:, :1] + held_out.odds[:, 1:] * (level - SILENT_LEVEL_DBM) / 10
    return KrigedFields(points, level.float(), torch.stack(deviation).float(), odds.float())


def _krige_cells(known: Drive, trend: Trend) -> list[KrigedLevels]:
    table, fields = trend(known.position), []
    for cell in range(known.reports.heard.shape[1]):
        selected = thin(known.reports.heard[:, cell], MAX_KRIGED_REPORTS)
        features, level = table[cell][selected], known.reports.rsrp_dbm[selected, cell]
        fields.append(
            KrigedLevels.fit(
                known.position[selected], features, level, torch.tensor(SLOPE_SIGNS[: features.shape[1]], device="cpu")
            )
        )
    return fields


def thin(chosen: Bool[Tensor, " n"], max_count: int) -> Int[Tensor, " kept"]:
    """Indices of the chosen, at most `max_count`, evenly over their order."""
    index = chosen.nonzero()[:, 0]
    if len(index) <= max_count:
        return index
    return index[torch.linspace(0, len(index) - 1, max_count, device="cpu").long()]


def calibrate_held_out(pairs: list[tuple[Drive, Drive]], trend: Trend) -> HeldOutCalibration:
    predictions: list[list[tuple[Tensor, Tensor, Tensor, Tensor]]] = []
    for known, queries in pairs:
        table = trend(queries.position)
        fields = _krige_cells(known, trend)
        heard, level = queries.reports.heard, queries.reports.rsrp_dbm
        predictions.append(
            [(*f.predict(queries.position, table[c]), level[:, c], heard[:, c]) for c, f in enumerate(fields)]
        )
    inflation, odds = [], []
    for cell in range(len(predictions[0])):
        mean, deviation, level, heard = (torch.cat([part[cell][k] for part in predictions]) for k in range(4))
        z = ((level - mean) / deviation)[heard]
        inflation.append(max(1.4826 * float(z.abs().median()), 0.3))
        odds.append(_fit_logistic((mean - SILENT_LEVEL_DBM) / 10, heard))
    return HeldOutCalibration(torch.tensor(inflation, device="cpu"), torch.stack(odds))


def _fit_logistic(x: Tensor, heard: Tensor) -> Float[Tensor, "2"]:
    """Intercept and slope of the log-odds, lightly regularised."""
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True, device="cpu")
    optimizer = torch.optim.LBFGS([theta], max_iter=60, line_search_fn="strong_wolfe")
    target = heard.double()

    def cost() -> Tensor:
        optimizer.zero_grad()
        odds = theta[0] + theta[1] * x
        loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, target) + 1e-3 * theta.square().sum()
        loss.backward()
        return loss

    optimizer.step(cost)  # type: ignore[arg-type]
    return theta.detach()
