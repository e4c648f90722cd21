"""What must hold of any survey's links, and what its numbers look like: statistics of a sample, each by itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.radio.antennas import antenna_gain_db
from uel.radio.sites import cell_positions, require_sites
from uel.survey.sample import TileSample
from uel.survey.statistics import StreamingStatistics

FREE_SPACE_CHECK_DISTANCE = (
    50.0  # m: whole links are compared with free space up to here, where reflections add least to the direct path
)
GAIN_TOLERANCE_DB = 0.01  # of a direct path, which single precision knows to some 1e-4 dB
ANTENNA_NULL_DB = -30.0  # antenna gain below which single precision does not know a null's depth so well
RANGE_TOLERANCE = 0.01  # m, of an arrival: single precision knows some 1e-4 m of 1 km
THROUGH_WALL_EXCESS = 1.0  # m of excess up to which a blocked link's first path is taken to go straight through a wall
DISTANCE_BIN_WIDTH = 25.0  # m, of the bins that shares of sight are counted in


@dataclass(frozen=True)
class SurveyCheck:
    """A verdict; `passed` is None where there is nothing to judge."""

    name: str
    passed: bool | None
    told: str


@dataclass(frozen=True, eq=False)
class Links:
    """Links of a sample, from the tile's cells to phones whose place is known in three dimensions."""

    distance: Float[Tensor, " link"]
    """m"""
    level: Float[Tensor, " link"]
    """m, horizontal"""
    known: Bool[Tensor, " link"]
    los: Bool[Tensor, " link"]
    antenna_db: Float[Tensor, " link"]
    """gain of the cell's antennas towards the phone"""
    over_db: Float[Tensor, " link"]
    """path gain over Friis' law and these antennas, where `known`: what reflections add, or walls take"""
    excess: Float[Tensor, " link"]
    """m, first arrival beyond the distance, where `known`"""
    direct: Bool[Tensor, " link"]
    """the direct path is among those that are kept"""
    direct_db: Float[Tensor, " link"]
    """its gain over Friis' law and these antennas"""

    @staticmethod
    def of(sample: TileSample, place: Float[Tensor, "report 3"], there: Bool[Tensor, " report"]) -> "Links":
        """Links of phones at places in metres; those whose place is not known are left out. In double precision."""
        truth = sample.truth
        way = place.unsqueeze(1) - cell_positions(sample.sites).double()
        distance = way.norm(dim=-1)
        antenna = antenna_gain_db(sample.sites, way / distance.unsqueeze(-1))
        law = friis_db(distance, require_sites(sample.sites).frequency) + antenna
        direct = sample.direct()
        alone = torch.where(direct, sample.values["path_gain_db"], -torch.inf).amax(-1)
        has = direct.any(-1)
        columns = {
            "distance": distance,
            "level": way[..., :2].norm(dim=-1),
            "known": truth.known,
            "los": truth.los,
            "antenna_db": antenna,
            "over_db": torch.where(truth.known, truth.gain_db - law, 0.0),
            "excess": torch.where(truth.known, truth.delay.double() * SPEED_OF_LIGHT - distance, 0.0),
            "direct": has,
            "direct_db": torch.where(has, alone - law, 0.0),
        }
        return Links(**{name: value[there].flatten() for name, value in columns.items()})

    @staticmethod
    def cat(parts: Sequence["Links"]) -> "Links":
        """Links of several tiles."""
        names = Links.__dataclass_fields__
        return Links(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    @property
    def deep(self) -> Bool[Tensor, " link"]:
        """Whether the phone is in a null of the antennas."""
        return self.antenna_db < ANTENNA_NULL_DB

    @property
    def seen(self) -> Bool[Tensor, " link"]:
        """In sight, with a path."""
        return self.los & self.known

    @property
    def blocked(self) -> Bool[Tensor, " link"]:
        """Out of sight, with a path."""
        return ~self.los & self.known


def friis_db(distance: Float[Tensor, "*n"], frequency: float) -> Float[Tensor, "*n"]:
    """(λ / 4πd)² in dB (Friis, Proc. IRE 34, 1946), distances in metres."""
    return 20 * torch.log10(SPEED_OF_LIGHT / frequency / (4 * math.pi * distance))


# ---- verdicts ------------------------------------------------------------------------------------------


def survey_checks(links: Links, moments: dict[str, StreamingStatistics]) -> list[SurveyCheck]:
    """Everything that must hold: of the sample's links, and of all values by the `moments` of each feature."""
    return [
        _finite(moments),
        _direct(links),
        _no_weaker(links),
        _in_sight(links),
        _los_arrivals(links),
        _no_early(links),
    ]


def _finite(moments: dict[str, StreamingStatistics]) -> SurveyCheck:
    wrong = [name for name, m in moments.items() if not math.isfinite(m.mean + m.squares + m.least + m.greatest)]
    count = sum(m.count for m in moments.values())
    told = f"{count:,} values of {len(moments)} features" + (f", not: {', '.join(wrong)}" if wrong else "")
    return SurveyCheck("all values are finite", not wrong, told)


def _direct(links: Links) -> SurveyCheck:
    shown = links.direct & ~links.deep
    return _within("direct paths obey Friis' law", links.direct_db[shown], GAIN_TOLERANCE_DB, "dB")


def _no_weaker(links: Links) -> SurveyCheck:
    over = links.over_db[links.seen & ~links.deep]
    name = "links in sight have the power of the direct path at least"
    if not len(over):
        return SurveyCheck(name, None, "no link in sight")
    return SurveyCheck(
        name, bool(over.min() >= -GAIN_TOLERANCE_DB), f"least {over.min():+.4f} dB over free space, {len(over):,} links"
    )


def _in_sight(links: Links) -> SurveyCheck:
    count, lost = int(links.los.sum()), int((links.los & ~links.known).sum())
    name = "links in sight have a path"
    return SurveyCheck(name, lost == 0 if count else None, f"{lost:,} of {count:,} have none")


def _los_arrivals(links: Links) -> SurveyCheck:
    return _within("links in sight arrive after distance / c", links.excess[links.seen], RANGE_TOLERANCE, "m")


def _no_early(links: Links) -> SurveyCheck:
    excess = links.excess[links.blocked]
    name = "no blocked link arrives before distance / c"
    if not len(excess):
        return SurveyCheck(name, None, "no blocked link")
    told = f"least excess {excess.min():+.4f} m, {len(excess):,} links"
    return SurveyCheck(name, bool(excess.min() >= -RANGE_TOLERANCE), told)


def _within(name: str, residual: Float[Tensor, " n"], most: float, unit: str) -> SurveyCheck:
    """Whether all residuals are small."""
    if not len(residual):
        return SurveyCheck(name, None, "no such link")
    size = residual.abs()
    told = f"median {size.median():.1e} {unit}, greatest {size.max():.1e} {unit}, {len(size):,} links"
    return SurveyCheck(name, bool(size.max() <= most), f"{told}; at most {most:g} {unit}")


# ---- distributions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Excess:
    """How late blocked links arrive."""

    count: int
    """blocked links"""
    mean: float
    """m, of them all"""
    through: float
    """share that arrives within `THROUGH_WALL_EXCESS`, by a path straight through a wall"""
    scale: float
    """m, of an exponential law of what lies beyond: the most likely one, which is the mean"""
    misfit: float
    """greatest difference between that law's distribution function and the observed one (Kolmogorov)"""


def excess_statistics(links: Links) -> Excess:
    """Excess ranges of blocked links, and the exponential law that fits best; all 0 without such links."""
    excess = links.excess[links.blocked]
    late = (excess[excess > THROUGH_WALL_EXCESS] - THROUGH_WALL_EXCESS).sort().values
    if not len(late):
        return Excess(len(excess), float(excess.mean()) if len(excess) else 0.0, float(len(excess) > 0), 0.0, 0.0)
    scale = float(late.mean())
    law = -torch.expm1(-late / scale)
    step = torch.arange(len(late) + 1, dtype=law.dtype) / len(late)
    misfit = torch.maximum((law - step[:-1]).abs(), (law - step[1:]).abs()).max()
    return Excess(len(excess), float(excess.mean()), 1 - len(late) / len(excess), scale, float(misfit))


def los_fraction_by_distance(
    level: Float[Tensor, "*n"], los: Bool[Tensor, "*n"], width: float = DISTANCE_BIN_WIDTH
) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"], Float[Tensor, " bin"]]:
    """Middles of bins of horizontal distance (m), and in each the share of links in sight and their number.

    Bins without a link have share 0.
    """
    index = (level.flatten() / width).long()
    bins = int(index.max()) + 1 if len(index) else 0
    count = torch.bincount(index, minlength=bins).float()
    seen = torch.bincount(index, weights=los.flatten().float(), minlength=bins).float()
    return (torch.arange(bins) + 0.5) * width, seen / count.clamp(min=1), count


def los_probability_3gpp(level: Float[Tensor, "*n"], scenario: str) -> Float[Tensor, "*n"]:
    """Probability of sight outdoors at a horizontal distance in metres (TR 38.901, table 7.4.2-1).

    Scenario UMi (street canyon) or UMa, for phones up to 13 m above the ground.
    """
    decay = {"UMi": 36.0, "UMa": 63.0}[scenario]
    far = level.clamp(min=18.0)
    return 18 / far + torch.exp(-far / decay) * (1 - 18 / far)
