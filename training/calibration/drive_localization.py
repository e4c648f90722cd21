"""Phones of a drive located on blocks that nothing was learned from: by maps before and after, beside kNN."""

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

SILENT_LEVEL_DBM = -140.0  # dBm, of a cell that a report does not hold: what RSRP ends at (TS 38.133, clause 10.1.6)
NEIGHBOUR_COUNTS = (1, 2, 3, 5, 8, 16, 32, 64)
LIKELIHOOD_EXPONENTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""powers of the likelihood: cells of one mast fade together, and count as less than so many"""
DENSITY_WIDTHS = (30.0, 60.0, 120.0)  # m, of the density of phones that places learned from tell of
FOLD_COUNT = 5
MIN_REPORTS_PER_CELL = 40  # reports of a cell that is to tell anything
TARGET_PIXEL = 12.0  # m, or so
TUNING_REPORTS_PER_FOLD = 160  # reports of a fold that are located to choose by
PHONES_PER_CALL = 64
MAX_KRIGED_REPORTS = 600  # reports of a cell that are kriged: the cost is their number cubed
SLOPE_SIGNS = (-1.0, 1.0, -1.0, 1.0, 1.0)
"""of a level's slopes by `trend_features`: it falls with distance and off the boresight, and rises with the map's
gain"""
MIN_DENSITY = 1e-4  # of the densest pixel: phones may be where none was


Trend = Callable[[Tensor], Tensor]
"""From places (n, 2) to what levels go by (cell, n, feature)."""


@dataclass(frozen=True, eq=False)
class KrigedFields:
    """Levels of every cell at every pixel with their deviation, and how likely each is reported at all."""

    points: Float[Tensor, "pixel 2"]
    mean: Float[Tensor, "cell pixel"]
    deviation: Float[Tensor, "cell pixel"]
    heard: Float[Tensor, "cell pixel"]
    """log-odds that a report holds the cell"""

    def log_likelihood(self, drive: Drive) -> Float[Tensor, "phone pixel"]:
        """Of each report at each pixel, cells being independent."""
        total = torch.zeros(len(drive), self.points.shape[0], dtype=torch.float32)
        for cell in range(len(self.mean)):
            level, heard = drive.reports.rsrp_dbm[:, cell, None], drive.reports.heard[:, cell, None]
            z = (level - self.mean[cell]) / self.deviation[cell]
            # Student's t with 5 degrees of freedom: a wall that the map does not have must not exclude a place.
            said = -3.0 * torch.log1p(z.square() / 5) - self.deviation[cell].log()
            odds = self.heard[cell]
            total += torch.where(heard, said - torch.nn.functional.softplus(-odds), -torch.nn.functional.softplus(odds))
        return total


def score_phones(learn: Drive, judged: Drive, tile: Tile, maps: Mapping[str, RadioMap], side: float) -> dict:
    """Errors in m on `judged` of all methods, each tuned on `learn` alone by blocks of `side` metres.

    `kriged`: levels learned between the places of `learn` around a trend, without a map (distance and the angle off the
    boresight) and with each of `maps`.
    """
    kept = (learn.reports.heard.sum(0) >= MIN_REPORTS_PER_CELL).nonzero()[:, 0]
    if not len(kept) or not len(judged):
        return {}
    learn, judged = _only_cells(learn, kept), _only_cells(judged, kept)
    fold = _folds(learn, side)
    told: dict[str, Tensor] = {
        "kNN-5": knn_positions(learn, judged, 5),
        "kNN, tuned": knn_positions(learn, judged, _tune_neighbours(learn, fold)),
        "strongest cell's centroid": strongest_cell_positions(learn, judged),
    }
    grid = Grid(size=tile.size, pixel=tile.size / round(tile.size / TARGET_PIXEL))
    for name, radio in {
        "kriged, no map": None,
        **{f"kriged, map {name}": radio for name, radio in maps.items()},
    }.items():
        trend = lambda where, radio=radio: trend_features(where, tile.sites, radio)[kept]  # noqa: E731
        told[name] = _kriged_positions(learn, judged, tile, grid, trend, fold)
    errors = {name: position_error(where, judged.position) for name, where in told.items()}
    base = float(errors["kNN-5"].median())
    return {name: _error_statistics(error, base) for name, error in errors.items()}


def _only_cells(drive: Drive, kept: Int[Tensor, " kept"]) -> Drive:
    """With the levels of some cells alone; reports that hold none of them are left out."""
    level = torch.where(drive.reports.heard, drive.reports.rsrp_dbm, torch.nan)[:, kept]
    mine = (~level.isnan()).any(1)
    return Drive(drive.position[mine], reports_from_levels(level[mine]))


def _error_statistics(error: Tensor, base: float) -> dict[str, Any]:
    p50 = float(error.median())
    told = {
        "phones": len(error),
        "p50_m": p50,
        "p67_m": float(error.quantile(0.67)),
        "p95_m": float(error.quantile(0.95)),
    }
    return {**told, "mean_m": float(error.mean()), "better_than_knn5": 1 - p50 / base}


def _folds(learn: Drive, side: float) -> Int[Tensor, " n"]:
    """Number of the fold of each report; a block is in one fold."""
    own, where = torch.unique(block_index(learn.position, side), return_inverse=True)
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(0))
    return (order % FOLD_COUNT)[where]


# ---- without a map -----------------------------------------------------------------------------------------


def _levels(drive: Drive) -> Float[Tensor, "n cell"]:
    return torch.where(drive.reports.heard, drive.reports.rsrp_dbm, SILENT_LEVEL_DBM)


def knn_positions(learn: Drive, asked: Drive, neighbours: int) -> Float[Tensor, "phone 2"]:
    """Mean place of the reports whose levels are nearest, silent cells at `SILENT_LEVEL_DBM`."""
    nearest = torch.cdist(_levels(asked), _levels(learn)).topk(min(neighbours, len(learn)), largest=False).indices
    return learn.position[nearest].mean(1)


def strongest_cell_positions(learn: Drive, asked: Drive) -> Float[Tensor, "phone 2"]:
    """Mean place of the reports with the same strongest cell; of all where there is none."""
    serving, everywhere = learn.reports.serving, learn.position.mean(0)
    cells = range(learn.reports.heard.shape[1])
    centre = [learn.position[serving == c].mean(0) if (serving == c).any() else everywhere for c in cells]
    return torch.stack(centre)[asked.reports.serving]


def _tune_neighbours(learn: Drive, fold: Tensor) -> int:
    """Neighbours of least median error, each fold located by the others."""
    return min(
        NEIGHBOUR_COUNTS,
        key=lambda k: _cross_validated_error(learn, fold, lambda known, asked: knn_positions(known, asked, k)),
    )


def _cross_validated_error(learn: Drive, fold: Tensor, locate: Callable[[Drive, Drive], Tensor]) -> float:
    errors = []
    for number in range(FOLD_COUNT):
        mine = fold == number
        if mine.any() and not mine.all():
            asked = learn.select(mine)
            errors.append(position_error(locate(learn.select(~mine), asked), asked.position))
    return float(torch.cat(errors).median())


# ---- kriged ------------------------------------------------------------------------------------------------


def _kriged_positions(learn: Drive, judged: Drive, tile: Tile, grid: Grid, trend: Trend, fold: Tensor) -> Tensor:
    """Fixes by levels kriged from `learn`; width of the prior and power of the likelihood by its folds."""
    points = grid.centres().reshape(-1, 2)
    points = points[tile.is_outdoor(points)]
    folds = [(learn.select(fold != n), learn.select(fold == n)) for n in range(FOLD_COUNT)]
    parts = [(known, asked) for known, asked in folds if len(known) and len(asked)]
    left = _calibrate_held_out(parts, trend)
    parts = [
        (known, asked.select(_thin(torch.ones(len(asked), dtype=torch.bool), TUNING_REPORTS_PER_FOLD)))
        for known, asked in parts
    ]
    log_p = [
        _krige_fields(known, points, trend, left).log_likelihood(asked)
        for known, asked in track(parts, "folds", transient=True)
    ]
    density = {width: [_density(known, points, width) for known, _ in parts] for width in DENSITY_WIDTHS}
    choices = [(width, power) for width in DENSITY_WIDTHS for power in LIKELIHOOD_EXPONENTS]

    def score(choice: tuple[float, float]) -> float:
        width, power = choice
        errors = [
            position_error(_fix(p, points, there, power), asked.position)
            for p, there, (_, asked) in zip(log_p, density[width], parts, strict=True)
        ]
        return float(torch.cat(errors).median())

    width, power = min(choices, key=score)
    fields = _krige_fields(learn, points, trend, left)
    return _fix(fields.log_likelihood(judged), points, _density(learn, points, width), power)


def trend_features(
    where: Float[Tensor, "n 2"], sites: tuple[Site, ...], radio: RadioMap | None
) -> Float[Tensor, "cell n feature"]:
    """What the trend of each cell's level goes by: distance, angle off the boresight, the map where there is one."""
    told = []
    mast, cells = cell_positions(sites), [cell for _, cell in cells_of(sites)]
    gain, known = radio.gain_db(where) if radio is not None else (None, None)
    for number, cell in enumerate(cells):
        far = (where - mast[number, :2]).norm(dim=-1).clamp(min=5.0).log10()
        off = wrap_deg(bearing_deg(mast[number, :2].expand_as(where), where) - cell.azimuth_deg)
        columns = [far, torch.cos(torch.deg2rad(off)), (off / 65).square().clamp(max=2.5)]
        if gain is not None and known is not None:
            own = known[:, number]
            columns += [torch.where(own, gain[:, number], gain[own, number].mean() if own.any() else 0.0), own.float()]
        told.append(torch.stack(columns, -1))
    return torch.stack(told)


