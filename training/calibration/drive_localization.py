"""Drive-test localisation: phones located on held-out blocks, by maps before and after calibration, and by kNN."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.calibration.kriged_fields import (
    SILENT_LEVEL_DBM,
    Trend,
    calibrate_held_out,
    krige_fields,
    thin,
    trend_features,
)
from uel.core.display.progress import with_progress
from uel.core.grid import Grid
from uel.estimation.baselines import cell_id_survey, mean_of_nearest
from uel.estimation.estimates import PointEstimate
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.scoring import EstimationMethod, Scores, error_summary, score
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, block_index
from uel.measurement.reports import Reports, reports_from_levels
from uel.radio.radio_map import RadioMap

NEIGHBOUR_COUNTS = (1, 2, 3, 5, 8, 16, 32, 64)
LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""exponents of the likelihood: cells of one site fade together, and count as fewer"""
DENSITY_WIDTHS = (30.0, 60.0, 120.0)  # m, kernel widths of the density of phones
FOLD_COUNT = 5
MIN_REPORTS_PER_CELL = 40  # reports of a cell, cells with fewer are left out
TARGET_PIXEL = 12.0  # m, about
TUNING_REPORTS_PER_FOLD = 160  # reports of a fold that tuning locates
PHONES_PER_CALL = 64
MIN_DENSITY = 1e-4  # of the densest pixel: phones may be where the fitted drive had none


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

    def strongest_cell(reports: Reports) -> PointEstimate:
        return PointEstimate(cell_id_survey(reports.serving, fit_drive.reports, fit_drive.position))

    scores = {
        "kNN-5": _score(knn_method(fit_drive, 5), test_drive),
        "kNN, tuned": _score(knn_method(fit_drive, _tune_neighbours(fit_drive, fold)), test_drive),
        "strongest cell's centroid": _score(strongest_cell, test_drive),
    }
    grid = Grid(size=tile.size, pixel=tile.size / round(tile.size / TARGET_PIXEL))
    for name, radio in {
        "kriged, no map": None,
        **{f"kriged, map {name}": radio for name, radio in maps.items()},
    }.items():

        def trend(position: Tensor, radio: RadioMap | None = radio) -> Tensor:
            return trend_features(position, tile.sites, radio)[cells]

        scores[name] = _kriged_scores(fit_drive, test_drive, tile, grid, trend, fold)
    statistics = {name: error_summary(own.error, lower_median=True) for name, own in scores.items()}
    reference = statistics["kNN-5"]["p50_m"]
    return {
        name: {"phones": own.pop("n"), **own, "better_than_knn5": 1 - own["p50_m"] / reference}
        for name, own in statistics.items()
    }


def _only_cells(drive: Drive, cells: Int[Tensor, " kept"]) -> Drive:
    """The drive with the levels of some cells alone; reports that contain none of them are left out."""
    level = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)[:, cells]
    selected = (~level.isnan()).any(1)
    return Drive(drive.position[selected], reports_from_levels(level[selected]))


def _folds(fit_drive: Drive, side: float) -> Int[Tensor, " n"]:
    """Number of the fold of each report; a block is in one fold."""
    block_ids, block_of_report = torch.unique(block_index(fit_drive.position, side), return_inverse=True)
    order = torch.randperm(len(block_ids), generator=torch.Generator().manual_seed(0), device="cpu")
    return (order % FOLD_COUNT)[block_of_report]


# ---- without a map -----------------------------------------------------------------------------------------


def _levels(reports: Reports) -> Float[Tensor, "n cell"]:
    return torch.where(reports.heard, reports.rsrp_dbm, SILENT_LEVEL_DBM)


def knn_method(fit_drive: Drive, neighbours: int) -> EstimationMethod:
    """Mean position of the reports with the nearest levels, silent cells at `SILENT_LEVEL_DBM`."""

    def locate(reports: Reports) -> PointEstimate:
        distance = torch.cdist(_levels(reports), _levels(fit_drive.reports))
        return PointEstimate(mean_of_nearest(distance, fit_drive.position, neighbours))

    return locate


