"""Test of the bridge in some ten seconds, printed as JSON: Friis' law, its gradient through Dr.Jit and torch, and two
radio maps whose answer is known."""

import json
import time

import torch

from uel.radio.simulator import FreeSpace, PathGain
from uel.radio.sites import Site


def run_selftest() -> dict[str, float]:
    """Relative errors of gain and of its gradient with respect to position, errors of maps, and the seconds it took."""
    from sim_bridge.diagnostics.map_check import map_errors
    from sim_bridge.simulator import TracingConfig, open_empty

    start = time.perf_counter()
    sites = (Site(position=(3.0, -2.0, 20.0)),)
    traced = open_empty(sites, TracingConfig(samples=100, chunk=2))
    gain, gradient = _gain_and_gradient(traced)
    expected, expected_gradient = _gain_and_gradient(FreeSpace(sites))
    return {
        "gain_error_rel": float(((gain - expected) / expected).abs().max()),
        "gradient_error_rel": float((gradient - expected_gradient).norm() / expected_gradient.norm()),
        **map_errors(),
        "seconds": time.perf_counter() - start,
    }


def _gain_and_gradient(simulator: PathGain) -> tuple[torch.Tensor, torch.Tensor]:
    position = torch.tensor([[40.0, 30.0, 1.5], [-100.0, 80.0, 10.0]], requires_grad=True, device="cpu")
    gain = simulator.path_gain(position)
    (gradient,) = torch.autograd.grad(gain.log().sum(), position)
    return gain.detach(), gradient


if __name__ == "__main__":
    print(json.dumps(run_selftest()))
