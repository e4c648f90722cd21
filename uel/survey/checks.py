"""Checks that every survey's links must pass, and statistics of a sample: excess range and line of sight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.constants import SPEED_OF_LIGHT
from uel.core.display.short_repr import ShortRepr
from uel.radio.antennas.gain import antenna_gain_db
from uel.radio.sites import cell_positions, require_sites
from uel.survey.sample import TileSample
from uel.survey.statistics import StreamingStatistics

FREE_SPACE_CHECK_DISTANCE = 50.0  # m: up to here reflections add little to the direct path
GAIN_TOLERANCE_DB = 0.01  # of a direct path; single precision holds some 1e-4 dB
ANTENNA_NULL_DB = -30.0  # antenna gain below which single precision is too coarse for a null's depth
RANGE_TOLERANCE = 0.01  # m, of an arrival; single precision holds some 1e-4 m of 1 km
THROUGH_WALL_EXCESS = 1.0  # m of excess range up to which a blocked link's first path counts as one through a wall
DISTANCE_BIN_WIDTH = 25.0  # m, bins of the line-of-sight fraction


@dataclass(frozen=True)
class SurveyCheck:
    """Result of one check; `passed` is None where the sample has no link to check."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, eq=False, repr=False)
class Links(ShortRepr):
    """Links of a sample, from the tile's cells to phones whose position is known in three dimensions."""

    distance: Float[Tensor, " link"]
    """m"""
    ground_distance: Float[Tensor, " link"]
    """m, horizontal"""
    known: Bool[Tensor, " link"]
    los: Bool[Tensor, " link"]
    antenna_db: Float[Tensor, " link"]
    """gain of the cell's antennas towards the phone"""
    excess_gain_db: Float[Tensor, " link"]
    """path gain over free space with these antennas, where `known`: from reflections (positive) or walls (negative)"""
    excess_range: Float[Tensor, " link"]
    """m, first arrival beyond the distance, where `known`"""
    has_direct_path: Bool[Tensor, " link"]
    """the direct path is among the stored ones"""
    direct_excess_db: Float[Tensor, " link"]
    """gain of the direct path over free space with these antennas, 0 without it"""

    @staticmethod
    def from_sample(sample: TileSample, position: Float[Tensor, "report 3"], known: Bool[Tensor, " report"]) -> "Links":
        """Links of phones at positions in metres, in double precision; phones without a `known` position are left
        out."""
        truth = sample.truth
        offset = position.unsqueeze(1) - cell_positions(sample.sites).double()
        distance = offset.norm(dim=-1)
        antenna = antenna_gain_db(sample.sites, offset / distance.unsqueeze(-1))
        free_space_db = friis_db(distance, require_sites(sample.sites).frequency) + antenna
        direct_db = sample.direct_gain_db()
        has_direct_path = direct_db > -torch.inf
        columns = {
            "distance": distance,
            "ground_distance": offset[..., :2].norm(dim=-1),
            "known": truth.known,
            "los": truth.los,
            "antenna_db": antenna,
            "excess_gain_db": torch.where(truth.known, truth.gain_db - free_space_db, 0.0),
            "excess_range": torch.where(truth.known, truth.delay.double() * SPEED_OF_LIGHT - distance, 0.0),
            "has_direct_path": has_direct_path,
            "direct_excess_db": torch.where(has_direct_path, direct_db - free_space_db, 0.0),
        }
        return Links(**{name: value[known].flatten() for name, value in columns.items()})

    @staticmethod
    def cat(parts: Sequence["Links"]) -> "Links":
        """All links of several tiles."""
        names = Links.__dataclass_fields__
        return Links(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    @property
    def in_antenna_null(self) -> Bool[Tensor, " link"]:
        """Whether the phone is in a null of the antennas."""
        return self.antenna_db < ANTENNA_NULL_DB

    @property
    def in_sight(self) -> Bool[Tensor, " link"]:
        """Whether the link is in line of sight and has a path."""
        return self.los & self.known

    @property
    def blocked(self) -> Bool[Tensor, " link"]:
        """Whether the link has a path but no line of sight."""
        return ~self.los & self.known


def friis_db(distance: Float[Tensor, "*n"], frequency: float) -> Float[Tensor, "*n"]:
    """Free-space path gain (λ / 4πd)² in dB (Friis, Proc. IRE 34, 1946); distance in metres, frequency in Hz."""
    return 20 * torch.log10(SPEED_OF_LIGHT / frequency / (4 * math.pi * distance))


# ---- checks --------------------------------------------------------------------------------------------


def survey_checks(links: Links, moments: dict[str, StreamingStatistics]) -> list[SurveyCheck]:
    """All checks: five of the sample's links, and whether all values are finite by the `moments` of each feature."""
    return [
        _finite(moments),
        _direct(links),
        _no_weaker(links),
        _in_sight(links),
        _los_arrivals(links),
        _no_early(links),
    ]


def _finite(moments: dict[str, StreamingStatistics]) -> SurveyCheck:
    not_finite = [name for name, m in moments.items() if not math.isfinite(m.mean + m.squares + m.least + m.greatest)]
    count = sum(m.count for m in moments.values())
    detail = f"{count:,} values of {len(moments)} features" + (f", not: {', '.join(not_finite)}" if not_finite else "")
    return SurveyCheck("all values are finite", not not_finite, detail)


def _direct(links: Links) -> SurveyCheck:
    checked = links.has_direct_path & ~links.in_antenna_null
    return _within("direct paths obey Friis' law", links.direct_excess_db[checked], GAIN_TOLERANCE_DB, "dB")


def _no_weaker(links: Links) -> SurveyCheck:
    excess_db = links.excess_gain_db[links.in_sight & ~links.in_antenna_null]
    name = "links in sight have the power of the direct path at least"
    if not len(excess_db):
        return SurveyCheck(name, None, "no link in sight")
    return SurveyCheck(
        name,
        bool(excess_db.min() >= -GAIN_TOLERANCE_DB),
        f"least {excess_db.min():+.4f} dB over free space, {len(excess_db):,} links",
    )


def _in_sight(links: Links) -> SurveyCheck:
    count, lost = int(links.los.sum()), int((links.los & ~links.known).sum())
    name = "links in sight have a path"
    return SurveyCheck(name, lost == 0 if count else None, f"{lost:,} of {count:,} have none")


def _los_arrivals(links: Links) -> SurveyCheck:
    return _within("links in sight arrive after distance / c", links.excess_range[links.in_sight], RANGE_TOLERANCE, "m")


def _no_early(links: Links) -> SurveyCheck:
    excess = links.excess_range[links.blocked]
    name = "no blocked link arrives before distance / c"
    if not len(excess):
        return SurveyCheck(name, None, "no blocked link")
    detail = f"least excess {excess.min():+.4f} m, {len(excess):,} links"
    return SurveyCheck(name, bool(excess.min() >= -RANGE_TOLERANCE), detail)


def _within(name: str, residual: Float[Tensor, " n"], limit: float, unit: str) -> SurveyCheck:
    """Check that no residual exceeds `limit`."""
    if not len(residual):
        return SurveyCheck(name, None, "no such link")
    size = residual.abs()
    detail = f"median {size.median():.1e} {unit}, greatest {size.max():.1e} {unit}, {len(size):,} links"
    return SurveyCheck(name, bool(size.max() <= limit), f"{detail}; at most {limit:g} {unit}")


# ---- distributions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Excess:
    """Excess ranges of blocked links, and the exponential distribution fitted to them."""

    count: int
    """blocked links"""
    mean: float
    """m, mean excess of all blocked links"""
    through: float
    """fraction that arrives within `THROUGH_WALL_EXCESS`, by a path straight through a wall"""
    scale: float
    """m, maximum-likelihood scale of an exponential distribution of the excess beyond `THROUGH_WALL_EXCESS` (its
    mean)"""
    misfit: float
    """greatest difference between its distribution function and the observed one (Kolmogorov)"""


def excess_statistics(links: Links) -> Excess:
    """Statistics of the excess ranges of blocked links; all 0 without such links."""
    excess = links.excess_range[links.blocked]
    late = (excess[excess > THROUGH_WALL_EXCESS] - THROUGH_WALL_EXCESS).sort().values
    if not len(late):
        return Excess(len(excess), float(excess.mean()) if len(excess) else 0.0, float(len(excess) > 0), 0.0, 0.0)
    scale = float(late.mean())
    model = -torch.expm1(-late / scale)
    step = torch.arange(len(late) + 1, dtype=model.dtype, device="cpu") / len(late)
    misfit = torch.maximum((model - step[:-1]).abs(), (model - step[1:]).abs()).max()
    return Excess(len(excess), float(excess.mean()), 1 - len(late) / len(excess), scale, float(misfit))


def los_fraction_by_distance(
    ground_distance: Float[Tensor, "*n"], los: Bool[Tensor, "*n"], width: float = DISTANCE_BIN_WIDTH
) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"], Float[Tensor, " bin"]]:
    """Centres of bins of horizontal distance (m), the fraction of links in sight in each, and the number of links.

    Bins without a link have fraction 0.
    """
    index = (ground_distance.flatten() / width).long()
    bins = int(index.max()) + 1 if len(index) else 0
    count = torch.bincount(index, minlength=bins).float()
    in_sight = torch.bincount(index, weights=los.flatten().float(), minlength=bins).float()
    return (torch.arange(bins, device="cpu") + 0.5) * width, in_sight / count.clamp(min=1), count


def los_probability_3gpp(ground_distance: Float[Tensor, "*n"], scenario: str) -> Float[Tensor, "*n"]:
    """Probability of line of sight outdoors at a horizontal distance in metres (TR 38.901, table 7.4.2-1).

    Scenario UMi (street canyon) or UMa, for phones up to 13 m above the ground.
    """
    decay = {"UMi": 36.0, "UMa": 63.0}[scenario]
    distance = ground_distance.clamp(min=18.0)
    return 18 / distance + torch.exp(-distance / decay) * (1 - 18 / distance)