def _tune_neighbours(fit_drive: Drive, fold: Tensor) -> int:
    """The number of neighbours of lowest median error, each fold located by the others."""
    return min(
        NEIGHBOUR_COUNTS,
        key=lambda k: _cross_validated_error(fit_drive, fold, lambda known: knn_method(known, k)),
    )


def _cross_validated_error(fit_drive: Drive, fold: Tensor, fit: Callable[[Drive], EstimationMethod]) -> float:
    scores = [_score(fit(known), queries) for known, queries in _fold_pairs(fit_drive, fold)]
    return _median_error(scores)


def _fold_pairs(fit_drive: Drive, fold: Tensor) -> list[tuple[Drive, Drive]]:
    """For each fold the other reports and its own, where there are both."""
    folds = [(fit_drive.select(fold != number), fit_drive.select(fold == number)) for number in range(FOLD_COUNT)]
    return [(known, queries) for known, queries in folds if len(known) and len(queries)]


def _score(method: EstimationMethod, drive: Drive) -> Scores:
    # All at once: PyTorch computes distances of few reports by another formula, with other last digits.
    return score(method, drive.reports, drive.position, reports_per_call=len(drive))


def _median_error(scores: Sequence[Scores]) -> float:
    return error_summary(Scores.cat(scores).error, lower_median=True)["p50_m"]


# ---- kriged ------------------------------------------------------------------------------------------------


def _kriged_scores(fit_drive: Drive, test_drive: Drive, tile: Tile, grid: Grid, trend: Trend, fold: Tensor) -> Scores:
    """Scores of levels kriged from `fit_drive`; kernel width and likelihood exponent are tuned on its folds."""
    points = grid.centres().reshape(-1, 2)
    points = points[tile.is_outdoor(points)]
    pairs = _fold_pairs(fit_drive, fold)
    held_out = calibrate_held_out(pairs, trend)
    pairs = [
        (known, queries.select(thin(torch.ones(len(queries), dtype=torch.bool, device="cpu"), TUNING_REPORTS_PER_FOLD)))
        for known, queries in pairs
    ]
    log_p = [
        krige_fields(known, points, trend, held_out).log_likelihood(queries)
        for known, queries in with_progress(pairs, "folds")
    ]
    density = {width: [_density(known, points, width) for known, _ in pairs] for width in DENSITY_WIDTHS}
    choices = [(width, exponent) for width in DENSITY_WIDTHS for exponent in LIKELIHOOD_EXPONENTS]

    def error_of(choice: tuple[float, float]) -> float:
        width, exponent = choice
        scores = [
            _score_posterior(p, points, prior, exponent, queries.position)
            for p, prior, (_, queries) in zip(log_p, density[width], pairs, strict=True)
        ]
        return _median_error(scores)

    width, exponent = min(choices, key=error_of)
    fields = krige_fields(fit_drive, points, trend, held_out)
    log_p_test = fields.log_likelihood(test_drive)
    return _score_posterior(log_p_test, points, _density(fit_drive, points, width), exponent, test_drive.position)


def _density(known: Drive, points: Tensor, width: float) -> Float[Tensor, " pixel"]:
    """Density of phones in each pixel, from their positions in a drive; positive everywhere."""
    density = torch.zeros(len(points), dtype=torch.float64, device="cpu")
    for part in known.position.split(1024):
        density += (-(torch.cdist(points, part) / width).square() / 2).exp().sum(1).double()
    return density / density.max() + MIN_DENSITY


def _score_posterior(
    log_p: Tensor, points: Tensor, density: Tensor, exponent: float, position: Float[Tensor, "phone 2"]
) -> Scores:
    """Scores of the geometric median of the posterior; `log_p` (phone, pixel) are the likelihoods of the reports."""

    def locate(part: Tensor) -> PointEstimate:
        weight = (exponent * part + density.log()).softmax(-1).float()
        # The median needs only the pixels that hold nearly all of the probability.
        top, index = weight.topk(min(1500, weight.shape[1]))
        return PointEstimate(geometric_median(points[index], top / top.sum(1, keepdim=True), iterations=25))

    return score(locate, log_p, position, reports_per_call=PHONES_PER_CALL)
