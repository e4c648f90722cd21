"""Features of links do not depend on where north is."""

import torch

from tests.helpers.districts import random_network, turned
from uel.prediction.learned_maps.link_features import LINK_FEATURES, PATCH_MIRROR, PATCH_POINTS, LinkFeatures

LINK = torch.cartesian_prod(torch.arange(60), torch.arange(6))


def features_of(network):
    square, cell = LINK.unbind(1)
    place = cell, network.row[square], network.column[square]
    return LinkFeatures(network).of(*place), LinkFeatures(network).heights_around(*place)


def test_a_turned_district_has_the_same_features():
    network = random_network()
    features, heights = features_of(network)
    turned_features, turned_heights = features_of(turned(network))
    assert features.shape == (len(LINK), len(LINK_FEATURES))
    # A point on the border of two pixels may fall on either side of it.
    assert (torch.isclose(features, turned_features, atol=1e-2).all(0).sum()) >= len(LINK_FEATURES) - 12
    assert torch.isclose(features, turned_features, atol=1e-2).float().mean() > 0.99
    assert (heights == turned_heights).float().mean() > 0.98


def test_features_are_finite_also_for_an_antenna_at_the_square_and_one_far_off():
    network = random_network()
    network.cells.position[0] = network.position[0]
    network.cells.position[1] = torch.tensor([6000.0, -100.0])
    features, heights = features_of(network)
    assert features.isfinite().all()
    assert heights.isfinite().all()


def test_the_mirror_image_exchanges_right_and_left():
    along, across = PATCH_POINTS.unbind(1)
    assert torch.equal(along[PATCH_MIRROR], along)
    assert torch.equal(across[PATCH_MIRROR], -across)


def test_a_wall_towards_the_antenna_is_ahead():
    network = random_network()
    network.rasters.building_known[:] = True
    network.rasters.building_height[:] = 0
    network.rasters.building_height[24:26, :] = 20.0  # y from 20 to 30 m
    network.cells.position[0] = torch.tensor([2.5, 90.0])
    square = torch.tensor([20]), torch.tensor([20])  # at (2.5, 2.5)
    heights = LinkFeatures(network).heights_around(torch.tensor([0]), *square)[0]
    assert set(PATCH_POINTS[heights == 1, 0].tolist()) == {20.0}
    assert int((heights == 1).sum()) == 11
    named = dict(zip(LINK_FEATURES, LinkFeatures(network).of(torch.tensor([0]), *square)[0].tolist(), strict=True))
    assert named["first_building"] == 20.0
    assert named["free_towards"] == 20.0
    assert named["law_rank"] < 6
