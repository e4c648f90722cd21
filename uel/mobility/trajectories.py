"""Where phones are: positions outdoors, and short walks and drives from there."""

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

TRACKS_PER_BLOCK = 1024  # tracks that one generator draws and that walk together, whatever part of them is asked for
# Of a two-dimensional Kronecker sequence: the plastic number's powers (Roberts 2018).
KRONECKER_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


class Tracks(NamedTuple):
    """Tracks of as many reports; shorter ones are not `valid` at their end and repeat their last report there."""

    position: Float[Tensor, "track report 2"]
    """m"""
    time: Float[Tensor, "track report"]
    """s since the track's first report"""
    valid: Bool[Tensor, "track report"]
    velocity: Float[Tensor, "track report 3"]
    """m/s, of the stride that begins at each report, up and down hill too"""


def draw_positions(
    tile: Tile, sites: tuple[Site, ...], count: int, generator: torch.Generator, plan: TrackConfig | None = None
) -> Float[Tensor, "count 2"]:
    """Uniform positions in metres, outdoors and within the plan's distances of the sites.

    Raises `UelError` when the tile has hardly any such place.
    """
    plan = plan or TrackConfig()
    found: list[Tensor] = []
    for _ in range(200):
        candidates = (torch.rand(4 * count, 2, generator=generator) - 0.5) * tile.size
        found.append(candidates[allowed_positions(tile, sites, candidates, plan.min_distance, plan.max_distance)])
        if sum(map(len, found)) >= count:
            return torch.cat(found)[:count]
    raise UelError(
        "hardly any outdoor place on this tile", got=tile.name, do="choose another centre or distance limits"
    )


def draw_tracks(
    tile: Tile,
    sites: tuple[Site, ...],
    plan: TrackConfig,
    seed: int,
    first: int = 0,
    count: int | None = None,
    radio: RadioMap | None = None,
) -> Tracks:
    """Tracks number `first` to `first + count` (without it: to the plan's last) of a tile.

    Track number i is a matter of tile, sites, plan, map, seed and i alone. Its start and its kind follow a
    low-discrepancy sequence along a curve that fills the tile, so that any run of tracks covers it evenly, each kind
    by itself too (as in Stevens and Olsen, JASA 2004). Pedestrians wander, walls turn them round; vehicles stay on
    the roads of a tile that has any, and drive straight on between walls elsewhere. `radio` is asked for the plan's
    coverage.

    Raises `UelError` for negative numbers, for coverage without a map, and for a tile with hardly any place.
    """
    count = plan.tracks - first if count is None else count
    if seed < 0 or first < 0 or count < 1:
        got = f"seed {seed}, first {first}, count {count}"
        raise UelError("no such tracks", got=got, do="give seed and first ≥ 0, count ≥ 1")
    limits = plan.min_distance, plan.max_distance
    places = outdoor_area(tile, sites, limits, plan.coverage_dbm, plan.weighting == "coverage", radio)
    numbers = range(first // TRACKS_PER_BLOCK, (first + count - 1) // TRACKS_PER_BLOCK + 1)
    blocks = [_block(tile, places, plan, seed, number) for number in numbers]
    asked = slice(first - numbers[0] * TRACKS_PER_BLOCK, first - numbers[0] * TRACKS_PER_BLOCK + count)
    return Tracks(*(torch.cat(parts)[asked] for parts in zip(*blocks, strict=True)))


def _block(tile: Tile, places: OutdoorArea, plan: TrackConfig, seed: int, number: int) -> Tracks:
    """A whole block: its draws, and every operation's shape, are the same whatever part of it is asked for."""
    rng = np.random.default_rng((seed, number + 1))  # 0 would be the seed alone, which shifts the sequence below
    draw = lambda *shape: torch.from_numpy(rng.random((TRACKS_PER_BLOCK, *shape), dtype=np.float32))  # noqa: E731
    index = number * TRACKS_PER_BLOCK + np.arange(TRACKS_PER_BLOCK)
    where, kind = ((np.random.default_rng(seed).random(2) + index[:, None] * KRONECKER_STEPS) % 1).T
    edges = np.cumsum(plan.shares)[:2]
    kind = torch.from_numpy(np.searchsorted(edges, kind, side="right"))
    start = places.start_positions(where, kind == 2, draw(2))
    interval = plan.interval[0] + (plan.interval[1] - plan.interval[0]) * draw()
    heading, wander = (
        unit_vector(2 * math.pi * draw()),
        torch.from_numpy(rng.standard_normal((TRACKS_PER_BLOCK, plan.reports))),
    )
    length = torch.from_numpy(rng.integers(plan.min_reports, plan.reports + 1, TRACKS_PER_BLOCK))
    stride = torch.tensor(plan.speeds)[kind] * interval
    angle = wander.float() * (HEADING_DRIFT * interval.sqrt() * (kind == 1)).unsqueeze(1)
    moved = _moved(places, kind, start, heading, stride, angle)
    return _padded(tile, moved, interval, length)


def _moved(
    places: OutdoorArea, kind: Tensor, start: Tensor, heading: Tensor, stride: Tensor, angle: Tensor
) -> Float[Tensor, "track place 2"]:
    """Where everybody is after 0, 1, … strides."""
    grid, road = places.grid, places.road
    if road is None:
        return walk(grid, places.free, start, heading, stride, angle)
    drives = kind == 2
    moved = start.unsqueeze(1).repeat(1, angle.shape[1] + 1, 1)
    on_foot, driven = (~drives).nonzero()[:, 0], drives.nonzero()[:, 0]
    moved[on_foot] = walk(grid, places.free, *(v[on_foot] for v in (start, heading, stride, angle)))
    axis = road_direction(grid, road, start[driven], heading[driven])
    moved[driven] = drive(grid, road, start[driven], axis, stride[driven], angle.shape[1])
    return moved


def _padded(tile: Tile, moved: Float[Tensor, "track place 2"], interval: Tensor, length: Tensor) -> Tracks:
    """Positions, times, validity and velocities of tracks that end after `length` reports."""
    reports = moved.shape[1] - 1
    point = torch.cat([moved, tile.ground(moved).unsqueeze(-1)], -1)
    velocity = point.diff(dim=1) / interval[:, None, None]
    last = torch.minimum(torch.arange(reports), length.unsqueeze(1) - 1)
    rows = torch.arange(len(moved)).unsqueeze(1)
    valid = torch.arange(reports) < length.unsqueeze(1)
    return Tracks(moved[rows, last], last * interval.unsqueeze(1), valid, velocity[rows, last])
