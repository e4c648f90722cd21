"""Mast heights estimated with a ray tracer from levels at known positions.

A mast some metres off its assumed height lights other streets. Cells do not disturb each other in a map of gain, so all
masts are traced at once, each at some height, and each mast gets the height under which labelled levels of its cells
are likeliest: first every two metres, then every one, then every half. Thirteen maps of few rays, then one of many.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.adaptation.map_correction import MIN_LOG_ODDS
from uel.core.display.short_repr import ShortRepr
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.robust_bayes import (
    DEFAULT_DROP_DB,
    REPORTS_PER_CHUNK,
    SCALE_FACTORS,
    PathLossModel,
    fill_unknown_pixels,
    fit_path_loss,
)
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site

log = logging.getLogger(__name__)

MAX_HEIGHT_OFFSET = 8.0  # m, up and down
COARSE_STEP = 2.0  # m, the first step; halved twice
FINEST_STEP = 0.5  # m
OUTLIER_FRACTION = 0.1  # of levels that a map of few rays is far off: whole paths are missing from it
SEARCH_RAY_FRACTION = 0.1  # of a map's rays during the search
PRIOR_STD = 3.0  # m, of the offset of a mast that has one


@dataclass(frozen=True)
class MapFactory:
    """Makes maps of a deployment with other mast heights."""

    trace: Callable[[tuple[Site, ...], float], RadioMap]
    """the map of other sites on the same grid, with a fraction of all rays"""
    min_mast_z: tuple[float, ...]
    """z in metres of each site's roof: lower masts are not tried"""


@dataclass(frozen=True, repr=False)
class _HeightCandidate(ShortRepr):
    """One map with all masts moved."""

    offset: Float[Tensor, " site"]
    """m above the assumed heights"""
    radio: RadioMap
    score: Float[Tensor, " site"]
    """nats: log-likelihood of the labelled levels of the site's cells"""


def fit_mast_heights(problem: LocalizationProblem, factory: MapFactory) -> RadioMap:
    """The problem's map with every site at the mast height under which labelled levels are likeliest.

    Cells keep the given map unless the one traced last is surely likelier: that of a mast that was moved, or of one
    that was not, but whose given map had few rays.
    """
    path_loss = fit_path_loss(problem.fingerprints, problem.fingerprint_position, problem.radio, problem.model)
    sites = problem.radio.sites
    lowest = (
        torch.tensor(factory.min_mast_z, device="cpu")
        - torch.tensor([site.position[2] for site in sites], device="cpu")
    ).clamp(max=0.0)

    def candidate(offset: Float[Tensor, " site"], ray_fraction: float = SEARCH_RAY_FRACTION) -> _HeightCandidate:
        offset = offset.maximum(lowest)
        log.info("tracing masts %s m higher", ", ".join(f"{metres:+.1f}" for metres in offset.tolist()))
        radio = factory.trace(with_height_offsets(sites, offset.tolist()), ray_fraction)
        return _HeightCandidate(offset, radio, _score(problem, radio, path_loss))

    unmoved = candidate(torch.zeros(len(sites), device="cpu"))
    candidates = [unmoved, *(candidate(torch.full_like(unmoved.offset, metres)) for metres in _coarse_offsets())]
    step = COARSE_STEP
    while step > FINEST_STEP:
        step /= 2
        best, _ = _best_offsets(candidates)
        candidates += [candidate(best - step), candidate(best + step)]
    best, log_evidence = _best_offsets(candidates)
    offset = torch.where(log_evidence - unmoved.score > MIN_LOG_ODDS, best, 0.0)
    last = candidate(offset, ray_fraction=1.0)
    is_likelier = last.score - _score(problem, problem.radio, path_loss) > MIN_LOG_ODDS
    return _replace_sites(problem.radio, last.radio, is_likelier)


def with_height_offsets(sites: tuple[Site, ...], offsets: Sequence[float]) -> tuple[Site, ...]:
    """The sites with masts that are `offsets` metres higher."""
    return tuple(
        replace(site, position=(*site.position[:2], site.position[2] + offset)) if offset else site
        for site, offset in zip(sites, offsets, strict=True)
    )


def _coarse_offsets() -> list[float]:
    steps = round(MAX_HEIGHT_OFFSET / COARSE_STEP)
    return [COARSE_STEP * k for k in range(-steps, steps + 1) if k]


def _best_offsets(candidates: list[_HeightCandidate]) -> tuple[Float[Tensor, " site"], Float[Tensor, " site"]]:
    """Each site's likeliest offset so far, and the log-evidence that the mast stands at any of those tried.

    A spike and a slab (Mitchell and Beauchamp, 1988): the assumed height alone, or a normal prior around it.
    """
    offset, score = (torch.stack([getattr(one, name) for one in candidates]) for name in ("offset", "score"))
    log_joint = score + (-(offset / PRIOR_STD).square() / 2).log_softmax(0)
    return offset.gather(0, log_joint.argmax(0)[None])[0], log_joint.logsumexp(0)


def _score(problem: LocalizationProblem, radio: RadioMap, path_loss: PathLossModel) -> Float[Tensor, " site"]:
    """Log-likelihood in nats of labelled levels by site, each cell with its likeliest fading of `SCALE_FACTORS`."""
    reports = problem.fingerprints
    model = replace(
        problem.model, cell_correlation=0.0, level_outliers=max(OUTLIER_FRACTION, problem.model.level_outliers)
    )
    filled = fill_unknown_pixels(radio, path_loss, DEFAULT_DROP_DB, model)
    samples = filled.samples_at(problem.fingerprint_position)
    limit, cells = model.censoring_level(reports), range(len(radio.gain))
    total = torch.zeros(len(SCALE_FACTORS), len(cells), device="cpu")
    for part in torch.arange(len(reports), device="cpu").split(REPORTS_PER_CHUNK):
        for row, factor in enumerate(SCALE_FACTORS):
            scaled = replace(model, shadowing_db=model.shadowing_db * factor)
            levels = scaled.rsrp_likelihood(samples[part], problem.power_dbm, map_error=True)
            log_p = [levels.cell_log_likelihood(reports[part], limit[part, c], c)[..., 0].diagonal() for c in cells]
            total[row] += torch.stack([of_cell.sum() for of_cell in log_p])
    site = torch.tensor(_site_index(radio.sites), device="cpu")
    return torch.zeros(len(radio.sites), device="cpu").index_add(0, site, total.amax(0))


def _replace_sites(given: RadioMap, traced: RadioMap, is_replaced: Bool[Tensor, " site"]) -> RadioMap:
    """The given map with some sites and their cells from the traced one."""
    cell = is_replaced[_site_index(given.sites)][:, None, None]
    names = ("gain", "relative_error", "known", "los")
    rasters = {name: torch.where(cell, getattr(traced, name), getattr(given, name)) for name in names}
    pairs = zip(given.sites, traced.sites, is_replaced.tolist(), strict=True)
    sites = tuple(new if replaced else old for old, new, replaced in pairs)
    return replace(given, sites=sites, channels=None, **rasters)


def _site_index(sites: tuple[Site, ...]) -> list[int]:
    """The index of every cell's site."""
    return [number for number, site in enumerate(sites) for _ in site.cells]
