"""Masts that stand higher or lower than believed, found out by a ray tracer from levels whose places are known.

A mast some metres off its height lights other streets. Cells do not disturb each other in a map of gain, so all masts
are traced at once, each at some height, and of every mast the height is kept under which labelled levels of its cells
are likeliest: first every two metres, then every one, then every half. Thirteen maps of few rays, then one of many.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.adaptation.map_correction import MIN_LOG_ODDS
from uel.estimation.baselines import LocalizationProblem
from uel.estimation.robust_bayes import (
    DROPS_DB,
    REPORTS_PER_CHUNK,
    SCALE_FACTORS,
    PathLossModel,
    fill_unknown_pixels,
    fit_path_loss,
)
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site

log = logging.getLogger(__name__)

MAX_HEIGHT_OFFSET = 8.0  # m either way
COARSE_STEP = 2.0  # m, the first step; halved twice
FINEST_STEP = 0.5
OUTLIER_FRACTION = 0.1  # share of levels that a map of few rays is far off: whole paths are missing from it
SEARCH_RAY_FRACTION = 0.1  # share of a map's rays while heights are looked for
PRIOR_STD = 3.0  # m, standard deviation of a height that is wrong, before anything is measured


@dataclass(frozen=True)
class MapFactory:
    """How maps are made of a place as it is believed to be."""

    trace: Callable[[tuple[Site, ...], float], RadioMap]
    """the map of other masts, on the same grid, by some share of all rays"""
    least: tuple[float, ...]
    """z in metres below which each mast would stand inside its roof: it is not tried there"""


@dataclass(frozen=True)
class _HeightCandidate:
    """All masts moved at once."""

    off: Float[Tensor, " site"]
    """m above the believed heights"""
    radio: RadioMap
    score: Float[Tensor, " site"]
    """nats: how likely labelled levels of the site's cells are"""


def fit_mast_heights(place: LocalizationProblem, tracer: MapFactory) -> RadioMap:
    """The place's map with every mast, and all that its cells reach, at the height that labelled levels speak for.

    Cells keep the map that was given unless the one traced last is surely likelier: of a mast that was moved, or of one
    that stays but whose given map had few rays.
    """
    law = fit_path_loss(place.fingerprints, place.fingerprint_position, place.radio, place.model)
    sites = place.radio.sites
    lowest = (torch.tensor(tracer.least) - torch.tensor([site.position[2] for site in sites])).clamp(max=0.0)

    def tried(off: Float[Tensor, " site"], share: float = SEARCH_RAY_FRACTION) -> _HeightCandidate:
        off = off.maximum(lowest)
        log.info("tracing masts %s m higher", ", ".join(f"{by:+.1f}" for by in off.tolist()))
        radio = tracer.trace(with_height_offsets(sites, off.tolist()), share)
        return _HeightCandidate(off, radio, _score(place, radio, law))

    still = tried(torch.zeros(len(sites)))
    found = [still, *(tried(torch.full_like(still.off, off)) for off in _ladder())]
    step = COARSE_STEP
    while step > FINEST_STEP:
        step /= 2
        best, _ = _likeliest(found)
        found += [tried(best - step), tried(best + step)]
    best, odds = _likeliest(found)
    last = tried(torch.where(odds - still.score > MIN_LOG_ODDS, best, 0.0), share=1.0)
    return _either(place.radio, last.radio, last.score - _score(place, place.radio, law) > MIN_LOG_ODDS)


def with_height_offsets(sites: tuple[Site, ...], by: Sequence[float]) -> tuple[Site, ...]:
    """Masts so many metres higher."""
    up = lambda site, off: replace(site, position=(*site.position[:2], site.position[2] + off)) if off else site  # noqa: E731
    return tuple(up(site, off) for site, off in zip(sites, by, strict=True))


def _ladder() -> list[float]:
    steps = round(MAX_HEIGHT_OFFSET / COARSE_STEP)
    return [COARSE_STEP * k for k in range(-steps, steps + 1) if k]


def _likeliest(found: list[_HeightCandidate]) -> tuple[Float[Tensor, " site"], Float[Tensor, " site"]]:
    """Each site's likeliest height so far, and how likely levels are if the mast stands at any of those tried.

    A spike and a slab (Mitchell and Beauchamp, 1988): the believed height alone, or a normal belief around it.
    """
    off, score = (torch.stack([getattr(one, name) for one in found]) for name in ("off", "score"))
    likely = score + (-(off / PRIOR_STD).square() / 2).log_softmax(0)
    return off.gather(0, likely.argmax(0)[None])[0], likely.logsumexp(0)


def _score(place: LocalizationProblem, radio: RadioMap, law: PathLossModel) -> Float[Tensor, " site"]:
    """Log-likelihood in nats of labelled levels by site, each cell's fading being what of `SCALE_FACTORS` they like
    best."""
    reports = place.fingerprints
    model = replace(place.model, cell_correlation=0.0, level_outliers=max(OUTLIER_FRACTION, place.model.level_outliers))
    spots = fill_unknown_pixels(radio, law, DROPS_DB[2], model).samples_at(place.fingerprint_position)
    limit, cells = model.censoring_level(reports), range(len(radio.gain))
    total = torch.zeros(len(SCALE_FACTORS), len(cells))
    for part in torch.arange(len(reports)).split(REPORTS_PER_CHUNK):
        for row, factor in enumerate(SCALE_FACTORS):
            wide = replace(model, shadowing_db=model.shadowing_db * factor)
            levels = wide.rsrp_likelihood(spots[part], place.power_dbm, map_error=True)
            each = [levels.cell_log_likelihood(reports[part], limit[part, cell], cell)[..., 0] for cell in cells]
            total[row] += torch.stack([log_p.diagonal().sum() for log_p in each])
    site = torch.tensor(_sites_of(radio.sites))
    return torch.zeros(len(radio.sites)).index_add(0, site, total.amax(0))


def _either(given: RadioMap, traced: RadioMap, anew: Bool[Tensor, " site"]) -> RadioMap:
    """Each site and its cells as they were given, or as they were traced anew."""
    cell = anew[_sites_of(given.sites)][:, None, None]
    names = ("gain", "relative_error", "known", "los")
    parts = {name: torch.where(cell, getattr(traced, name), getattr(given, name)) for name in names}
    sites = tuple(b if new else a for a, b, new in zip(given.sites, traced.sites, anew.tolist(), strict=True))
    return replace(given, sites=sites, channels=None, **parts)


def _sites_of(sites: tuple[Site, ...]) -> list[int]:
    """The number of every cell's site."""
    return [number for number, site in enumerate(sites) for _ in site.cells]
