"""Maps of a district, and the file of the networks that make them."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.districts import random_network
from uel.errors import UelError
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.candidates import SQUARES_PER_BLOCK, Candidates
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork
from uel.prediction.learned_maps.link_features import LinkFeatures
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork
from uel.prediction.learned_maps.predictor import LEVEL_MAPS_FILE, MapPredictor, PredictedDistrict
from uel.prediction.square_posterior import Squares

NETWORK = random_network()


@pytest.fixture
def predictor() -> MapPredictor:
    torch.manual_seed(0)
    links = LinkEnsemble([LinkNetwork(LinkNetworkConfig(width=16, depth=1))]).eval()
    return MapPredictor(links, EvidenceNetwork(EvidenceNetworkConfig(width=8, depth=1)).eval())


def test_maps_are_the_predictions_of_single_links(predictor):
    district = PredictedDistrict.of(predictor.links, NETWORK, Squares.outdoors(NETWORK))
    features = LinkFeatures(NETWORK)
    for cell, place in ((0, 0), (5, 11), (2, 30)):
        link = torch.tensor([cell]), district.places.row[[place]], district.places.column[[place]]
        with torch.no_grad():
            alone = predictor.links(features.of(*link), features.heights_around(*link))
        torch.testing.assert_close(district.maps.mean_dbm[cell, place], alone.mean_dbm[0])
        torch.testing.assert_close(district.maps.log_odds[cell, place], alone.log_odds[0])


def test_places_are_the_outdoor_squares_in_blocks():
    squares = Squares.outdoors(NETWORK)
    places = Candidates.of(squares)
    assert float(places.squares.sum()) == len(squares)
    assert squares.possible[places.row, places.column].all()
    centre = (torch.stack([places.column, places.row], 1) + 0.5) * 5 - NETWORK.grid.size / 2
    assert (places.position - centre).abs().max() < SQUARES_PER_BLOCK * 5
    assert torch.equal(places.nearest(places.position), torch.arange(len(places)))


def test_a_saved_predictor_is_the_same(predictor, tmp_path):
    predictor.save(tmp_path)
    loaded = MapPredictor.load(tmp_path)
    district = PredictedDistrict.of(predictor.links, NETWORK, Squares.outdoors(NETWORK))
    reports = PaddedReports.of(NETWORK.level_dbm[:5], NETWORK.is_reported[:5])
    for corrected in (True, False):
        torch.testing.assert_close(
            loaded.log_posterior(district, reports, corrected), predictor.log_posterior(district, reports, corrected)
        )


def test_bad_folders_and_networks_are_refused(predictor, tmp_path):
    with pytest.raises(UelError, match="no learned maps"):
        MapPredictor.load(tmp_path)
    (tmp_path / LEVEL_MAPS_FILE).write_bytes(b"nothing")
    with pytest.raises(UelError, match="cannot be read"):
        MapPredictor.load(tmp_path)
    unlisted = replace(NETWORK, cells=replace(NETWORK.cells, is_listed=torch.arange(6) < 4))
    with pytest.raises(UelError, match="antennas of some cells"):
        PredictedDistrict.of(predictor.links, unlisted, Squares.outdoors(NETWORK))
