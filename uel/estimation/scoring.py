"""How every method is scored, on simulated and on measured reports: error, density and credible level at the truth,
CPU time.

`score` is the one loop over reports; `error_summary` and `density_summary` are the one summary of what it returns.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.estimation.estimates import Estimate, FixEstimate
from uel.measurement.reports import Reports

Q = TypeVar("Q", bound="Queries")


@runtime_checkable
class Queries(Protocol):
    """What a method is asked along the first axis: reports, tracks of reports, or likelihoods made of them."""

    def __len__(self) -> int: ...

    def __getitem__(self: Q, index: slice, /) -> Q: ...


EstimationMethod = Callable[[Reports], Estimate]


@dataclass(frozen=True, eq=False, repr=False)
class Scores(ShortRepr):
    """Scores of one method at true positions."""

    estimate: Float[Tensor, "n 2"]
    """m"""
    error: Float[Tensor, " n"]
    """m, horizontal"""
    nll: Float[Tensor, " n"] | None = None
    """negative log-density at the truth, nats for densities per m²; None for a method without a density"""
    hpd_level: Float[Tensor, " n"] | None = None
    """probability of the smallest (highest-density) region that holds the truth: uniform if the method is calibrated"""
    entropy: Float[Tensor, " n"] | None = None
    """nats, of the heatmap of a locator's fix"""
    cpu_ms: float | None = None
    """median CPU time of one report, to the position, over all threads; None where it was not measured"""

    @staticmethod
    def cat(parts: Sequence["Scores"]) -> "Scores":
        """The scores of all parts, without a CPU time."""
        columns = {}
        for name in (field.name for field in fields(Scores) if field.name != "cpu_ms"):
            values = [getattr(part, name) for part in parts]
            columns[name] = None if any(value is None for value in values) else torch.cat(values)
        return Scores(**columns)


def score(
    method: Callable[[Q], Estimate],
    queries: Q,
    position: Float[Tensor, "n 2"],
    *,
    reports_per_call: int,
    generator: torch.Generator | None = None,
    timed_reports: int = 0,
) -> Scores:
    """Scores of a method at the true positions of reports, or of the ends of tracks.

    Args:
        method: from some reports to their estimate.
        queries: all reports (or tracks), one leading axis of n.
        position: (n, 2), true positions in metres.
        reports_per_call: reports that the method gets at once. It bounds memory.
        generator: draws for credible levels, call after call. Without one there are no levels.
        timed_reports: of so many first reports, one at a time, the CPU time is measured.

    Returns:
        `Scores` of n reports.

    Example:
        >>> import torch
        >>> from uel.estimation.estimates import PointEstimate
        >>> guess = lambda levels: PointEstimate(torch.zeros(len(levels), 2))  # whatever was reported
        >>> truth = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
        >>> score(guess, torch.zeros(3, 1), truth, reports_per_call=2).error.tolist()
        [5.0, 1.0, 10.0]
    """
    with torch.no_grad():
        parts = []
        for start in range(0, len(queries), reports_per_call):
            part = slice(start, start + reports_per_call)
            parts.append(score_estimate(method(queries[part]), position[part], generator))
        scores = Scores.cat(parts)
        cpu_ms = _median_cpu_ms(method, queries, timed_reports) if timed_reports else None
    return replace(scores, cpu_ms=cpu_ms)


def score_estimate(
    estimate: Estimate, position: Float[Tensor, "n 2"], generator: torch.Generator | None = None
) -> Scores:
    """Scores of an estimate that is already there; see `score`."""
    log_density = estimate.log_density(position)
    return Scores(
        estimate.position,
        position_error(estimate.position, position),
        None if log_density is None else -log_density,
        None if generator is None else estimate.hpd_level(position, generator),
        estimate.fix.entropy() if isinstance(estimate, FixEstimate) else None,
    )


def _median_cpu_ms(method: Callable[[Q], Estimate], queries: Q, count: int) -> float:
    cpu_ms = []
    for index in range(min(count, len(queries))):
        start = time.process_time()
        method(queries[index : index + 1]).position  # noqa: B018  (estimates are lazy)
        cpu_ms.append(1000 * (time.process_time() - start))
    return float(torch.tensor(cpu_ms, dtype=torch.double, device="cpu").quantile(0.5))


# ---- statistics ----------------------------------------------------------------------------------------


def position_error(estimate: Float[Tensor, "n 2"], truth: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Horizontal distance in metres."""
    return (estimate - truth).norm(dim=-1)


def error_summary(error: Float[Tensor, " n"], *, lower_median: bool = False) -> dict[str, float]:
    """Median, 67th and 95th percentile and mean of position errors in metres, and their number.

    `lower_median`: of an even number of errors the lower one of the middle two is the median, not their mean. Logs of
    trainings and results of drive tests have always been written so.
    """
    p50, p67, p95 = error.quantile(error.new_tensor([0.50, 0.67, 0.95])).tolist()
    p50 = float(error.median()) if lower_median else p50
    return {"p50_m": p50, "p67_m": p67, "p95_m": p95, "mean_m": float(error.mean()), "n": len(error)}


def density_summary(scores: Scores) -> dict[str, float]:
    """Mean negative log-density in nats, and the fractions of positions inside the 50 % and the 90 % regions."""
    assert scores.nll is not None, "the method has no density"
    assert scores.hpd_level is not None, "the method has no density"
    covered = {f"cover{p}": coverage(scores.hpd_level, p / 100) for p in (50, 90)}
    return {"nll": float(scores.nll.mean()), **covered}


def coverage(hpd_level: Float[Tensor, " n"], probability: float) -> float:
    """Fraction of true positions inside their region of a given probability."""
    return float((hpd_level <= probability).double().mean())


def bootstrap(
    parts: Sequence[Tensor],
    statistic: Callable[[Tensor], float],
    seed: int = 0,
    draws: int = 200,
    confidence: float = 0.9,
) -> tuple[float, float]:
    """Percentile interval of a statistic when whole parts (deployments, blocks of ground) are resampled (Efron 1979).

    Phones of one deployment have its sites and its map in common: they are no independent samples, deployments are, and
    within one deployment blocks rather than phones. Parts are joined along their first axis. A single part has no
    interval: both ends are the statistic.
    """
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(parts), (draws, len(parts)), generator=generator, device=generator.device).tolist()
    values = torch.tensor(
        [statistic(torch.cat([parts[i] for i in pick])) for pick in picks], dtype=torch.double, device="cpu"
    )
    low, high = values.quantile(
        torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.double, device="cpu")
    ).tolist()
    return low, high
