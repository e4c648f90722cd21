"""Masts that stand higher or lower than believed, found out by a ray tracer from levels whose places are known.

A mast some metres off its height lights other streets. Cells do not disturb each other in a map of gain, so all masts
are traced at once, each at some height, and of every mast the height is kept under which labelled levels of its cells
are likeliest, first every two metres, then every one, then every half. Thirteen maps are traced for a place.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.baselines import Place
from uel.radiomap import RadioMap
from uel.robust import CHUNK, DROPS, LADDER, DistanceLaw, fit_law, patched
from uel.sites import Site

log = logging.getLogger(__name__)

REACH = 8.0  # m either way
COARSE = 2.0  # m, the first step; halved twice
FINEST = 0.5
BELIEF = 3.0  # m, standard deviation of a height that is wrong, before anything is measured
SURE = math.log(9)  # nats: a mast is moved where nine to one speaks against its height, before it is as likely as not


@dataclass(frozen=True)
class MapTracer:
    """How maps are made of a place as it is believed to be."""

    trace: Callable[[tuple[Site, ...]], RadioMap]
    """the map of other masts, on the same grid"""
    least: tuple[float, ...]
    """z in metres below which each mast would stand inside its roof: it is not tried there"""


@dataclass(frozen=True)
class _Tried:
    """All masts moved at once."""

    off: Float[Tensor, " site"]
    """m above the believed heights"""
    radio: RadioMap
    score: Float[Tensor, " site"]
    """nats: how likely labelled levels of the site's cells are"""


def raised(place: Place, tracer: MapTracer) -> RadioMap:
    """The place's map with every mast, and all that its cells reach, at the height that labelled levels speak for.

    Masts keep their believed height, and their cells the map that was given, unless another one is surely likelier. The
    map's sites look where they are believed to look by now, however it was traced: height 0 is traced, too.
    """
    law = fit_law(place.fingerprints, place.fingerprint_position, place.radio, place.model)
    sites = place.radio.sites
    lowest = (torch.tensor(tracer.least) - torch.tensor([site.position[2] for site in sites])).clamp(max=0.0)

    def tried(off: Float[Tensor, " site"]) -> _Tried:
        off = off.maximum(lowest)
        log.info("tracing masts %s m higher", ", ".join(f"{by:+.1f}" for by in off.tolist()))
        radio = tracer.trace(moved(sites, off.tolist()))
        return _Tried(off, radio, _score(place, radio, law))

    given = _Tried(torch.zeros(len(sites)), place.radio, _score(place, place.radio, law))
    found = [tried(torch.full_like(given.off, off)) for off in _ladder()]
    step = COARSE
    while step > FINEST:
        step /= 2
        best = _likeliest(found)[0]
        found += [tried(best - step), tried(best + step)]
    _, which, odds = _likeliest(found)
    return _assembled([given, *found], torch.where(odds - given.score > SURE, which + 1, 0).tolist())


def moved(sites: tuple[Site, ...], by: Sequence[float]) -> tuple[Site, ...]:
    """Masts so many metres higher."""
    up = lambda site, off: replace(site, position=(*site.position[:2], site.position[2] + off)) if off else site  # noqa: E731
    return tuple(up(site, off) for site, off in zip(sites, by, strict=True))


def _ladder() -> list[float]:
    steps = round(REACH / COARSE)
    return [COARSE * k for k in range(-steps, steps + 1)]


def _likeliest(found: list[_Tried]) -> tuple[Float[Tensor, " site"], Int[Tensor, " site"], Float[Tensor, " site"]]:
    """Each site's likeliest height so far, where it was tried, and how likely levels are if the mast is at any of them.

    A spike and a slab (Mitchell and Beauchamp, 1988): the believed height alone, or a normal belief around it.
    """
    off, score = (torch.stack([getattr(one, name) for one in found]) for name in ("off", "score"))
    likely = score + (-(off / BELIEF).square() / 2).log_softmax(0)
    which = likely.argmax(0)
    return off.gather(0, which[None])[0], which, likely.logsumexp(0)


def _score(place: Place, radio: RadioMap, law: DistanceLaw) -> Float[Tensor, " site"]:
    """Log-likelihood in nats of labelled levels by site, each cell's fading being what of `LADDER` they like best."""
    reports, model = place.fingerprints, replace(place.model, cell_correlation=0.0)
    spots = patched(radio, law, DROPS[2], model).spots(place.fingerprint_position)
    limit, cells = model.censor_level(reports), range(len(radio.gain))
    total = torch.zeros(len(LADDER), len(cells))
    for part in torch.arange(len(reports)).split(CHUNK):
        for row, factor in enumerate(LADDER):
            wide = replace(model, shadowing_db=model.shadowing_db * factor)
            levels = wide.level_law(spots[part], place.power_dbm, map_error=True)
            each = [levels.of_cell(reports[part], limit[part, cell], cell)[..., 0] for cell in cells]
            total[row] += torch.stack([log_p.diagonal().sum() for log_p in each])
    site = torch.tensor(_sites_of(radio.sites))
    return torch.zeros(len(radio.sites)).index_add(0, site, total.amax(0))


def _assembled(found: list[_Tried], which: list[int]) -> RadioMap:
    """Each site's rows from the map that was traced of it at its height."""
    given = found[0].radio
    rows = [(cell, which[number]) for cell, number in enumerate(_sites_of(given.sites))]
    parts = {
        name: torch.stack([getattr(found[where].radio, name)[cell] for cell, where in rows])
        for name in ("gain", "relative_error", "known", "los")
    }
    sites = tuple(found[where].radio.sites[number] for number, where in enumerate(which))
    return replace(given, sites=sites, channels=None, **parts)


def _sites_of(sites: tuple[Site, ...]) -> list[int]:
    """The number of every cell's site."""
    return [number for number, site in enumerate(sites) for _ in site.cells]
