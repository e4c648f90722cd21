"""What a map shows, in metres and colours: drawn in three dimensions by `layers`, in two by `flat`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from explorer.style import (
    BLUE,
    GREEN,
    GREY,
    LIMIT_COLOUR,
    LOCATOR_COLOUR,
    ORANGE,
    REFINED_COLOUR,
    RGB,
    TRUTH_COLOUR,
    VERMILION,
)
from uel.estimation.credible_regions import Ring
from uel.geo.tile import Tile
from uel.radio.sites import Site, cells_of

MAX_DOTS = 2000  # of one kind on a map: more are sampled, which the page says; each is 60 µs of WebGL in software
MAX_TRACKS = 300
UE_HEIGHT = 1.5  # m above the ground
SECTOR_LENGTH = 24.0  # m, length of a sector's wedge


@dataclass(frozen=True, kw_only=True, eq=False)
class PointMarks:
    """Round marks of a size on the screen."""

    name: str
    """letters and digits: pages learn from it what was picked"""
    label: str
    """for the legend"""
    place: Float[np.ndarray, "n 3"]
    colour: RGB
    told: Sequence[str]
    """about each, shown beside the pointer"""
    radius: float = 5.0
    """pixels"""
    ring: bool = False
    """hollow"""
    pickable: bool = False
    """the many among which one is picked: in space they lie on the ground, `radius` in metres"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineMarks:
    """Lines through points; `told` of each."""

    name: str
    label: str
    points: Sequence[np.ndarray]
    """(corner, 3) in m each"""
    colours: Sequence[RGB]
    told: Sequence[str]
    width: float = 2.0
    """pixels"""
    over: bool = True
    """seen through walls"""


@dataclass(frozen=True, kw_only=True, eq=False)
class AreaMarks:
    """Filled polygons, level, each at a height."""

    name: str
    label: str
    points: Sequence[np.ndarray]
    colours: Sequence[RGB]
    told: Sequence[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteMasts:
    """Masts, from the ground up. A plan does not draw them: there they are points."""

    top: Float[np.ndarray, "n 3"]
    """m"""
    length: Float[np.ndarray, " n"]
    """m"""


@dataclass(frozen=True, kw_only=True, eq=False)
class MapMarks:
    """Everything drawn over buildings and ground."""

    poles: Sequence[SiteMasts] = field(default_factory=list)
    dots: Sequence[PointMarks] = field(default_factory=list)
    lines: Sequence[LineMarks] = field(default_factory=list)
    areas: Sequence[AreaMarks] = field(default_factory=list)

    def __add__(self, other: "MapMarks") -> "MapMarks":
        """The other's over these."""
        kinds = (f.name for f in fields(self))
        return MapMarks(**{kind: [*getattr(self, kind), *getattr(other, kind)] for kind in kinds})


def on_ground(tile: Tile, place: Float[np.ndarray, "n 2"], height: float = UE_HEIGHT) -> Float[np.ndarray, "n 3"]:
    """Places in three dimensions, `height` metres above the ground."""
    if not len(place):
        return np.zeros((0, 3))
    return tile.at_height(torch.from_numpy(np.asarray(place, dtype=np.float32)), height).double().numpy()


def site_marks(sites: tuple[Site, ...], tile: Tile, strong: int | None = None) -> MapMarks:
    """Masts, sectors as wedges and lone cells as discs; the cell `strong` stands out."""
    wedges, colours, told = [], [], []
    for number, (site, cell) in enumerate(cells_of(sites)):
        omni = len(site.cells) == 1 and cell.array.pattern != "tr38901"
        z = site.position[2]
        wedges.append(_wedge(site.position, None if omni else cell.azimuth_deg))
        colours.append(VERMILION if strong in (None, number) else GREY)
        pose = "omnidirectional" if omni else f"azimuth {cell.azimuth_deg:.0f}°, downtilt {cell.tilt_deg:.0f}°"
        told.append(f"cell {number}: {pose}\n{cell.power_dbm:.0f} dBm, {z:.0f} m high")
    top = np.array([site.position for site in sites], dtype=np.float64).reshape(-1, 3)
    masts = SiteMasts(top=top, length=top[:, 2] - on_ground(tile, top[:, :2], 0.0)[:, 2])
    return MapMarks(
        poles=[masts], areas=[AreaMarks(name="cells", label="cells", points=wedges, colours=colours, told=told)]
    )


def _wedge(position: tuple[float, float, float], azimuth_deg: float | None) -> np.ndarray:
    """65° around a compass azimuth, or a small disc."""
    x, y, z = position
    if azimuth_deg is None:
        angle, radius = np.linspace(0, 2 * math.pi, 25), 0.32 * SECTOR_LENGTH
        return np.column_stack([x + radius * np.sin(angle), y + radius * np.cos(angle), np.full(25, z)])
    angle = np.radians(azimuth_deg + np.linspace(-32.5, 32.5, 13))
    arc = np.column_stack([x + SECTOR_LENGTH * np.sin(angle), y + SECTOR_LENGTH * np.cos(angle), np.full(13, z)])
    return np.vstack([[x, y, z], arc, [x, y, z]])


def phone_dots(tile: Tile, place: Float[np.ndarray, "n 2"], seed: int = 0) -> tuple[PointMarks, np.ndarray, str]:
    """Phones, which of all they are, and what the page has to say when they are a sample."""
    chosen = np.arange(len(place))
    said = f"{len(place)} phones"
    if len(place) > MAX_DOTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(place), MAX_DOTS, replace=False))
        said = f"{MAX_DOTS} of {len(place)} phones, drawn at random"
    told = [f"phone {n}" for n in chosen]
    where = on_ground(tile, np.asarray(place)[chosen])
    dots = PointMarks(name="phones", label="phones", place=where, colour=BLUE, told=told, radius=3.0, pickable=True)
    return dots, chosen, said


