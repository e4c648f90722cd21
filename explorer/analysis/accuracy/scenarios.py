"""Errors by scenario: how phones differ in sight, cells, distance, surroundings and speed, and what each costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from explorer.analysis.phone_trial import PhoneTrial
from explorer.map_view.tile_meshes import TileMesh
from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

MIN_PHONES = 5  # of a scenario; below, its median is noise
SURROUNDINGS_RADIUS = 30.0  # m, half the side of the square whose buildings are counted
VERTICAL_LIMIT = 0.1  # of a wall: the vertical part of its normal of length 1
# Upper ends of bins, and the labels of all bins.
CELL_BINS = ((2, 4), ("1–2 cells", "3–4 cells", "5 cells and more"))
DISTANCE_BINS = ((100.0, 200.0, 300.0), ("below 100 m", "100–200 m", "200–300 m", "300 m and more"))
BUILT_BINS = ((0.25, 0.5), ("square or park", "street", "narrow street or yard"))
SPEED_BINS = ((0.5, 2.5), ("standing", "walking", "driving"))


@dataclass(frozen=True, eq=False)
class Scenario:
    """Phones of one kind, and the errors of the locator and of grid Bayes on them."""

    group: str
    label: str
    error: Float[np.ndarray, " n"]
    """m"""
    yardstick: Float[np.ndarray, " n"]
    """m, of grid Bayes"""


def scenarios(trial: PhoneTrial, tile: Tile, sites: tuple[Site, ...], mesh: TileMesh) -> list[Scenario]:
    """All kinds of phones of a trial with at least `MIN_PHONES` phones, group by group.

    A group of one kind is left out, as it says what all phones say.
    """
    labels = phone_labels(trial, tile, sites, mesh)
    error, yardstick = trial.error.numpy(), trial.limit_error.numpy()
    found = [Scenario("all", "all phones", error, yardstick)]
    for group, of_phones in labels.items():
        if len(set(of_phones)) == 1:
            continue  # all phones once more
        for label in _in_order(of_phones):
            members = np.array([own == label for own in of_phones])
            if members.sum() >= MIN_PHONES:
                found.append(Scenario(group, label, error[members], yardstick[members]))
    return found


def phone_labels(trial: PhoneTrial, tile: Tile, sites: tuple[Site, ...], mesh: TileMesh) -> dict[str, list[str]]:
    """The label of every phone by group; speed is known of phones of a survey only, walls where there are buildings."""
    phones = trial.phones
    labels = {
        "serving cell": ["line of sight" if los else "no line of sight" for los in phones.los.tolist()],
        "cells heard": _binned(trial.heard.numpy(), *CELL_BINS, closed=True),
        "distance to the mast": _binned(serving_distance(trial, sites).numpy(), *DISTANCE_BINS),
        "surroundings": _binned(built_fraction(tile, phones.position).numpy(), *BUILT_BINS),
    }
    materials = nearest_wall_materials(mesh, phones.position.numpy())
    labels |= {"nearest wall": materials} if materials else {}
    return labels | ({} if phones.speed is None else {"speed": _binned(phones.speed.numpy(), *SPEED_BINS)})


def serving_distance(trial: PhoneTrial, sites: tuple[Site, ...]) -> Float[Tensor, " n"]:
    """Horizontal distance in m between each phone and the mast of its serving cell."""
    masts = torch.tensor([site.position[:2] for site, _ in cells_of(sites)])
    return (trial.phones.position - masts[trial.phones.reports.serving]).norm(dim=-1)


def built_fraction(tile: Tile, position: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The fraction of ground that is built on, in a square of ±`SURROUNDINGS_RADIUS` m around each position."""
    footprint, reach = tile.rasters["footprint"], round(SURROUNDINGS_RADIUS / tile.raster_grid.pixel)
    fractions = []
    for row, column in zip(*(index.tolist() for index in tile.pixel_of(position)), strict=True):
        around = footprint[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        fractions.append((around > 0.5).float().mean())
    return torch.stack(fractions)


def nearest_wall_materials(mesh: TileMesh, position: Float[np.ndarray, "n 2"]) -> list[str]:
    """The material of the wall nearest to each position (m), seen from above; empty where there is no wall."""
    edges = mesh.corner[:, 1:] - mesh.corner[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    length = np.linalg.norm(normal, axis=1)
    upright = (length > 0) & (np.abs(normal[:, 2]) <= VERTICAL_LIMIT * length)
    if not upright.any():
        return []
    names = np.array([name.removeprefix("itu_") for name in mesh.names])[mesh.material[upright]]
    start, end = _ground_lines(mesh.corner[upright, :, :2])
    return [str(names[_distance_to_lines(place, start, end).argmin()]) for place in position]


def _ground_lines(corner: Float[np.ndarray, "face 3 2"]) -> tuple[np.ndarray, np.ndarray]:
    """From above, an upright triangle is a line: its two corners that are farthest from each other."""
    pairs = ((0, 1), (1, 2), (2, 0))
    lengths = np.stack([np.linalg.norm(corner[:, a] - corner[:, b], axis=1) for a, b in pairs])
    ends = np.array(pairs)[lengths.argmax(0)]
    rows = np.arange(len(corner))
    return corner[rows, ends[:, 0]], corner[rows, ends[:, 1]]


def _distance_to_lines(place: np.ndarray, start: np.ndarray, end: np.ndarray) -> Float[np.ndarray, " face"]:
    """Distance in m of a place from each line between `start` and `end` (face, 2)."""
    along = end - start
    share = ((place - start) * along).sum(1) / np.maximum((along**2).sum(1), 1e-12)
    return np.linalg.norm(start + np.clip(share, 0, 1)[:, None] * along - place, axis=1)


def _binned(values: np.ndarray, ends: Sequence[float | int], labels: Sequence[str], closed: bool = False) -> list[str]:
    """The label of each value; a bin holds its upper end if it is `closed`."""
    return [labels[int(number)] for number in np.searchsorted(ends, values, side="left" if closed else "right")]


def _in_order(labels: Sequence[str]) -> list[str]:
    """The labels of a group as they are to be shown: bins in their order, others by their number of phones."""
    bins = [label for _, names in (CELL_BINS, DISTANCE_BINS, BUILT_BINS, SPEED_BINS) for label in names]
    others = sorted(set(labels) - set(bins), key=lambda label: (-labels.count(label), label))
    return [label for label in bins if label in labels] + others


def scenario_rows(found: Sequence[Scenario]) -> list[dict[str, Any]]:
    """A row for each scenario, for a table."""
    return [
        {
            "scenario": scenario.group,
            "phones": scenario.label,
            "n": len(scenario.error),
            **{f"p{p} m": round(float(np.quantile(scenario.error, p / 100)), 1) for p in (50, 95)},
            "grid Bayes p50 m": round(float(np.median(scenario.yardstick)), 1),
        }
        for scenario in found
    ]
