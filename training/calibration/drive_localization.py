"""Drive-test localisation: phones located on held-out blocks, by maps before and after calibration, and by kNN."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from rich.progress import track
from torch import Tensor

from uel.adaptation.kriging import KrigedLevels
from uel.core.grid import Grid
from uel.core.units import bearing_deg, wrap_deg
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.metrics import position_error
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, block_index, reports_from_levels
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cell_positions, cells_of

SILENT_LEVEL_DBM = (
    -140.0
)  # dBm, of a cell that a report does not contain: the end of the RSRP range (TS 38.133, clause 10.1.6)
NEIGHBOUR_COUNTS = (1, 2, 3, 5, 8, 16, 32, 64)
LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""exponents of the likelihood: cells of one site fade together, and count as fewer"""
DENSITY_WIDTHS = (30.0, 60.0, 120.0)  # m, kernel widths of the density of phones
FOLD_COUNT = 5
MIN_REPORTS_PER_CELL = 40  # reports of a cell, cells with fewer are left out
TARGET_PIXEL = 12.0  # m, about
TUNING_REPORTS_PER_FOLD = 160  # reports of a fold that tuning locates
PHONES_PER_CALL = 64
MAX_KRIGED_REPORTS = 600  # reports of a cell that are kriged: the cost is cubic in them
SLOPE_SIGNS = (-1.0, 1.0, -1.0, 1.0, 1.0)
"""of a level's slopes by `trend_features`: it falls with distance and off the boresight, and rises with the map's
gain"""
MIN_DENSITY = 1e-4  # of the densest pixel: phones may be where the fitted drive had none


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
        total = torch.zeros(len(drive), self.points.shape[0], dtype=torch.float32)
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


def score_phones(fit_drive: Drive, test_drive: Drive, tile: Tile, maps: Mapping[str, RadioMap], side: float) -> dict:
    """Error statistics on `test_drive` of all methods, each tuned on `fit_drive` alone by blocks of `side` metres.

    `kriged`: levels kriged from the reports of `fit_drive` around a trend, without a map (distance and the angle off
    the boresight) and with each of `maps`.
    """
    cells = (fit_drive.reports.heard.sum(0) >= MIN_REPORTS_PER_CELL).nonzero()[:, 0]
    if not len(cells) or not len(test_drive):
        return {}
    fit_drive, test_drive = _only_cells(fit_drive, cells), _only_cells(test_drive, cells)
    fold = _folds(fit_drive, side)
    positions: dict[str, Tensor] = {
        "kNN-5": knn_positions(fit_drive, test_drive, 5),
        "kNN, tuned": knn_positions(fit_drive, test_drive, _tune_neighbours(fit_drive, fold)),
        "strongest cell's centroid": strongest_cell_positions(fit_drive, test_drive),
    }
    grid = Grid(size=tile.size, pixel=tile.size / round(tile.size / TARGET_PIXEL))
    for name, radio in {
        "kriged, no map": None,
        **{f"kriged, map {name}": radio for name, radio in maps.items()},
    }.items():

        def trend(position: Tensor, radio: RadioMap | None = radio) -> Tensor:
            return trend_features(position, tile.sites, radio)[cells]

        positions[name] = _kriged_positions(fit_drive, test_drive, tile, grid, trend, fold)
    errors = {name: position_error(position, test_drive.position) for name, position in positions.items()}
    reference = float(errors["kNN-5"].median())
    return {name: _error_statistics(error, reference) for name, error in errors.items()}


def _only_cells(drive: Drive, cells: Int[Tensor, " kept"]) -> Drive:
    """The drive with the levels of some cells alone; reports that contain none of them are left out."""
    level = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)[:, cells]
    selected = (~level.isnan()).any(1)
    return Drive(drive.position[selected], reports_from_levels(level[selected]))


def _error_statistics(error: Tensor, reference: float) -> dict[str, Any]:
    p50 = float(error.median())
    statistics = {
        "phones": len(error),
        "p50_m": p50,
        "p67_m": float(error.quantile(0.67)),
        "p95_m": float(error.quantile(0.95)),
    }
    return {**statistics, "mean_m": float(error.mean()), "better_than_knn5": 1 - p50 / reference}


def _folds(fit_drive: Drive, side: float) -> Int[Tensor, " n"]:
    """Number of the fold of each report; a block is in one fold."""
    block_ids, block_of_report = torch.unique(block_index(fit_drive.position, side), return_inverse=True)
    order = torch.randperm(len(block_ids), generator=torch.Generator().manual_seed(0))
    return (order % FOLD_COUNT)[block_of_report]


# ---- without a map -----------------------------------------------------------------------------------------


def _levels(drive: Drive) -> Float[Tensor, "n cell"]:
    return torch.where(drive.reports.heard, drive.reports.rsrp_dbm, SILENT_LEVEL_DBM)


def knn_positions(fit_drive: Drive, queries: Drive, neighbours: int) -> Float[Tensor, "phone 2"]:
    """Mean position of the reports with the nearest levels, silent cells at `SILENT_LEVEL_DBM`."""
    nearest = (
        torch.cdist(_levels(queries), _levels(fit_drive)).topk(min(neighbours, len(fit_drive)), largest=False).indices
    )
    return fit_drive.position[nearest].mean(1)


