import numpy as np
import pytest
import torch

from explorer.analysis.accuracy import scenarios
from explorer.analysis.phone_trial import DrawnPhones, PhoneTrial
from explorer.map_view.tile_meshes import TileMesh
from tests.helpers.demo_run import SITES, make_tile
from uel.core.grid import Grid
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.radio.simulator import FreeSpace


def wall(start: tuple[float, float], end: tuple[float, float], height: float = 10.0) -> np.ndarray:
    """The two triangles of an upright wall."""
    (a, b), (c, d) = start, end
    low, high = [a, b, 0.0], [c, d, height]
    return np.array([[low, [c, d, 0.0], high], [low, high, [a, b, height]]])


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Tile:
    return Tile.open(make_tile(tmp_path_factory.mktemp("scenarios") / "tile"))


@pytest.fixture(scope="module")
def trial(tile) -> PhoneTrial:
    """Forty phones in free space, each 1 m farther off than the one before."""
    radio = FreeSpace(SITES, size=tile.size).radio_map(Grid(size=tile.size, pixel=4.0))
    generator = torch.Generator().manual_seed(0)
    position = (torch.rand(40, 2, generator=generator) - 0.5) * 400
    truth = radio.pixel_truth(position)
    reports = ObservationModel().observe(truth, torch.full((len(radio.gain),), 30.0), generator)
    speed = torch.tensor([0.0, 1.4, 8.0, 8.0]).repeat(10)
    phones = DrawnPhones(reports, position, reports.at_serving(truth.los), speed, torch.arange(40))
    error = torch.arange(40).float()
    return PhoneTrial(phones, position, error, error + 1, error / 40, error / 40, error)


EMPTY_MESH = TileMesh(np.zeros((0, 3, 3)), np.zeros(0, dtype=np.int64), ())


def test_each_group_holds_every_phone_once(trial, tile):
    labels = scenarios.phone_labels(trial, tile, SITES, EMPTY_MESH)
    assert [*labels] == ["serving cell", "cells heard", "distance to the mast", "surroundings", "speed"]
    assert all(len(of_phones) == 40 for of_phones in labels.values())
    found = scenarios.scenarios(trial, tile, SITES, EMPTY_MESH)
    assert found[0].error.tolist() == trial.error.tolist()
    speeds = {part.label: part for part in found if part.group == "speed"}
    assert [*speeds] == ["standing", "walking", "driving"]
    assert speeds["standing"].error.tolist() == list(range(0, 40, 4))
    assert (speeds["driving"].yardstick == speeds["driving"].error + 1).all()
    assert all(len(part.error) >= scenarios.MIN_PHONES for part in found)


def test_phones_that_do_not_move_have_no_speed(trial, tile):
    from dataclasses import replace

    standing = replace(trial, phones=replace(trial.phones, speed=None))
    assert "speed" not in scenarios.phone_labels(standing, tile, SITES, EMPTY_MESH)


def test_bins_hold_the_ends_that_their_labels_say():
    assert scenarios._binned(np.array([2, 3, 4, 5]), *scenarios.CELL_BINS, closed=True) == [
        "1–2 cells", "3–4 cells", "3–4 cells", "5 cells and more",
    ]  # fmt: skip
    assert scenarios._binned(np.array([99.9, 100.0, 300.0]), *scenarios.DISTANCE_BINS) == [
        "below 100 m", "100–200 m", "300 m and more",
    ]  # fmt: skip


def test_built_fraction_is_that_of_a_loop(tile):
    position = torch.tensor([[0.0, 0.0], [-255.0, 255.0], [100.0, -37.0]])
    found = scenarios.built_fraction(tile, position)
    centres = tile.raster_grid.centres().reshape(-1, 2)
    built = (tile.rasters["footprint"] > 0.5).reshape(-1)
    for place, fraction in zip(position, found, strict=True):
        near = ((centres - place).abs() <= scenarios.SURROUNDINGS_RADIUS + tile.raster_grid.pixel).all(-1)
        assert float(fraction) == pytest.approx(float(built[near].float().mean()), abs=0.05)


def test_the_nearest_wall_is_that_of_a_fine_sampling():
    generator = np.random.default_rng(0)
    ends = generator.uniform(-50, 50, (12, 2, 2))
    corner = np.concatenate([wall(tuple(a), tuple(b)) for a, b in ends])
    roof = np.array([[[-50.0, -50, 10], [50, -50, 10], [0, 50, 10]]])  # above all: no wall
    material = np.concatenate([np.repeat(np.arange(12) % 3, 2), [3]])
    mesh = TileMesh(np.concatenate([corner, roof]), material, ("itu_brick", "glass", "wood", "metal"))
    places = generator.uniform(-60, 60, (30, 2))
    share = np.linspace(0, 1, 2001)[:, None, None]
    points = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
    nearest = np.linalg.norm(points[:, None] - places[None, :, None], axis=-1).min(0).argmin(1)
    assert scenarios.nearest_wall_materials(mesh, places) == [("brick", "glass", "wood")[n % 3] for n in nearest]
    assert scenarios.nearest_wall_materials(EMPTY_MESH, places) == []


def test_the_serving_mast_is_as_far_as_it_is(trial):
    distance = scenarios.serving_distance(trial, SITES)
    masts = [site.position[:2] for site in SITES for _ in site.cells]
    for number in (0, 7, 39):
        mast = np.array(masts[int(trial.phones.reports.serving[number])])
        phone = trial.phones.position[number].numpy()
        assert float(distance[number]) == pytest.approx(np.linalg.norm(phone - mast), rel=1e-5)
