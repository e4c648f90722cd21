"""The cells of a large network that a report tells something about: those it holds, and those it could have held."""

from dataclasses import fields, replace

import torch
from jaxtyping import Int
from torch import Tensor

from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports

CELLS_TAKEN_WHOLE = 24  # a network of so many cells is taken as it is
STRONGEST_CELLS = 32  # of one report
AUDIBLE_STDS = 4.0  # a cell that is so many standard deviations of fading too weak everywhere is never heard


def relevant_cells(reports: Reports, maps: TileMaps, model: ObservationModel) -> Int[Tensor, " relevant"]:
    """Indices of the cells that say something about a batch of reports, in order.

    These are the `STRONGEST_CELLS` strongest of each report, and the cells that some phone on the tile could have
    heard: that the others were not heard is certain everywhere, and says nothing.

    Args:
        reports: one batch, on a network of any size.
        maps: of the tile.
        model: how phones report.
    """
    level = torch.where(reports.heard, reports.rsrp_dbm, -torch.inf)
    strongest = level.topk(min(STRONGEST_CELLS, level.shape[-1]), dim=-1)
    held = torch.zeros(level.shape[-1], dtype=torch.bool, device=level.device)
    held[strongest.indices[strongest.values > -torch.inf]] = True
    radio, outdoors = maps.radio, maps.prior > 0
    mapped = torch.where(radio.known & outdoors, radio.level_db, -torch.inf).flatten(1).amax(1) + maps.power_dbm
    audible = mapped >= model.sensitivity_dbm - AUDIBLE_STDS * model.shadowing_db
    chosen = held | audible
    chosen[reports.serving] = True
    return chosen.nonzero()[:, 0]


def restrict_to_cells(reports: Reports, maps: TileMaps, cells: Int[Tensor, " relevant"]) -> tuple[Reports, TileMaps]:
    """Reports and maps of some of the cells, in this order; every serving cell must be among them."""
    count = reports.heard.shape[-1]
    number = torch.full((count,), -1, device=cells.device)
    number[cells] = torch.arange(len(cells), device=cells.device)
    values = {f.name: getattr(reports, f.name) for f in fields(Reports)}
    by_cell = {
        name: v[..., cells] for name, v in values.items() if v.ndim == reports.heard.ndim and v.shape[-1] == count
    }
    kept = replace(reports, **by_cell, serving=number[reports.serving])
    return kept, TileMaps(maps.radio.of_cells(cells.tolist()), maps.buildings, maps.prior)