def strongest_cell_positions(fit_drive: Drive, queries: Drive) -> Float[Tensor, "phone 2"]:
    """Mean position of the reports with the same strongest cell; of all reports if there is none."""
    serving, overall_mean = fit_drive.reports.serving, fit_drive.position.mean(0)
    cells = range(fit_drive.reports.heard.shape[1])
    centre = [fit_drive.position[serving == c].mean(0) if (serving == c).any() else overall_mean for c in cells]
    return torch.stack(centre)[queries.reports.serving]


def _tune_neighbours(fit_drive: Drive, fold: Tensor) -> int:
    """The number of neighbours of lowest median error, each fold located by the others."""
    return min(
        NEIGHBOUR_COUNTS,
        key=lambda k: _cross_validated_error(fit_drive, fold, lambda known, queries: knn_positions(known, queries, k)),
    )


def _cross_validated_error(fit_drive: Drive, fold: Tensor, locate: Callable[[Drive, Drive], Tensor]) -> float:
    errors = []
    for number in range(FOLD_COUNT):
        selected = fold == number
        if selected.any() and not selected.all():
            queries = fit_drive.select(selected)
            errors.append(position_error(locate(fit_drive.select(~selected), queries), queries.position))
    return float(torch.cat(errors).median())


# ---- kriged ------------------------------------------------------------------------------------------------


def _kriged_positions(
    fit_drive: Drive, test_drive: Drive, tile: Tile, grid: Grid, trend: Trend, fold: Tensor
) -> Tensor:
    """Fixes by levels kriged from `fit_drive`; kernel width and likelihood exponent are tuned on its folds."""
    points = grid.centres().reshape(-1, 2)
    points = points[tile.is_outdoor(points)]
    folds = [(fit_drive.select(fold != n), fit_drive.select(fold == n)) for n in range(FOLD_COUNT)]
    pairs = [(known, queries) for known, queries in folds if len(known) and len(queries)]
    held_out = _calibrate_held_out(pairs, trend)
    pairs = [
        (known, queries.select(_thin(torch.ones(len(queries), dtype=torch.bool), TUNING_REPORTS_PER_FOLD)))
        for known, queries in pairs
    ]
    log_p = [
        _krige_fields(known, points, trend, held_out).log_likelihood(queries)
        for known, queries in track(pairs, "folds", transient=True)
    ]
    density = {width: [_density(known, points, width) for known, _ in pairs] for width in DENSITY_WIDTHS}
    choices = [(width, exponent) for width in DENSITY_WIDTHS for exponent in LIKELIHOOD_EXPONENTS]

    def score(choice: tuple[float, float]) -> float:
        width, exponent = choice
        errors = [
            position_error(_fix(p, points, prior, exponent), queries.position)
            for p, prior, (_, queries) in zip(log_p, density[width], pairs, strict=True)
        ]
        return float(torch.cat(errors).median())

    width, exponent = min(choices, key=score)
    fields = _krige_fields(fit_drive, points, trend, held_out)
    return _fix(fields.log_likelihood(test_drive), points, _density(fit_drive, points, width), exponent)


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


def _krige_fields(known: Drive, points: Tensor, trend: Trend, held_out: "HeldOutCalibration") -> KrigedFields:
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
        selected = _thin(known.reports.heard[:, cell], MAX_KRIGED_REPORTS)
        features, level = table[cell][selected], known.reports.rsrp_dbm[selected, cell]
        fields.append(
            KrigedLevels.fit(known.position[selected], features, level, torch.tensor(SLOPE_SIGNS[: features.shape[1]]))
        )
    return fields


def _thin(chosen: Bool[Tensor, " n"], max_count: int) -> Int[Tensor, " kept"]:
    """Indices of the chosen, at most `max_count`, evenly over their order."""
    index = chosen.nonzero()[:, 0]
    if len(index) <= max_count:
        return index
    return index[torch.linspace(0, len(index) - 1, max_count).long()]


@dataclass(frozen=True, eq=False)
class HeldOutCalibration:
    """Calibration on held-out folds: factor of the kriged standard deviation, and odds of being reported by level."""

    inflation: Float[Tensor, " cell"]
    odds: Float[Tensor, "cell 2"]


def _calibrate_held_out(pairs: list[tuple[Drive, Drive]], trend: Trend) -> HeldOutCalibration:
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
    return HeldOutCalibration(torch.tensor(inflation), torch.stack(odds))


def _fit_logistic(x: Tensor, heard: Tensor) -> Float[Tensor, "2"]:
    """Intercept and slope of the log-odds, lightly regularised."""
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
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


def _density(known: Drive, points: Tensor, width: float) -> Float[Tensor, " pixel"]:
    """Density of phones in each pixel, from their positions in a drive; positive everywhere."""
    density = torch.zeros(len(points), dtype=torch.float64)
    for part in known.position.split(1024):
        density += (-(torch.cdist(points, part) / width).square() / 2).exp().sum(1).double()
    return density / density.max() + MIN_DENSITY


def _fix(log_p: Tensor, points: Tensor, density: Tensor, exponent: float) -> Float[Tensor, "phone 2"]:
    """Geometric median of the posterior."""
    fixes = []
    for part in log_p.split(PHONES_PER_CALL):
        weight = (exponent * part + density.log()).softmax(-1).float()
        # The median needs only the pixels that hold nearly all of the probability.
        top, index = weight.topk(min(1500, weight.shape[1]))
        fixes.append(geometric_median(points[index], top / top.sum(1, keepdim=True), iterations=25))
    return torch.cat(fixes)