def _krige_fields(known: Drive, points: Tensor, trend: Trend, left: "HeldOutCalibration") -> KrigedFields:
    """Kriged from reports, with the deviations and chances of being heard that left-out ones have shown."""
    there, mean, deviation = trend(points), [], []
    kriged = _krige_cells(known, trend)
    for cell, field in enumerate(kriged):
        m, s = field.at(points, there[cell])
        mean.append(m)
        deviation.append(s * left.inflation[cell])
    level = torch.stack(mean)
    odds = left.odds[:, :1] + left.odds[:, 1:] * (level - SILENT_LEVEL_DBM) / 10
    return KrigedFields(points, level.float(), torch.stack(deviation).float(), odds.float())


def _krige_cells(known: Drive, trend: Trend) -> list[KrigedLevels]:
    table, fields = trend(known.position), []
    for cell in range(known.reports.heard.shape[1]):
        mine = _thin(known.reports.heard[:, cell], MAX_KRIGED_REPORTS)
        told, level = table[cell][mine], known.reports.rsrp_dbm[mine, cell]
        fields.append(KrigedLevels.fit(known.position[mine], told, level, torch.tensor(SLOPE_SIGNS[: told.shape[1]])))
    return fields


def _thin(chosen: Bool[Tensor, " n"], most: int) -> Int[Tensor, " kept"]:
    """Indices of the chosen, at most so many, evenly over their order."""
    index = chosen.nonzero()[:, 0]
    if len(index) <= most:
        return index
    return index[torch.linspace(0, len(index) - 1, most).long()]


