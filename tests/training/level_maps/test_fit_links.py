"""The network of links learns a law of levels and who is named."""

import torch

from training.level_maps.config import LinkTrainingConfig
from training.level_maps.fit_links import fit_links, link_losses
from training.level_maps.link_samples import LinkSamples
from uel.models.config import LinkNetworkConfig
from uel.prediction.learned_maps.link_features import LINK_FEATURES, PATCH_SIZE
from uel.prediction.learned_maps.link_network import LinkPrediction


def law_samples(count: int, seed: int) -> LinkSamples:
    """Levels that fall with the first feature and rise with the height ahead; strong cells are named."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, len(LINK_FEATURES), generator=generator)
    heights = torch.rand(count, PATCH_SIZE, generator=generator)
    level = -92 - 8 * features[:, 0] + 2 * torch.randn(count, generator=generator)
    named = features[:, 0] + 0.2 * torch.randn(count, generator=generator) < 0
    return LinkSamples(
        features.half(), heights.half(), torch.where(named, level, 0.0), named, torch.full((count,), 4.0),
        torch.ones(count),
    )  # fmt: skip


def test_it_learns_a_law_with_its_error_bar():
    config = LinkTrainingConfig(steps=250, batch=256, network=LinkNetworkConfig(width=32, depth=1, dropout=0.0))
    network, unseen = fit_links(config, law_samples(4000, 1), 1, "test"), law_samples(2000, 2)
    with torch.no_grad():
        found = network(unseen.features.float(), unseen.heights.float())
    error = (found.mean_dbm - unseen.level_dbm)[unseen.is_reported]
    assert float(error.square().mean().sqrt()) < 3.5  # 2 dB of it are noise; the levels' own spread is 5 dB
    assert 1.0 < float(found.std_db[unseen.is_reported].median()) < 4.0
    right = (found.log_odds > 0) == unseen.is_reported
    assert float(right.float().mean()) > 0.85


def test_losses_in_closed_form():
    samples = law_samples(3, 1)
    named = torch.tensor([True, False, False])
    samples = LinkSamples(*[*vars(samples).values()][:3], named, samples.count, torch.tensor([1.0, 100.0, 3.0]))
    level = samples.level_dbm[0]
    flat = torch.full((3,), 5.0)
    predicted = LinkPrediction(level + torch.zeros(3), flat, torch.zeros(3), torch.zeros(3))
    cost, presence = link_losses(predicted, samples)
    at_peak = torch.distributions.StudentT(6.0, 0.0, 5.0).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(cost, -at_peak)
    torch.testing.assert_close(presence, torch.tensor(2.0).log())
