"""Error statistics of position estimates, in metres."""

import torch
from jaxtyping import Float
from torch import Tensor


def summary(error: Float[Tensor, " n"]) -> dict[str, float]:
    """Median, 67th and 95th percentile and mean of position errors in metres, and their number."""
    p50, p67, p95 = torch.quantile(error, torch.tensor([0.50, 0.67, 0.95], dtype=error.dtype)).tolist()
    return {"p50_m": p50, "p67_m": p67, "p95_m": p95, "mean_m": float(error.mean()), "n": len(error)}


def position_error(estimate: Float[Tensor, "n 2"], truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Horizontal distance in metres."""
    return (estimate - truth).norm(dim=-1)
