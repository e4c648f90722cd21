"""Draws outdoor positions of phones, and tracks of stationary, walking and driving phones."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.config import TrackConfig
from uel.mobility.motion import HEADING_DRIFT, drive, road_direction, unit_vector, walk
from uel.mobility.outdoor_area import OutdoorArea, allowed_positions, outdoor_area
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site

TRACKS_PER_BLOCK = 1024  # drawn by one generator and moved together, whichever of them are requested
# Steps of a two-dimensional Kronecker sequence: inverse powers of the plastic number (Roberts 2018).
KRONECKER_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


class Tracks(NamedTuple):
    """Tracks with a common number of reports; a shorter track repeats its last report, which is then not `valid`."""

    position: Float[Tensor, "track report 2"]
    """m"""
    time: Float[Tensor, "track report"]
    """s since the track's first report"""
    valid: Bool[Tensor, "track report"]
    velocity: Float[Tensor, "track report 3"]
    """m/s, of the stride that starts at each report, with its vertical part"""


def draw_positions(
    tile: Tile, sites: tuple[Site, ...], count: int, generator: torch.Generator, config: TrackConfig | None = None
) -> Float[Tensor, "count 2"]:
    """Uniform positions in metres, outdoors and within the configured distances of the sites.

    Raises `UelError` when the tile has hardly any such position.
    """
    config = config or TrackConfig()
    accepted: list[Tensor] = []
    for _ in range(200):
        candidates = (torch.rand(4 * count, 2, generator=generator, device=generator.device) - 0.5) * tile.size
        accepted.append(
            candidates[allowed_positions(tile, sites, candidates, config.min_distance, config.max_distance)]
        )
        if sum(map(len, accepted)) >= count:
            return torch.cat(accepted)[:count]
    raise UelError(
        "hardly any outdoor place on this tile", got=tile.name, do="choose another centre or distance limits"
    )


def draw_tracks(
    tile: Tile,
    sites: tuple[Site, ...],
    config: TrackConfig,
    seed: int,
    first: int = 0,
    count: int | None = None,
    radio: RadioMap | None = None,
) -> Tracks:
    """Tracks number `first` to `first + count` of a tile (default: to the configuration's last).

    Track i depends on tile, sites, configuration, map, seed and i alone. Its start and its kind follow a
    low-discrepancy sequence along a space-filling curve, so that every run of consecutive tracks, and each kind in it,
    covers the tile evenly (as in Stevens and Olsen, JASA 2004). Pedestrians wander and turn round at walls; vehicles
    stay on roads, or drive straight on between walls where a tile has no roads. `radio` is needed for a coverage
    threshold.

    Raises `UelError` for negative numbers, for coverage without a map, and for a tile with hardly any outdoor area.
    """
    count = config.tracks - first if count is None else count
    if seed < 0 or first < 0 or count < 1:
        got = f"seed {seed}, first {first}, count {count}"
        raise UelError("no such tracks", got=got, do="give seed and first ≥ 0, count ≥ 1")
    limits = config.min_distance, config.max_distance
    area = outdoor_area(tile, sites, limits, config.coverage_dbm, config.weighting == "coverage", radio)
    numbers = range(first // TRACKS_PER_BLOCK, (first + count - 1) // TRACKS_PER_BLOCK + 1)
    blocks = [_block(tile, area, config, seed, number) for number in numbers]
    requested = slice(first - numbers[0] * TRACKS_PER_BLOCK, first - numbers[0] * TRACKS_PER_BLOCK + count)
    return Tracks(*(torch.cat(parts)[requested] for parts in zip(*blocks, strict=True)))


def _block(tile: Tile, area: OutdoorArea, config: TrackConfig, seed: int, number: int) -> Tracks:
    """All tracks of one block; its draws and shapes do not depend on the tracks that are requested."""
    rng = np.random.default_rng((seed, number + 1))  # 0 would be the seed alone, which shifts the sequence below

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(rng.random((TRACKS_PER_BLOCK, *shape), dtype=np.float32))

    index = number * TRACKS_PER_BLOCK + np.arange(TRACKS_PER_BLOCK)
    quantile, kind = ((np.random.default_rng(seed).random(2) + index[:, None] * KRONECKER_STEPS) % 1).T
    edges = np.cumsum(config.shares)[:2]
    kind = torch.from_numpy(np.searchsorted(edges, kind, side="right"))
    start = area.start_positions(quantile, kind == 2, draw(2))
    interval = config.interval[0] + (config.interval[1] - config.interval[0]) * draw()
    heading, wander = (
        unit_vector(2 * math.pi * draw()),
        torch.from_numpy(rng.standard_normal((TRACKS_PER_BLOCK, config.reports))),
    )
    length = torch.from_numpy(rng.integers(config.min_reports, config.reports + 1, TRACKS_PER_BLOCK))
    stride = torch.tensor(config.speeds, device=kind.device)[kind] * interval
    angle = wander.float() * (HEADING_DRIFT * interval.sqrt() * (kind == 1)).unsqueeze(1)
    positions = _positions(area, kind, start, heading, stride, angle)
    return _padded(tile, positions, interval, length)


def _positions(
    area: OutdoorArea, kind: Tensor, start: Tensor, heading: Tensor, stride: Tensor, angle: Tensor
) -> Float[Tensor, "track position 2"]:
    """Positions of all tracks after 0, 1, … strides."""
    grid, road = area.grid, area.road
    if road is None:
        return walk(grid, area.free, start, heading, stride, angle)
    drives = kind == 2
    positions = start.unsqueeze(1).repeat(1, angle.shape[1] + 1, 1)
    on_foot, by_car = (~drives).nonzero()[:, 0], drives.nonzero()[:, 0]
    positions[on_foot] = walk(grid, area.free, *(v[on_foot] for v in (start, heading, stride, angle)))
    axis = road_direction(grid, road, start[by_car], heading[by_car])
    positions[by_car] = drive(grid, road, start[by_car], axis, stride[by_car], angle.shape[1])
    return positions


def _padded(tile: Tile, positions: Float[Tensor, "track position 2"], interval: Tensor, length: Tensor) -> Tracks:
    """Positions, times, validity and velocities of tracks that end after `length` reports."""
    reports = positions.shape[1] - 1
    point = torch.cat([positions, tile.ground(positions).unsqueeze(-1)], -1)
    velocity = point.diff(dim=1) / interval[:, None, None]
    last = torch.minimum(torch.arange(reports, device=length.device), length.unsqueeze(1) - 1)
    rows = torch.arange(len(positions), device=positions.device).unsqueeze(1)
    valid = torch.arange(reports, device=length.device) < length.unsqueeze(1)
    return Tracks(positions[rows, last], last * interval.unsqueeze(1), valid, velocity[rows, last])