@dataclass(frozen=True, eq=False)
class HeldOutCalibration:
    """What folds that were left out have shown: how much wider errors are than said, and who is heard at what level."""

    inflation: Float[Tensor, " cell"]
    odds: Float[Tensor, "cell 2"]


def _calibrate_held_out(parts: list[tuple[Drive, Drive]], trend: Trend) -> HeldOutCalibration:
    said: list[list[tuple[Tensor, Tensor, Tensor, Tensor]]] = []
    for known, asked in parts:
        table = trend(asked.position)
        fields = _krige_cells(known, trend)
        heard, level = asked.reports.heard, asked.reports.rsrp_dbm
        said.append([(*f.at(asked.position, table[c]), level[:, c], heard[:, c]) for c, f in enumerate(fields)])
    inflation, odds = [], []
    for cell in range(len(said[0])):
        mean, deviation, level, heard = (torch.cat([part[cell][k] for part in said]) for k in range(4))
        z = ((level - mean) / deviation)[heard]
        inflation.append(max(1.4826 * float(z.abs().median()), 0.3))
        odds.append(_fit_logistic((mean - SILENT_LEVEL_DBM) / 10, heard))
    return HeldOutCalibration(torch.tensor(inflation), torch.stack(odds))


def _fit_logistic(x: Tensor, heard: Tensor) -> Float[Tensor, "2"]:
    """Intercept and slope of the log-odds, lightly drawn towards 0."""
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
    """How likely phones are in each pixel, from where they were; somewhat everywhere."""
    density = torch.zeros(len(points), dtype=torch.float64)
    for part in known.position.split(1024):
        density += (-(torch.cdist(points, part) / width).square() / 2).exp().sum(1).double()
    return density / density.max() + MIN_DENSITY


def _fix(log_p: Tensor, points: Tensor, density: Tensor, power: float) -> Float[Tensor, "phone 2"]:
    """Geometric median of the posterior."""
    fixes = []
    for part in log_p.split(PHONES_PER_CALL):
        weight = (power * part + density.log()).softmax(-1).float()
        # The pixels that hold next to all of the probability: the median needs no others.
        most, index = weight.topk(min(1500, weight.shape[1]))
        fixes.append(geometric_median(points[index], most / most.sum(1, keepdim=True), iterations=25))
    return torch.cat(fixes)
