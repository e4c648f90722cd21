"""Antennas of measured networks from levels: fitted from labelled squares and from reports of unknown place."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenes.measured_networks.reader import read_measured_network
from training.antennas.config import AntennasConfig
from uel.adaptation.antennas_from_levels.estimates import (
    AntennaEstimates,
    antennas_from_labels,
    antennas_from_reports,
    place_posterior,
)
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, csv_bytes, replace_file
from uel.core.outside.json_text import read_json_object
from uel.core.units import wrap_deg
from uel.errors import UelError
from uel.estimation.grid_posterior import geometric_median
from uel.estimation.scoring import bootstrap, position_error
from uel.measurement.drive_test import block_index
from uel.measurement.measured_network import BLOCK_SIDE, MeasuredCells, MeasuredNetwork, split_labels

TABLE_COLUMNS: tuple[str, ...] = (
    "district", "cell_id", "squares", "source", "list_azimuth_deg", "believed_azimuth_deg", "azimuth_deg",
    "azimuth_std_deg", "list_tilt_deg", "believed_tilt_deg", "tilt_deg", "tilt_std_deg",
)  # fmt: skip
Z_90 = 1.645  # standard deviations of a 90 % interval
log = logging.getLogger(__name__)


def run(config: AntennasConfig) -> Path:
    """Fit the antennas of every folder; write `antennas.csv`, a row a cell and source, and `summary.json`."""
    require_writable(config.out)
    rows, fixes = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, folder in enumerate(config.folders):
        network = _outdoors(read_measured_network(folder).heard_cells())
        believed = wrong_antennas(network.cells, config, config.seed + number)
        rows += _from_labels(network, believed, config)
        if config.unlabelled:
            from_reports, errors = _from_reports(network, believed, config)
            rows, fixes = rows + from_reports, [*fixes, errors]
        log.info("%s: %d rows", network.name, len(rows))
    replace_file(config.out / "antennas.csv", csv_bytes(TABLE_COLUMNS, rows))
    replace_file(config.out / "summary.json", as_json(summary(rows, fixes, config)))
    return config.out


def wrong_antennas(cells: MeasuredCells, config: AntennasConfig, seed: int) -> MeasuredCells:
    """The cells with normally distributed errors of azimuths and tilts."""
    generator = torch.Generator().manual_seed(seed)
    azimuth, tilt = torch.randn(2, len(cells), generator=generator, device=generator.device)
    return replace(
        cells,
        azimuth_deg=(cells.azimuth_deg + config.wrong_azimuth_deg * azimuth) % 360.0,
        mechanical_tilt_deg=cells.mechanical_tilt_deg + config.wrong_tilt_deg * tilt,
    )


def summary(rows: list[dict[str, Any]], fixes: list[dict[str, Any]], config: AntennasConfig) -> dict[str, Any]:
    """Medians of absolute errors against the list with 90 % intervals (bootstrap over cells), and cover of widths."""
    result: dict[str, Any] = {"seed": config.seed, "districts": [str(folder.name) for folder in config.folders]}
    for source in dict.fromkeys(row["source"] for row in rows):
        of_source = [row for row in rows if row["source"] == source]
        result[source] = {"cells": len(of_source)}
        for name in ("azimuth", "tilt"):
            columns = [
                torch.tensor([row[f"{prefix}{name}{suffix}"] for row in of_source], device="cpu")
                for prefix, suffix in (("list_", "_deg"), ("believed_", "_deg"), ("", "_deg"), ("", "_std_deg"))
            ]
            listed, believed, fitted, std = columns
            error, before = wrap_deg(fitted - listed).abs(), wrap_deg(believed - listed).abs()
            result[source][name] = {
                "believed_error_deg": _median(before, config.seed),
                "error_deg": _median(error, config.seed),
                "median_std_deg": float(std.median()),
                "cover_90": float((error <= Z_90 * std).float().mean()),
            }
    return result | ({"fixes": fixes} if fixes else {})


def _median(values: Float[Tensor, " cell"], seed: int) -> dict[str, float]:
    low, high = bootstrap([value[None] for value in values], lambda error: float(error.median()), seed)
    return {"median": float(values.median()), "low": low, "high": high}


def _outdoors(network: MeasuredNetwork) -> MeasuredNetwork:
    """The squares outdoors: indoors levels follow walls, not antennas."""
    return network.select(network.rasters.outdoors[network.row, network.column])


def _from_labels(network: MeasuredNetwork, believed: MeasuredCells, config: AntennasConfig) -> list[dict[str, Any]]:
    estimates = antennas_from_labels(replace(network, cells=believed), config.fit, config.seed, config.min_squares)
    chosen = estimates.is_fitted.nonzero()[:, 0]
    return _rows(network, believed, estimates, chosen, "labelled squares")


def _from_reports(
    network: MeasuredNetwork, believed: MeasuredCells, config: AntennasConfig
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of antennas from reports of unknown place, and errors of fixes on other blocks with each set of antennas."""
    split = split_labels(network, config.seed)
    unlabelled = replace(network.select(split.labels(min(config.unlabelled, len(split.labelled)))), cells=believed)
    judged = network.select(split.judged[: config.phones])
    places = _places(network, config.place_step)
    estimates = antennas_from_reports(unlabelled, places, config.fit, config.rounds)
    antennas = {
        "list": AntennaEstimates.believed(network.cells, config.fit),
        "believed": AntennaEstimates.believed(believed, config.fit),
        "fitted": estimates,
    }
    errors = {name: _errors(judged, antenna, places, config) for name, antenna in antennas.items()}
    count = unlabelled.is_reported.sum(0)
    chosen = (estimates.is_fitted & (count >= min(config.min_squares, len(unlabelled) // 10))).nonzero()[:, 0]
    rows = _rows(network, believed, estimates, chosen, "reports of unknown place")
    return rows, {"district": network.name, "reports": len(unlabelled), **_won_back(errors, judged, config.seed)}


def _places(network: MeasuredNetwork, step: float) -> Float[Tensor, "place 2"]:
    """Centres of squares of side `step` that hold an outdoor square of known height between the measured ones."""
    known = network.rasters.outdoors & network.rasters.building_known
    centres = network.grid.centres().reshape(-1, 2)[known.flatten()]
    low, high = network.position.amin(0), network.position.amax(0)
    inside = ((centres >= low) & (centres <= high)).all(1)
    index = torch.unique((centres[inside] / step).floor(), dim=0)
    if not len(index):
        raise UelError(f"{network.name} has no outdoor square", got="no known height of 0 m", do="give its heights")
    return (index + 0.5) * step


def _errors(
    judged: MeasuredNetwork, antennas: AntennaEstimates, places: Float[Tensor, "place 2"], config: AntennasConfig
) -> Float[Tensor, " report"]:
    """Distances in metres of geometric medians from the true squares."""
    posterior = place_posterior(judged, antennas.level_dbm(judged.cells, places), config.fit)
    variance = config.place_step**2 / 6
    answer = torch.cat([geometric_median(places[None], p[None], variance=variance) for p in posterior])
    return position_error(answer, judged.position)


def _won_back(errors: dict[str, Float[Tensor, " report"]], judged: MeasuredNetwork, seed: int) -> dict[str, Any]:
    """p50 in metres with each set of antennas, and the part of the loss that is won back, by bootstrap over blocks."""
    _, block = torch.unique(block_index(judged.position, BLOCK_SIDE), return_inverse=True)
    table = torch.stack(list(errors.values()), 1)
    blocks = [table[block == number] for number in range(int(block.max()) + 1)]

    def share(part: Float[Tensor, "report 3"]) -> float:
        listed, believed, fitted = part.median(0).values.tolist()
        return (believed - fitted) / (believed - listed) if believed > listed else 0.0

    low, high = bootstrap(blocks, share, seed)
    medians = {f"p50_{name}_m": float(error.median()) for name, error in errors.items()}
    return {**medians, "won_back": share(table), "won_back_low": low, "won_back_high": high}


def _rows(
    network: MeasuredNetwork,
    believed: MeasuredCells,
    estimates: AntennaEstimates,
    chosen: Int[Tensor, " cell"],
    source: str,
) -> list[dict[str, Any]]:
    count, listed = network.is_reported.sum(0), network.cells
    return [
        {
            "district": network.name,
            "cell_id": listed.cell_id[cell],
            "squares": int(count[cell]),
            "source": source,
            "list_azimuth_deg": round(float(listed.azimuth_deg[cell]), 2),
            "believed_azimuth_deg": round(float(believed.azimuth_deg[cell]), 2),
            "azimuth_deg": round(float(estimates.azimuth_deg[cell]), 2),
            "azimuth_std_deg": round(float(estimates.azimuth_std_deg[cell]), 2),
            "list_tilt_deg": round(float(listed.tilt_deg[cell]), 2),
            "believed_tilt_deg": round(float(believed.tilt_deg[cell]), 2),
            "tilt_deg": round(float(estimates.tilt_deg[cell]), 2),
            "tilt_std_deg": round(float(estimates.tilt_std_deg[cell]), 2),
        }
        for cell in chosen.tolist()
    ]


def read_summary(folder: Path) -> dict[str, Any]:
    """What `run` wrote."""
    return read_json_object(folder / "summary.json")
