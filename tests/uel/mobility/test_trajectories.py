"""Tracks: outdoors, on the road, at the right pace, evenly over the tile, and the same however they are asked for."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from scenes.mesh.rasters import LAND_COVERS
from scenes.tiles.writer import write_tile
from tests.helpers.free_space import radio_map
from tests.helpers.toy_city import SITES, SIZE, toy_tile
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import Tracks, draw_positions, draw_tracks
from uel.radio.radio_map import RadioMap

FOOT, CAR = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
PLAN = TrackConfig(tracks=2000, reports=12)


def ring_road(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A ring of 6 m around a block, a diagonal that leaves it and ends, and two crossing streets."""
    away = np.maximum(abs(x), abs(y))
    diagonal = (abs(x - y) < 5) & (x > 50) & (x < 100)
    streets = ((abs(x + 20) < 3) | (abs(y - 10) < 3)) & (away < 100)
    return (abs(away - 60) < 3) | diagonal | streets


def town(folder: Path, slope: float = 0.0, water: bool = False) -> Tile:
    """The toy city at 1 m with roads between its houses, on a slope to the east."""
    count = int(SIZE)
    row, column = np.mgrid[:count, :count]
    x, y = column + 0.5 - SIZE / 2, row + 0.5 - SIZE / 2
    road = ring_road(x, y)
    house = ((row // 32 + 2 * (column // 32)) % 5 == 0) & ~road
    cover = np.where(road, LAND_COVERS.index("road"), np.where(water & (y > 60), LAND_COVERS.index("water"), 0))
    ground = slope * x
    rasters = {
        "ground": ground,
        "height": ground + 15 * house,
        "footprint": house,
        "material": 0 * house,
        "cover": cover,
    }
    meta = {"name": "town", "size": SIZE, "pixel": 1.0, "materials": ["concrete"], "covers": list(LAND_COVERS)}
    return write_tile(folder, [], {}, {name: v.astype(np.float32) for name, v in rasters.items()}, meta)


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return town(tmp_path_factory.mktemp("town") / "tile", slope=0.1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    """A tile that knows nothing of roads."""
    return toy_tile(tmp_path_factory.mktemp("toy") / "tile")


def plan(**changes: object) -> TrackConfig:
    return replace(PLAN, **changes)


def between(position: Tensor) -> Tensor:
    """Points on the straight lines between reports."""
    share = torch.linspace(0, 1, 21)[:, None]
    return (position[:, :-1, None] * (1 - share) + position[:, 1:, None] * share).reshape(-1, 2)


def nearest_site(position: Tensor) -> Tensor:
    return torch.stack([(position - torch.tensor(s.position[:2])).norm(dim=-1) for s in SITES]).amin(0)


def on_road(tile: Tile, position: Tensor) -> Tensor:
    row, column = tile.pixel_of(position)
    return tile.rasters["cover"][row, column] == LAND_COVERS.index("road")


# ---- who asks, and for how many ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["tile", "bare"])
def test_chunks_of_seven_are_the_whole_bit_by_bit(where: str, request: pytest.FixtureRequest) -> None:
    ground = request.getfixturevalue(where)
    ragged = plan(reports=3, least_reports=1)
    whole = draw_tracks(ground, SITES, ragged, seed=5, first=1000, count=49)  # a block ends on the way
    parts = [draw_tracks(ground, SITES, ragged, seed=5, first=first, count=7) for first in range(1000, 1049, 7)]
    for name, values in whole._asdict().items():
        assert torch.equal(values, torch.cat([getattr(part, name) for part in parts])), name


def test_the_seed_is_all_that_is_drawn_from(tile: Tile) -> None:
    few = plan(tracks=40)
    first, again, other = (draw_tracks(tile, SITES, few, seed) for seed in (1, 1, 2))
    assert first.position.shape == (40, 12, 2)
    assert torch.equal(first.position, again.position)
    assert not torch.equal(first.position, other.position)
    assert torch.equal(draw_tracks(tile, SITES, few, 1, first=30).position, first.position[30:])


# ---- where ---------------------------------------------------------------------------------------------------


def test_everybody_is_outdoors_within_reach_and_never_crosses_a_wall(tile: Tile) -> None:
    near = plan(tracks=600, max_distance=90.0)
    tracks = draw_tracks(tile, SITES, near, seed=3)
    flat = tracks.position.reshape(-1, 2)
    tile.raster_grid.require(flat)
    assert tile.is_outdoor(flat).all()
    assert float(nearest_site(flat).min()) >= 10.0
    assert float(nearest_site(flat).max()) <= 90.0
    # Samples every pixel along a stride may cut a corner of less than one.
    assert float(tile.is_outdoor(between(tracks.position)).float().mean()) > 0.999


def test_cars_keep_to_the_road_between_reports_too(tile: Tile) -> None:
    tracks = draw_tracks(tile, SITES, plan(tracks=800, reports=20, shares=CAR), seed=2)
    assert on_road(tile, tracks.position.reshape(-1, 2)).all()
    assert float(on_road(tile, between(tracks.position)).float().mean()) > 0.995
    speed = tracks.velocity[..., :2].norm(dim=-1)
    standing = speed < 1e-3
    assert float(standing.float().mean()) < 0.02
    torch.testing.assert_close(speed[~standing], torch.full_like(speed[~standing], 10.0), rtol=1e-3, atol=0)


def test_cars_of_a_tile_without_roads_drive_between_walls(bare: Tile) -> None:
    tracks = draw_tracks(bare, SITES, plan(tracks=300, shares=CAR), seed=2)
    assert bare.is_outdoor(tracks.position.reshape(-1, 2)).all()
    speed = tracks.velocity[..., :2].norm(dim=-1)
    assert float((speed > 9.99).float().mean()) > 0.9


def test_nobody_walks_on_water(tmp_path: Path) -> None:
    lake = town(tmp_path / "tile", water=True)
    tracks = draw_tracks(lake, SITES, plan(tracks=500), seed=1)
    row, column = lake.pixel_of(tracks.position.reshape(-1, 2))
    assert not (lake.rasters["cover"][row, column] == LAND_COVERS.index("water")).any()


# ---- how evenly ----------------------------------------------------------------------------------------------


def counts(position: Tensor, squares: int = 8) -> Tensor:
    """Tracks that start in each square of a coarse lattice."""
    index = ((position + SIZE / 2) / SIZE * squares).long().clamp(0, squares - 1)
    return torch.bincount(index[:, 1] * squares + index[:, 0], minlength=squares**2).double()


def expected(tile: Tile, weight: Tensor, count: int) -> Tensor:
    """The same for tracks in proportion to a weight of pixels."""
    side = weight.shape[0] // 8
    by_square = weight.double().unflatten(1, (8, side)).unflatten(0, (8, side)).sum((1, 3)).flatten()
    return by_square / by_square.sum() * count


def free_pixels(tile: Tile) -> Tensor:
    centres = tile.raster_grid.centres()
    margin = tile.raster_grid.pixel / math.sqrt(2)
    return (tile.rasters["footprint"] < 0.5) & (nearest_site(centres) >= 10 + margin)


@pytest.mark.parametrize("count", [100, 500, 2000])
def test_any_prefix_and_any_run_covers_the_tile_evenly(tile: Tile, count: int) -> None:
    """Counts in squares are off their share by far less than independent draws (whose variance is the share)."""
    for first in (0, 777):
        tracks = draw_tracks(tile, SITES, plan(reports=1, shares=FOOT), seed=4, first=first, count=count)
        share = expected(tile, free_pixels(tile).float(), count)
        off = counts(tracks.position[:, 0]) - share
        assert float(off.square().sum() / share.sum()) < 0.35
        assert abs(float(off.sum())) < 1e-6


@pytest.mark.parametrize("car", [False, True])
def test_each_kind_by_itself_is_spread_evenly(tile: Tile, car: bool) -> None:
    mixed = plan(reports=1, shares=(0.5, 0.0, 0.5))
    tracks = draw_tracks(tile, SITES, mixed, seed=4)
    moves = tracks.velocity[:, 0, :2].norm(dim=-1) > 1
    chosen = moves if car else ~moves
    weight = free_pixels(tile).float()
    if car:
        weight = weight * (tile.rasters["cover"] == LAND_COVERS.index("road"))
    share = expected(tile, weight, int(chosen.sum()))
    off = counts(tracks.position[chosen, 0]) - share
    assert float(off.square().sum() / share.sum()) < 0.35
    assert int(moves.sum()) == pytest.approx(1000, abs=60)


def test_starts_are_uniform_over_seeds(tile: Tile) -> None:
    """One track of each of many seeds: independent draws, by chi-square."""
    alone = [draw_tracks(tile, SITES, plan(reports=1), seed, first=3, count=1).position[0] for seed in range(60)]

    def quarters(squares):
        return squares.view(2, 4, 2, 4).sum((1, 3))

    share = quarters(expected(tile, free_pixels(tile).float(), 40))
    share += quarters(
        expected(tile, free_pixels(tile) * (tile.rasters["cover"] == LAND_COVERS.index("road")).float(), 20)
    )
    statistic = float(((quarters(counts(torch.cat(alone))) - share) ** 2 / share).sum())
    assert stats.chi2.sf(statistic, 3) > 1e-3


def west_is_better(tile: Tile) -> RadioMap:
    """A map whose best level falls by 0.2 dB a metre to the east, and that knows no path in the north."""
    radio = radio_map(SITES, pixel=4.0, size=tile.size)
    x, y = radio.grid.centres().unbind(-1)
    known = (y < 60).expand_as(radio.gain).clone()
    return replace(radio, gain=10 ** (-(110 + 0.2 * x) / 10).expand_as(radio.gain).clone() * known, known=known)


def test_coverage_is_a_threshold_and_may_be_a_weight(tile: Tile) -> None:
    radio = west_is_better(tile)
    covered = plan(reports=5, coverage_dbm=-105.0)
    limit = (105 - 110 + 10.8) / 0.2  # where the level is -105 dBm
    x = radio.grid.centres()[0, :, 0]
    edge = float(x[x <= limit].max()) + 2
    for weighting in ("uniform", "coverage"):
        tracks = draw_tracks(tile, SITES, replace(covered, weighting=weighting), seed=1, radio=radio)
        assert float(tracks.position[..., 0].max()) <= edge
        assert float(tracks.position[..., 1].max()) <= 60.0
    still = replace(covered, weighting="coverage", shares=(1.0, 0.0, 0.0), reports=1)
    tracks = draw_tracks(tile, SITES, still, seed=1, radio=radio)
    centre = tile.raster_grid.centres()
    level = (
        -(110 + 0.2 * (((centre[..., 0] + SIZE / 2) / 4).floor() * 4 + 2 - SIZE / 2))
        + SITES[0].cells[0].reference_power_dbm
    )
    weight = (level + 105).clamp(min=0) * free_pixels(tile) * (centre[..., 1] < 60)
    share = expected(tile, weight, 2000)
    off = counts(tracks.position[:, 0]) - share
    assert float(off.square().sum() / share.sum()) < 0.35


# ---- how they move -------------------------------------------------------------------------------------------


def test_shares_speeds_and_intervals(tile: Tile) -> None:
    tracks = draw_tracks(tile, SITES, plan(shares=(0.2, 0.5, 0.3)), seed=6)
    speed = tracks.velocity[..., :2].norm(dim=-1).amax(1)
    for want, share in ((0.0, 0.2), (1.0, 0.5), (10.0, 0.3)):
        assert float((speed - want).abs().lt(1e-2).double().mean()) == pytest.approx(share, abs=0.01)
    interval = tracks.time.diff(dim=1)
    torch.testing.assert_close(interval, interval[:, :1].expand_as(interval), rtol=0, atol=1e-5)
    first = interval[:, 0].sort().values
    assert 0.1 <= float(first[0]) < 0.102
    assert 0.498 < float(first[-1]) <= 0.5
    assert float(first.mean()) == pytest.approx(0.3, abs=0.01)
    assert (tracks.time[:, 0] == 0).all()


def test_velocity_is_the_stride_over_its_time_up_the_hill_too(tile: Tile) -> None:
    tracks = draw_tracks(tile, SITES, PLAN, seed=6)
    took = tracks.time.diff(dim=1).unsqueeze(-1)
    torch.testing.assert_close(tracks.position.diff(dim=1) / took, tracks.velocity[:, :-1, :2], atol=2e-3, rtol=1e-3)
    inside = (tracks.position.abs() < SIZE / 2 - 6).all(-1)  # the ground is level beyond the outermost pixel's centre
    torch.testing.assert_close(
        tracks.velocity[..., 2][inside], 0.1 * tracks.velocity[..., 0][inside], atol=1e-3, rtol=1e-3
    )


def test_pedestrians_wander_by_twenty_degrees_a_root_second(tmp_path: Path) -> None:
    empty = town(tmp_path / "tile")
    half = plan(reports=3, interval=(0.25, 0.25), shares=FOOT)
    tracks = draw_tracks(empty, SITES, half, seed=8)
    v = tracks.velocity[..., :2]
    turn = torch.atan2(v[:, 0, 0] * v[:, 1, 1] - v[:, 0, 1] * v[:, 1, 0], (v[:, 0] * v[:, 1]).sum(-1))
    straight = turn[turn.abs() < math.pi / 2]  # the others met a wall
    assert len(straight) > 0.9 * len(turn)
    assert math.degrees(float(straight.std())) == pytest.approx(10.0, rel=0.06)
    heading = torch.atan2(v[:, 0, 1], v[:, 0, 0])
    assert float(torch.cos(heading).mean().abs()) < 0.08


def test_ragged_tracks_repeat_their_last_report(tile: Tile) -> None:
    tracks = draw_tracks(tile, SITES, plan(reports=20, least_reports=1), seed=9)
    length = tracks.valid.sum(1)
    assert torch.equal(tracks.valid, torch.arange(20) < length[:, None])
    assert set(length.tolist()) == set(range(1, 21))
    assert float(length.double().mean()) == pytest.approx(10.5, abs=0.6)
    rows = torch.arange(len(length))[:, None]
    last = (length[:, None] - 1).expand(-1, 20)
    for values in (tracks.position, tracks.time, tracks.velocity):
        assert torch.equal(values[~tracks.valid], values[rows, last][~tracks.valid])
    assert draw_tracks(tile, SITES, plan(reports=20), seed=9).valid.all()


def test_one_report_has_a_velocity(tile: Tile) -> None:
    tracks = draw_tracks(tile, SITES, plan(reports=1, shares=FOOT), seed=1)
    speed = tracks.velocity[:, 0, :2].norm(dim=-1)
    assert float((speed > 0.999).float().mean()) > 0.97


# ---- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tracks": 0}, "tracks and reports must be at least 1"),
        ({"reports": 0}, "tracks and reports must be at least 1"),
        ({"least_reports": 0}, "least_reports"),
        ({"reports": 3, "least_reports": 4}, "1 ≤ least_reports ≤ reports"),
        ({"interval": (0.5, 0.1)}, "give the least first"),
        ({"interval": (0.0, 0.5)}, "interval must be positive"),
        ({"interval": (0.1, math.nan)}, "interval"),
        ({"speeds": (0.0, -1.0, 10.0)}, "must not be negative"),
        ({"shares": (0.5, 0.2, 0.2)}, "sum to 1"),
        ({"shares": (1.2, -0.2, 0.0)}, "sum to 1"),
        ({"min_distance": 50.0, "max_distance": 20.0}, "min_distance < max_distance"),
        ({"min_distance": -1.0}, "min_distance < max_distance"),
        ({"weighting": "coverage"}, "give coverage_dbm"),
    ],
)
def test_impossible_plans_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UelError, match=rf"{said}") as refused:
        plan(**wrong)
    assert "do:" in str(refused.value)


