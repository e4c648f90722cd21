"""Rules for single rows of a log: levels that can be, positions on the tile, cells of the tile's network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.rules.cells import NO_CELL, CellMatcher, technology_of
from uel.measurement.logs.rules.quantities import (
    LIMITS_BY_QUANTITY,
    MAX_INDEX,
    SENTINEL_LEVELS,
    indices_to_dbm,
    level_limits,
    range_in_words,
    to_numbers,
)
from uel.measurement.logs.rules.rejections import Rejection, Rejections

Projection = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""from longitude and latitude, or from east and north, to metres on the tile: n × 2"""


def metres_as_given(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The projection of coordinates that are metres on the tile already."""
    return np.stack([x, y], 1)


@dataclass(frozen=True, eq=False)
class RowRules:
    """The rules for rows, applied one after the other; what breaks one goes to `rejections`."""

    columns: ColumnConfig
    matcher: CellMatcher
    rejections: Rejections
    from_degrees: Projection | None
    """None: this tile has no georeference"""
    from_east_north: Projection
    half_size: float
    """m, half of the tile's side"""
    needs_position: bool

    def usable(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of whole reports that are used, with `level`, `east`, `north` and `cell_number`."""
        frame = self._set_aside(frame, frame["fault"].notna(), "no record", frame["fault"])
        frame = self._set_aside(frame, frame["surplus"].notna(), "too many fields", frame["surplus"])
        frame = self._set_aside(frame, frame["is_duplicate"].astype(bool), "duplicate", frame["rsrp"])
        frame = self._with_levels(frame)
        frame = self._with_positions(frame)
        cell, rule, label = self.matcher.match(frame, frame[["east", "north"]].to_numpy(float))
        frame = frame.assign(cell_number=cell)
        self._reject(frame, cell == NO_CELL, rule, label)
        counts = (cell != NO_CELL) | ((rule == "unknown cell") & (label != "no identity"))
        return self._of_this_network(frame, counts)

    def _set_aside(self, frame: pd.DataFrame, mask: pd.Series, rule: str, values: Iterable) -> pd.DataFrame:
        """The rows that are not in a mask; the others break a rule."""
        chosen = mask.to_numpy(bool)
        self._reject(frame, chosen, rule, np.asarray(list(values), dtype=object))
        return frame[~chosen]

    def _reject(self, frame: pd.DataFrame, chosen: np.ndarray, rule: "str | np.ndarray", values: np.ndarray) -> None:
        rows = frame["row"].to_numpy()
        for n in np.flatnonzero(chosen):
            self.rejections.add(Rejection(int(rows[n]), rule if isinstance(rule, str) else rule[n], str(values[n])))

    # ---- levels ----------------------------------------------------------------------------------------

    def _with_levels(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows whose level can be one; values of other quantities that cannot be are counted."""
        texts, unit = frame["rsrp"].to_numpy(object), self.columns.level_unit
        value = to_numbers(frame["rsrp"])
        technology = [technology_of(text) if isinstance(text, str) else "" for text in frame["technology"]]
        limits = np.array([level_limits(kind) for kind in technology]).reshape(-1, 2)
        absent = frame["rsrp"].isna().to_numpy() | (np.isin(value, SENTINEL_LEVELS) & (unit == "dbm"))
        no_number = ~absent & ~np.isfinite(value)
        level = value if unit == "dbm" else indices_to_dbm(value, unit)
        outside = ~absent & ~no_number & ~((level >= limits[:, 0]) & (level <= limits[:, 1]))
        rule = np.select([absent, no_number, outside], ["no level", "no number", "level out of range"], "").astype(
            object
        )
        bad = np.flatnonzero(rule != "")
        detail = np.full(len(frame), "", dtype=object)
        for n in bad:
            text = {"no level": "stands for not available", "no number": "is no level"}.get(rule[n], f"in {unit}")
            detail[n] = f"{'nothing' if pd.isna(texts[n]) else texts[n]} {text}; {range_in_words(technology[n])}"
        self._reject(frame, rule != "", rule, detail)
        is_index = outside & (value >= 0) & (value <= MAX_INDEX) & (value == np.round(value))
        self.rejections.looks_like_index += int(is_index.sum())
        self._check_other_quantities(frame)
        return frame.assign(level=level)[rule == ""]

    def _check_other_quantities(self, frame: pd.DataFrame) -> None:
        """Count values of RSRQ, SINR and RSSI that cannot be. The row is used: a locator does not read them."""
        for quantity, (low, high) in LIMITS_BY_QUANTITY.items():
            if frame[quantity].notna().any():
                value = to_numbers(frame[quantity])
                wrong = np.isfinite(value) & ~np.isin(value, SENTINEL_LEVELS) & ~((value >= low) & (value <= high))
                told = (frame[quantity].astype("str") + f"; {quantity.upper()} is from {low:g} to {high:g}").to_numpy(
                    object
                )
                self._reject(frame, wrong, f"{quantity.upper()} out of range", told)

    # ---- positions -------------------------------------------------------------------------------------

    def _with_positions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows whose position is on the tile or, where none is needed, not known, with `east` and `north` in metres."""
        texts = frame[["latitude", "longitude", "x", "y"]]
        position = self._from_degrees(to_numbers(texts["latitude"]), to_numbers(texts["longitude"]))
        x, y = to_numbers(texts["x"]), to_numbers(texts["y"])
        in_metres = np.isfinite(x) & np.isfinite(y)
        position[in_metres] = self.from_east_north(x[in_metres], y[in_metres])
        known = np.isfinite(position).all(1)
        missing = ~known & (texts.notna().any(axis=1).to_numpy() | self.needs_position)
        off = known & (np.abs(np.nan_to_num(position)) > self.half_size).any(1)
        shown = [", ".join(value for value in row if isinstance(value, str)) for row in texts.itertuples(index=False)]
        self._reject(frame, missing, "no position", np.array([f"{text or 'nothing'}" for text in shown], dtype=object))
        where = [f"{x:.0f} m east, {y:.0f} m north of its centre" for x, y in position]
        self._reject(frame, off, "off the tile", np.array(where, dtype=object))
        frame = frame.assign(east=position[:, 0], north=position[:, 1])
        return frame[~(missing | off)].reset_index(drop=True)

    def _from_degrees(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Metres on the tile; NaN for what is no latitude and longitude, and for 0, 0, where loggers put a lost fix."""
        is_place = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180) & ((latitude != 0) | (longitude != 0))
        position = np.full((len(latitude), 2), np.nan)
        if not is_place.any():
            return position
        if self.from_degrees is None:
            if self.needs_position:
                do = "name columns in metres instead: --columns.x, --columns.y"
                raise UelError("this tile has no georeference", got="latitude and longitude", do=do)
            return position
        position[is_place] = self.from_degrees(longitude[is_place], latitude[is_place])
        return position

    # ---- networks --------------------------------------------------------------------------------------

    def _of_this_network(self, frame: pd.DataFrame, counts: np.ndarray) -> pd.DataFrame:
        """Rows with a known cell, of reports that hear enough cells of this network."""
        known = frame["cell_number"].to_numpy() != NO_CELL
        if not self.matcher.knows_identities:  # the user names the cells
            return frame[known].reset_index(drop=True)
        heard = pd.DataFrame({"report": frame["report"], "counted": counts, "known": known & counts})
        sums = heard.groupby("report").transform("sum")
        foreign = known & (sums["known"] < self.columns.min_known_fraction * sums["counted"]).to_numpy()
        told = sums["known"].astype("str") + " of " + sums["counted"].astype("str") + " cells belong to this network"
        self._reject(frame, foreign, "other network", told.to_numpy(object))
        return frame[known & ~foreign].reset_index(drop=True)
