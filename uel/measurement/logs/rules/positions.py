"""Rules for the positions of labelled reports, in the order of their times: coarse, stale, frozen, jumps.

A phone that has lost its satellites goes on reporting: with the last position it had, with one of the network's (known
to a kilometre), or with one far away. Such reports are no labels.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejection, Rejections

MIN_INTERVAL = 1.0  # s: times of logs are often whole seconds
JUMPS_BEFORE_RESTART = 3  # reports that agree with each other, after which the ones before were the outliers


def reliable_labels(labels: LogPart, columns: ColumnConfig, rejections: Rejections) -> torch.Tensor:
    """Mask of the reports whose positions are believed; the others are set aside by a rule."""
    position = labels.position.numpy()
    kept = _accurate(labels, columns, rejections)
    for device in np.unique(labels.device.astype(str)):
        of_device = (labels.device.astype(str) == device) & np.isfinite(labels.seconds)
        order = np.flatnonzero(of_device & kept)
        order = order[np.argsort(labels.seconds[order], kind="stable")]
        for run in _runs(position[order]):
            _check_still(labels, order[run], columns, rejections, kept)
        _check_jumps(labels, order[kept[order]], columns, rejections, kept)
    return torch.from_numpy(kept)


def _accurate(labels: LogPart, columns: ColumnConfig, rejections: Rejections) -> np.ndarray:
    """Reports whose positions are known well enough, and are of the time of the report."""
    coarse, stale = labels.accuracy > columns.max_accuracy, labels.age > columns.max_age
    for n in np.flatnonzero(coarse):
        value = f"known to {labels.accuracy[n]:g} m, --columns.max-accuracy is {columns.max_accuracy:g}"
        rejections.add(Rejection(int(labels.row[n]), "coarse position", value))
    for n in np.flatnonzero(stale & ~coarse):
        value = f"{labels.age[n]:g} s old, --columns.max-age is {columns.max_age:g}"
        rejections.add(Rejection(int(labels.row[n]), "stale position", value))
    return ~(coarse | stale)


def _runs(position: np.ndarray) -> Iterator[slice]:
    """Runs of positions that are equal to the last bit."""
    if not len(position):
        return
    starts = np.flatnonzero((np.diff(position, axis=0) != 0).any(1)) + 1
    edges = [0, *starts.tolist(), len(position)]
    yield from (slice(start, end) for start, end in itertools.pairwise(edges))


def _check_still(
    labels: LogPart, run: np.ndarray, columns: ColumnConfig, rejections: Rejections, kept: np.ndarray
) -> None:
    """Set a run of reports at one position aside, but for its first, where the levels say that the phone moved."""
    if len(run) < columns.still_reports or len(np.unique(labels.seconds[run])) < columns.still_reports:
        return
    levels = torch.where(labels.reports.heard[run], labels.reports.rsrp_dbm[run], torch.nan).numpy()
    spread = max((np.ptp(column[np.isfinite(column)]) for column in levels.T if np.isfinite(column).any()), default=0.0)
    if spread <= columns.still_db:
        return
    duration = labels.seconds[run[-1]] - labels.seconds[run[0]]
    value = f"{len(run)} reports at the same place in {duration:g} s, levels {spread:.0f} dB apart"
    for n in run[1:]:
        rejections.add(Rejection(int(labels.row[n]), "frozen position", value))
    kept[run[1:]] = False


def _check_jumps(
    labels: LogPart, order: np.ndarray, columns: ColumnConfig, rejections: Rejections, kept: np.ndarray
) -> None:
    """Set reports aside that the phone could not have reached, unless it goes on from there."""
    if not len(order):
        return
    last, away = int(order[0]), list[int]()
    for n in order[1:].tolist():
        goes_on = bool(away) and _is_reachable(labels, away[-1], n, columns)
        if _is_reachable(labels, last, n, columns):
            _reject_jumps(labels, [] if goes_on else away, last, columns, rejections, kept)
            last, away = n, []
        elif away and not goes_on:
            _reject_jumps(labels, away, last, columns, rejections, kept)
            away = [n]
        else:
            away.append(n)
            if len(away) == JUMPS_BEFORE_RESTART:
                last, away = n, []
    _reject_jumps(labels, away, last, columns, rejections, kept)


def _is_reachable(labels: LogPart, a: int, b: int, columns: ColumnConfig) -> bool:
    distance = float(torch.dist(labels.position[b], labels.position[a]))
    margin = float(np.nan_to_num(labels.accuracy[a]) + np.nan_to_num(labels.accuracy[b]))
    return bool(distance <= columns.max_speed * max(labels.seconds[b] - labels.seconds[a], MIN_INTERVAL) + margin)


def _reject_jumps(
    labels: LogPart, away: list[int], last: int, columns: ColumnConfig, rejections: Rejections, kept: np.ndarray
) -> None:
    for n in away:
        distance = float(torch.dist(labels.position[n], labels.position[last]))
        value = f"{distance:.0f} m in {labels.seconds[n] - labels.seconds[last]:g} s, above {columns.max_speed:g} m/s"
        rejections.add(Rejection(int(labels.row[n]), "jump", value))
        kept[n] = False