def test_tracks_that_cannot_be_drawn_are_refused(tile: Tile) -> None:
    for wrong in ({"seed": -1}, {"seed": 0, "first": -1}, {"seed": 0, "count": 0}, {"seed": 0, "first": 2000}):
        with pytest.raises(UelError, match=r"no such tracks[\s\S]*do:"):
            draw_tracks(tile, SITES, PLAN, **wrong)
    covered = plan(coverage_dbm=-100.0)
    with pytest.raises(UelError, match=r"needs a radio map[\s\S]*do:"):
        draw_tracks(tile, SITES, covered, 0)
    with pytest.raises(UelError, match=r"of another tile[\s\S]*do:"):
        draw_tracks(tile, SITES, covered, 0, radio=radio_map(SITES, size=512.0))
    with pytest.raises(UelError, match=r"hardly any outdoor place[\s\S]*0 m² of town[\s\S]*coverage"):
        draw_tracks(tile, SITES, plan(coverage_dbm=-20.0), 0, radio=west_is_better(tile))
    with pytest.raises(UelError, match=r"hardly any outdoor place[\s\S]*do:"):
        draw_tracks(tile, SITES, plan(min_distance=900.0), 0)
    with pytest.raises(UelError, match=r"hardly any outdoor place[\s\S]*do:"):
        draw_positions(tile, SITES, 5, torch.Generator(), plan(min_distance=900.0))


def test_tracks_unpack_in_their_order(tile: Tile) -> None:
    position, time, valid, velocity = draw_tracks(tile, SITES, plan(tracks=3), 0)
    assert isinstance(draw_tracks(tile, SITES, plan(tracks=3), 0), Tracks)
    assert position.shape == (3, 12, 2)
    assert time.shape == valid.shape == (3, 12)
    assert velocity.shape == (3, 12, 3)
