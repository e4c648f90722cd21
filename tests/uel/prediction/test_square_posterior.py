"""Answers and regions of posteriors on squares."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.measured_networks import toy_network
from uel.core.grid import Grid
from uel.errors import UelError
from uel.prediction.config import PlaceWeights
from uel.prediction.square_posterior import SquareEstimate, Squares


def squares_of(count=12, built=()):
    possible = torch.ones(count, count, dtype=torch.bool)
    for row, column in built:
        possible[row, column] = False
    return Squares(Grid(size=5.0 * count, pixel=5.0), possible)


def estimate(squares, weight, answer="median"):
    return SquareEstimate(squares, weight / weight.sum(1, keepdim=True), answer)


def test_the_mass_around_a_square_is_a_sum_over_a_disc():
    squares = squares_of(built=((3, 4), (0, 0)))
    probability = torch.rand(2, len(squares), generator=torch.Generator().manual_seed(0))
    near = torch.cdist(squares.position, squares.position) <= 12.0
    torch.testing.assert_close(squares.mass_around(probability, 12.0), probability @ near.float(), atol=1e-4, rtol=0)


def test_each_answer_is_what_it_says():
    squares = squares_of(count=60)
    weight = torch.zeros(1, len(squares))
    group = (squares.position - torch.tensor([-100.0, 0.0])).norm(dim=1) < 30.0
    lone = (squares.position - torch.tensor([142.5, 2.5])).norm(dim=1) < 1.0
    weight[0, group] = 0.6 / int(group.sum())
    weight[0, lone] = 0.4
    mean, median, surroundings = (
        estimate(squares, weight, name).position[0] for name in ("mean", "median", "most-probable-surroundings")
    )
    torch.testing.assert_close(mean, weight[0] @ squares.position)
    assert float((median - torch.tensor([-100.0, 0.0])).norm()) < 30.0
    assert float(squares.mass_around(weight, 50.0).amax()) == pytest.approx(0.6, abs=1e-3)
    assert float((surroundings - torch.tensor([-100.0, 0.0])).norm()) <= 30.0


def test_the_density_integrates_to_one_and_is_0_where_no_phone_can_be():
    squares = squares_of(built=((2, 2),))
    uniform = estimate(squares, torch.ones(1, len(squares)))
    free, built = squares.grid.centres()[5, 5][None], squares.grid.centres()[2, 2][None]
    assert float(uniform.log_density(free).exp()) * len(squares) * 25.0 == pytest.approx(1.0)
    assert float(uniform.log_density(built)) < -80.0
    assert float(uniform.hpd_level(built, torch.Generator())) == 1.0


def test_credible_levels_of_drawn_places_are_uniform():
    squares = squares_of()
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(1, len(squares), generator=generator) ** 3
    number = torch.multinomial(weight[0], 2000, replacement=True, generator=generator)
    posterior = estimate(squares, weight.expand(2000, -1))
    level = posterior.hpd_level(squares.position[number], generator)
    assert float((level <= 0.9).float().mean()) == pytest.approx(0.9, abs=0.02)


def test_squares_are_outdoors_around_the_reports():
    network = toy_network(squares=30)
    network.rasters.building_height[10:20] = 9.0
    possible = Squares.outdoors(network).possible
    rows = (int(network.row.min()), int(network.row.max()))
    expected = torch.zeros_like(possible)
    expected[rows[0] : rows[1] + 1, int(network.column.min()) : int(network.column.max()) + 1] = True
    expected[10:20] = False
    assert torch.equal(possible, expected)


def test_squares_of_unknown_height_are_possible_unless_known_ones_are_asked_for():
    network = toy_network(squares=30)
    network.rasters.building_known[:] = False
    network.rasters.building_known[network.row, network.column] = True
    known, every = (Squares.outdoors(network, known_alone).possible for known_alone in (True, False))
    assert int(known.sum()) == len(torch.unique(torch.stack([network.row, network.column]), dim=1).T)
    assert bool((known <= every).all())
    assert int(every.sum()) > int(known.sum())


def test_a_district_without_heights_is_possible_everywhere_and_one_of_buildings_nowhere():
    network = toy_network(squares=30)
    network.rasters.building_known[:] = False
    assert Squares.outdoors(network).possible.any()
    network.rasters.building_known[:] = True
    network.rasters.building_height[:] = 9.0
    with pytest.raises(UelError, match="no outdoor square"):
        Squares.outdoors(network)


def test_the_prior_follows_the_labels_on_ways():
    network = toy_network(squares=400)
    way = torch.zeros(network.grid.shape, dtype=torch.bool)
    way[::8] = True
    network = replace(network, rasters=replace(network.rasters, way=way))
    squares = Squares.outdoors(network)
    on_way = way.flatten()[squares.index]
    labels = network.select(way[network.row, network.column])  # all of them on ways
    weights = PlaceWeights(way=2.0, prior_labels=10.0)
    prior = squares.prior(labels, weights)
    expected = 2 * float(on_way.sum()) / (2 * float(on_way.sum()) + float((~on_way).sum()))
    share = (10.0 * expected + len(labels)) / (10.0 + len(labels))
    assert float(prior.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(prior[on_way].sum()) == pytest.approx(share, abs=1e-4)
