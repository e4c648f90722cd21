"""The tabular part of a survey as Parquet: one row for each report and cell."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uel.core.files.write_errors import explain_write_errors
from uel.core.io import staged_file
from uel.survey.dataset import Survey
from uel.survey.manifest import Manifest

if TYPE_CHECKING:
    import pandas


def tabular_features(manifest: Manifest) -> list[str]:
    """Features with one number for each report, or for each report and cell."""
    return [name for name, f in manifest.arrays.items() if f.axes in ((), ("cell",)) and name != "valid"]


def to_parquet(survey: Survey) -> list[Path]:
    """Write `parquet/TILE.parquet` into the survey's folder for every tile, a unit at a time.

    Columns are `track`, `report` and `cell`, position and velocity by component, and the features; null where a
    value is not known. Reports that are not valid are left out.

    Raises `UelError` for a survey that is not finished, and when nothing can be written.
    """
    folder = survey.folder / "parquet"
    for tile in survey.tiles:
        survey.require(tile)
    with explain_write_errors("the survey", folder):
        return [_export(survey, tile, folder / f"{tile}.parquet") for tile in survey.tiles]


def _export(survey: Survey, tile: str, path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    with staged_file(path) as staged:
        for unit in survey.manifest.units_of(tile):
            table = pa.table(_rows(survey, tile, unit.first, unit.count))
            writer = writer or pq.ParquetWriter(staged, table.schema.with_metadata(_units(survey.manifest)))
            writer.write_table(table.cast(writer.schema))
        assert writer is not None, "a tile has units"
        writer.close()
    return path


def track_rows(survey: Survey, tile: str, tracks: int | None = None) -> "pandas.DataFrame":
    """Rows as those of `to_parquet`, of a tile's first tracks; None: of all.

    Raises `UelError` for a tile that the survey does not have or has not finished.
    """
    survey.require(tile)
    import pyarrow as pa

    count = survey.manifest.tracks if tracks is None else min(tracks, survey.manifest.tracks)
    return pa.table(_rows(survey, tile, 0, count)).to_pandas()


def _units(manifest: Manifest) -> dict[str, str]:
    return {f"unit/{name}": manifest.feature(name).unit for name in tabular_features(manifest)}


def _rows(survey: Survey, tile: str, first: int, count: int) -> dict[str, object]:
    """Columns of some tracks as Arrow takes them."""
    manifest, names = survey.manifest, tabular_features(survey.manifest)
    masks = [mask for name in names if (mask := manifest.feature(name).mask) in manifest.arrays]
    features = dict.fromkeys(["valid", "position", "velocity", *names, *masks])
    values = {name: v.numpy() for name, v in survey.read(tile, features, first, count).items()}
    valid, cells = values["valid"], manifest.tiles[tile].sizes["cell"]
    track, report = np.nonzero(valid)
    report_columns = {"track": track + first, "report": report, **_components(values, valid)}
    rows: dict[str, object] = {name: np.repeat(value, cells) for name, value in report_columns.items()}
    rows["cell"] = np.tile(np.arange(cells), len(track))
    return rows | {name: _column(values, name, manifest.feature(name).mask, cells) for name in names}


def _components(values: dict[str, np.ndarray], valid: np.ndarray) -> dict[str, np.ndarray]:
    vectors = {("x", "y"): "position", ("velocity_east", "velocity_north", "velocity_up"): "velocity"}
    return {axis: values[name][valid][:, i] for axes, name in vectors.items() for i, axis in enumerate(axes)}


def _column(values: dict[str, np.ndarray], name: str, mask: str, cells: int) -> object:
    """Arrow array of a feature, one row for each report and cell, null where it is not known."""
    import pyarrow as pa

    def rows(feature: str) -> np.ndarray:
        valid = values[feature][values["valid"]]
        return np.repeat(valid, cells) if valid.ndim == 1 else valid.ravel()

    return pa.array(rows(name), mask=~rows(mask) if mask in values else None)
