"""Scores of fixes in a district: errors, log density and cover of credible regions, with and without the network."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.estimation.grid_posterior import geometric_median
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.predictor import MapPredictor, PredictedDistrict

SCORED_REPORTS = 500  # of a district at most
REPORTS_PER_BATCH = 20
METHODS = {"learned": False, "locator": True}  # whether the network corrects grid Bayes


def score_fixes(
    predictor: MapPredictor, district: PredictedDistrict, network: MeasuredNetwork, seed: int
) -> dict[str, dict[str, float]]:
    """By method, the scores of fixes of judged squares that are drawn with `seed`."""
    judged = network.is_judged.nonzero()[:, 0]
    drawn = judged[torch.randperm(len(judged), generator=torch.Generator().manual_seed(seed))[:SCORED_REPORTS]]
    truth, scores = network.position[drawn], {}
    for name, corrected in METHODS.items():
        parts = [
            _fix_scores(predictor, district, network, chosen, corrected) for chosen in drawn.split(REPORTS_PER_BATCH)
        ]
        error, nats, rank = torch.cat(parts, 1)
        p50, p67, p95 = error.quantile(torch.tensor([0.5, 0.67, 0.95])).tolist()
        scores[name] = {
            "p50_m": p50, "p67_m": p67, "p95_m": p95, "mean_m": float(error.mean()), "nats": float(nats.mean()),
            "cover_50": float((rank < 0.5).float().mean()), "cover_90": float((rank < 0.9).float().mean()),
            "reports": len(truth),
        }  # fmt: skip
    return scores


def _fix_scores(
    predictor: MapPredictor, district: PredictedDistrict, network: MeasuredNetwork, chosen: Tensor, corrected: bool
) -> Float[Tensor, "score report"]:
    """Error in metres, negative log density of the truth in nats (per m²), and the probability of likelier places."""
    reports = PaddedReports.of(network.level_dbm[chosen], network.is_reported[chosen])
    log_posterior, places = predictor.log_posterior(district, reports, corrected), district.places
    truth, posterior = network.position[chosen], log_posterior.exp()
    fix = geometric_median(places.position[None], posterior, smooth=1.0)
    area = places.squares * network.grid.pixel**2
    density = log_posterior - area.log()
    at_truth = density.gather(1, places.nearest(truth)[:, None])
    rank = torch.where(density > at_truth, posterior, 0.0).sum(1)
    return torch.stack([(fix - truth).norm(dim=1), -at_truth[:, 0], rank])