def picked_dot(tile: Tile, place: Sequence[float]) -> PointMarks:
    where = on_ground(tile, np.array([place]))
    told = [f"picked place\n{place[0]:.1f} m east, {place[1]:.1f} m north"]
    return PointMarks(name="picked", label="picked place", place=where, colour=TRUTH_COLOUR, told=told, radius=8.0)


def fix_marks(
    tile: Tile,
    truth: Sequence[float] | None,
    position: Sequence[float],
    limit: Sequence[float] | None,
    candidates: Sequence[tuple[Sequence[float], float, float]],
    refined: Sequence[float] | None = None,
) -> MapMarks:
    """The answer before and after refinement, candidates (place, probability, standard deviation in m), the limit's
    answer, and the truth.
    """
    dots = [_candidates(tile, candidates)] if candidates else []
    for name, label, place, colour, size in (
        ("limit", "grid Bayes", limit, LIMIT_COLOUR, 7.0),
        ("truth", "truth", truth, TRUTH_COLOUR, 8.0),
        ("fix", "locator", position, LOCATOR_COLOUR, 8.0),
        ("refined", "refined", refined, REFINED_COLOUR, 6.0),
    ):
        if place is not None:
            where = on_ground(tile, np.array([place]), UE_HEIGHT + 1.0)
            told = [f"{label}\n{place[0]:.1f} m east, {place[1]:.1f} m north"]
            dots.append(PointMarks(name=name, label=label, place=where, colour=colour, told=told, radius=size))
    return MapMarks(dots=dots)


def _candidates(tile: Tile, candidates: Sequence[tuple[Sequence[float], float, float]]) -> PointMarks:
    told = [f"candidate {n + 1}: {p:.0%}\n± {std:.0f} m" for n, (_, p, std) in enumerate(candidates)]
    where = on_ground(tile, np.array([place for place, _, _ in candidates]), UE_HEIGHT + 0.5)
    return PointMarks(
        name="candidates", label="candidates", place=where, colour=GREEN, told=told, radius=9.0, ring=True
    )


def region_lines(tile: Tile, polygons: Sequence[Sequence[Ring]], share: float, height: float = 2.0) -> LineMarks:
    """Outlines of the region that holds a share of the probability."""
    rings = [on_ground(tile, np.array(ring), height) for polygon in polygons for ring in polygon]
    colour = VERMILION if share <= 0.5 else ORANGE
    label, told = f"{share:.0%} region", [f"{share:.0%} of the probability"] * len(rings)
    name = f"region{round(100 * share)}"
    return LineMarks(name=name, label=label, points=rings, colours=[colour] * len(rings), told=told, width=3.0)


def track_lines(tile: Tile, place: Float[np.ndarray, "n 2"], name: str, label: str, colour: RGB) -> LineMarks:
    """A way on the ground."""
    return LineMarks(
        name=name, label=label, points=[on_ground(tile, place, 2.0)], colours=[colour], told=[label], width=3.0
    )


def survey_lines(
    tile: Tile, place: Float[Tensor, "track report 2"], valid: Bool[Tensor, "track report"], seed: int = 0
) -> tuple[LineMarks, str]:
    """Tracks of a survey, and what the page has to say when they are a sample."""
    long = (valid.sum(-1) > 1).nonzero()[:, 0].numpy()
    chosen, said = long, f"{len(long)} tracks"
    if len(long) > MAX_TRACKS:
        chosen = np.sort(np.random.default_rng(seed).choice(long, MAX_TRACKS, replace=False))
        said = f"{MAX_TRACKS} of {len(long)} tracks, drawn at random"
    points = [on_ground(tile, place[n][valid[n]].numpy(), 2.0) for n in chosen]
    told = [f"track {n}" for n in chosen]
    lines = LineMarks(
        name="tracks", label="tracks", points=points, colours=[GREEN] * len(points), told=told, over=False
    )
    return lines, said
