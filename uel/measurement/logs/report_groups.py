"""Rows of a log that belong to one report become `Reports`."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.measurement.logs.rules.quantities import to_numbers
from uel.measurement.reports import Reports, reports_from_levels

MAX_TOA = 1e-3  # s: 300 km
MAX_LTE_TA = 1282  # TS 36.213, clause 4.2.3
TEXT_TRUE = ("true", "1", "yes", "serving", "primary")


@dataclass(frozen=True, eq=False, repr=False)
class LogPart(ShortRepr):
    """Some reports of a log, in the order of their first rows."""

    reports: Reports
    position: Float[Tensor, "report 2"]
    """m, where the log says that the phone was; NaN where it says nothing"""
    row: np.ndarray
    """number of each report's first row in the log"""
    seconds: np.ndarray
    """time of each report; NaN where the log says none"""
    device: np.ndarray
    """names of phones, empty where the log says none"""
    accuracy: np.ndarray
    """m, of the position; NaN where the log says nothing"""
    age: np.ndarray
    """s, of the position; NaN where the log says nothing"""
    merged: int = 0
    """number of rows that repeat the report and cell of another row"""

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: slice) -> "LogPart":
        """Some of the reports."""
        arrays = {name: getattr(self, name)[chosen] for name in ("row", "seconds", "device", "accuracy", "age")}
        return LogPart(self.reports[chosen], self.position[chosen], **arrays)

    @staticmethod
    def cat(parts: "list[LogPart]") -> "LogPart":
        """Parts one after the other."""
        arrays = ("row", "seconds", "device", "accuracy", "age")
        return LogPart(
            Reports.cat([part.reports for part in parts]),
            torch.cat([part.position for part in parts]),
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
            merged=sum(part.merged for part in parts),
        )


def part_of_rows(frame: pd.DataFrame, cell_count: int, advance_cells: np.ndarray) -> LogPart:
    """One report for each `report` of rows with `cell_number`, `level`, `east` and `north`.

    A cell's level is the median of its rows. Of a cell's beams the strongest counts: SS-RSRP is that of one beam.
    `advance_cells` is a mask of the cells whose timing advances count in the steps of the reports.
    """
    frame = _best_beams(frame)
    first = frame.drop_duplicates("report")
    report = pd.factorize(frame["report"])[0]
    cell = frame["cell_number"].to_numpy()
    level = _medians(frame["level"].to_numpy(), report, cell, len(first), cell_count)
    toa = to_numbers(frame["toa"])
    toa[~((toa >= 0) & (toa <= MAX_TOA))] = np.nan
    reports = reports_from_levels(level, _medians(toa, report, cell, len(first), cell_count))
    return LogPart(
        reports=_with_serving(reports, frame, report, advance_cells),
        position=torch.tensor(first[["east", "north"]].to_numpy(np.float32), device="cpu"),
        row=first["row"].to_numpy(),
        seconds=first["seconds"].to_numpy(float),
        device=first["device"].fillna("").to_numpy(object),
        accuracy=_measured(first["accuracy"]),
        age=_age(first["age"]),
        merged=len(frame) - int(reports.heard.sum()),
    )


def _best_beams(frame: pd.DataFrame) -> pd.DataFrame:
    has_beam = frame["beam"].notna()
    if not has_beam.any():
        return frame
    strongest = frame[has_beam].groupby(["report", "cell_number"])["level"].transform("max")
    weaker = strongest.index[frame.loc[strongest.index, "level"] < strongest]
    return frame.drop(index=weaker)


def _medians(
    values: np.ndarray, report: np.ndarray, cell: np.ndarray, reports: int, cells: int
) -> Float[Tensor, "report cell"]:
    """Median of the values of each report and cell; NaN where there is none."""
    table = np.full((reports, cells), np.nan, dtype=np.float32)
    medians = pd.Series(values).groupby([report, cell]).median()
    if len(medians):
        rows, columns = (medians.index.get_level_values(level).to_numpy() for level in (0, 1))
        table[rows, columns] = medians.to_numpy()
    return torch.from_numpy(table)


def _with_serving(reports: Reports, frame: pd.DataFrame, report: np.ndarray, advance_cells: np.ndarray) -> Reports:
    """Reports with the serving cell that the log names, with its timing advance, and with azimuths where cells are
    numbers, as in the project's own tables."""
    serving, cell = reports.serving.clone(), torch.tensor(frame["cell_number"].to_numpy(np.int64), device="cpu")
    said = np.flatnonzero(frame["serving"].fillna("").astype("str").str.lower().isin(TEXT_TRUE).to_numpy())
    once = said[np.bincount(report[said], minlength=len(serving))[report[said]] == 1]
    serving[report[once]] = cell[once]
    reports = replace(reports, serving=serving)
    if frame[["timing_advance", "azimuth_deg", "aoa_deg"]].isna().all(axis=None):
        return reports
    at_serving = cell == serving[report]
    advance, azimuth, aoa = (to_numbers(frame[name]) for name in ("timing_advance", "azimuth_deg", "aoa_deg"))
    if not has_cell_numbers(frame["cell"]):
        is_step = (
            advance_cells[cell.numpy()] & (advance == np.round(advance)) & (advance >= 0) & (advance <= MAX_LTE_TA)
        )
        advance, azimuth, aoa = np.where(is_step, advance, np.nan), azimuth * np.nan, aoa * np.nan
    names = ("timing_advance", "has_timing_advance", "azimuth_deg", "has_azimuth", "aoa_deg", "has_aoa")
    columns = {name: getattr(reports, name).clone() for name in names}
    for values, name in ((advance, "timing_advance"), (azimuth, "azimuth_deg")):
        mask = f"has_{name.removesuffix('_deg')}"
        rows = np.flatnonzero(at_serving.numpy() & np.isfinite(values))
        columns[name][report[rows]] = torch.tensor(values[rows], dtype=torch.float32, device="cpu")
        columns[mask][report[rows]] = True
    rows = np.flatnonzero(np.isfinite(aoa))
    columns["aoa_deg"][report[rows], cell[rows]] = torch.tensor(aoa[rows], dtype=torch.float32, device="cpu") % 360.0
    columns["has_aoa"][report[rows], cell[rows]] = True
    return replace(reports, **columns)


def has_cell_numbers(cells: pd.Series) -> bool:
    """Whether a log tells its cells by numbers, as the project's own tables do: their values have its own units."""
    return bool(cells.astype("str").str.fullmatch(r"\d+").fillna(False).any())


def _measured(texts: pd.Series) -> np.ndarray:
    """Positive numbers; loggers write 0 or -1 where they do not know."""
    value = to_numbers(texts)
    return np.where(value > 0, value, np.nan)


def _age(texts: pd.Series) -> np.ndarray:
    """Ages of positions in seconds: MLS and its relatives give milliseconds as whole numbers."""
    value = to_numbers(texts)
    is_milliseconds = np.nanmax(value, initial=0.0) > 1000
    return value / 1000 if is_milliseconds else value
