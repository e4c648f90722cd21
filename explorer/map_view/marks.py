"""Marks on a map in m and colours; `deck_gl` draws them in 3-D, `plan_2d` in 2-D."""

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

MAX_DOTS = (
    2000  # points of one kind on a map; more are sampled, which the page says. Each takes 60 µs of WebGL in software
)
MAX_TRACKS = 300
UE_HEIGHT = 1.5  # m above the ground
SECTOR_LENGTH = 24.0  # m, length of a sector's wedge


@dataclass(frozen=True, kw_only=True, eq=False)
class PointMarks:
    """Round marks of one size on the screen."""

    name: str
    """letters and digits; pages see it when a mark is picked"""
    label: str
    """for the legend"""
    position: Float[np.ndarray, "n 3"]
    colour: RGB
    texts: Sequence[str]
    """of each mark, shown beside the pointer"""
    radius: float = 5.0
    """pixels"""
    ring: bool = False
    """hollow"""
    pickable: bool = False
    """can be clicked; in 3-D the marks lie on the ground, with `radius` in m"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineMarks:
    """Lines through points, each with a text."""

    name: str
    label: str
    points: Sequence[np.ndarray]
    """(corner, 3) in m each"""
    colours: Sequence[RGB]
    texts: Sequence[str]
    width: float = 2.0
    """pixels"""
    over: bool = True
    """visible through walls"""


@dataclass(frozen=True, kw_only=True, eq=False)
class AreaMarks:
    """Filled horizontal polygons."""

    name: str
    label: str
    points: Sequence[np.ndarray]
    colours: Sequence[RGB]
    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteMasts:
    """Masts from the ground up; 2-D maps do not draw them."""

    top: Float[np.ndarray, "n 3"]
    """m"""
    length: Float[np.ndarray, " n"]
    """m"""


@dataclass(frozen=True, kw_only=True, eq=False)
class MapMarks:
    """All marks over buildings and ground."""

    poles: Sequence[SiteMasts] = field(default_factory=list)
    dots: Sequence[PointMarks] = field(default_factory=list)
    lines: Sequence[LineMarks] = field(default_factory=list)
    areas: Sequence[AreaMarks] = field(default_factory=list)

    def __add__(self, other: "MapMarks") -> "MapMarks":
        """These marks with the other's above them."""
        kinds = (f.name for f in fields(self))
        return MapMarks(**{kind: [*getattr(self, kind), *getattr(other, kind)] for kind in kinds})


def on_ground(tile: Tile, position: Float[np.ndarray, "n 2"], height: float = UE_HEIGHT) -> Float[np.ndarray, "n 3"]:
    """Positions in 3-D, `height` m above the ground."""
    if not len(position):
        return np.zeros((0, 3))
    return tile.at_height(torch.from_numpy(np.asarray(position, dtype=np.float32)), height).double().numpy()


def site_marks(sites: tuple[Site, ...], tile: Tile, strong: int | None = None) -> MapMarks:
    """Masts, with sectors as wedges and omnidirectional cells as discs; the cell `strong` stands out."""
    wedges, colours, texts = [], [], []
    for number, (site, cell) in enumerate(cells_of(sites)):
        omni = cell.omnidirectional
        z = site.position[2]
        wedges.append(_wedge(site.position, None if omni else cell.azimuth_deg))
        colours.append(VERMILION if strong in (None, number) else GREY)
        pose = "omnidirectional" if omni else f"azimuth {cell.azimuth_deg:.0f}°, downtilt {cell.tilt_deg:.0f}°"
        kind = "" if cell.power_kind == "total" else f" {cell.power_kind}"
        own = f"\n{cell.label}" if cell.cell_id or cell.pci is not None or cell.name else ""
        texts.append(f"cell {number}: {pose}\n{cell.power_dbm:.0f} dBm{kind}, {z:.0f} m high{own}")
    top = np.array([site.position for site in sites], dtype=np.float64).reshape(-1, 3)
    masts = SiteMasts(top=top, length=top[:, 2] - on_ground(tile, top[:, :2], 0.0)[:, 2])
    return MapMarks(
        poles=[masts], areas=[AreaMarks(name="cells", label="cells", points=wedges, colours=colours, texts=texts)]
    )


def _wedge(position: tuple[float, float, float], azimuth_deg: float | None) -> np.ndarray:
    """Outline of a sector of 65° around a compass azimuth, or of a small disc."""
    x, y, z = position
    if azimuth_deg is None:
        angle, radius = np.linspace(0, 2 * math.pi, 25), 0.32 * SECTOR_LENGTH
        return np.column_stack([x + radius * np.sin(angle), y + radius * np.cos(angle), np.full(25, z)])
    angle = np.radians(azimuth_deg + np.linspace(-32.5, 32.5, 13))
    arc = np.column_stack([x + SECTOR_LENGTH * np.sin(angle), y + SECTOR_LENGTH * np.cos(angle), np.full(13, z)])
    return np.vstack([[x, y, z], arc, [x, y, z]])


def phone_dots(tile: Tile, position: Float[np.ndarray, "n 2"], seed: int = 0) -> tuple[PointMarks, np.ndarray, str]:
    """Marks of phones, at most `MAX_DOTS` drawn at random, their indices, and a caption."""
    chosen = np.arange(len(position))
    caption = f"{len(position)} phones"
    if len(position) > MAX_DOTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(position), MAX_DOTS, replace=False))
        caption = f"{MAX_DOTS} of {len(position)} phones, drawn at random"
    texts = [f"phone {n}" for n in chosen]
    position_3d = on_ground(tile, np.asarray(position)[chosen])
    dots = PointMarks(
        name="phones", label="phones", position=position_3d, colour=BLUE, texts=texts, radius=3.0, pickable=True
    )
    return dots, chosen, caption


def picked_dot(tile: Tile, position: Sequence[float]) -> PointMarks:
    position_3d = on_ground(tile, np.array([position]))
    texts = [f"picked position\n{position[0]:.1f} m east, {position[1]:.1f} m north"]
    return PointMarks(
        name="picked", label="picked position", position=position_3d, colour=TRUTH_COLOUR, texts=texts, radius=8.0
    )


def fix_marks(
    tile: Tile,
    truth: Sequence[float] | None,
    position: Sequence[float],
    limit: Sequence[float] | None,
    candidates: Sequence[tuple[Sequence[float], float, float]],
    refined: Sequence[float] | None = None,
) -> MapMarks:
    """Marks of the fix before and after refinement, of its candidates (position, probability, standard deviation in m),
    of the limit's position and of the true one.
    """
    dots = [_candidates(tile, candidates)] if candidates else []
    for name, label, xy, colour, size in (
        ("limit", "grid Bayes", limit, LIMIT_COLOUR, 7.0),
        ("truth", "true position", truth, TRUTH_COLOUR, 8.0),
        ("fix", "locator", position, LOCATOR_COLOUR, 8.0),
        ("refined", "refined", refined, REFINED_COLOUR, 6.0),
    ):
        if xy is not None:
            position_3d = on_ground(tile, np.array([xy]), UE_HEIGHT + 1.0)
            texts = [f"{label}\n{xy[0]:.1f} m east, {xy[1]:.1f} m north"]
            dots.append(
                PointMarks(name=name, label=label, position=position_3d, colour=colour, texts=texts, radius=size)
            )
    return MapMarks(dots=dots)


def _candidates(tile: Tile, candidates: Sequence[tuple[Sequence[float], float, float]]) -> PointMarks:
    texts = [f"candidate {n + 1}: {p:.0%}\n± {std:.0f} m" for n, (_, p, std) in enumerate(candidates)]
    position_3d = on_ground(tile, np.array([position for position, _, _ in candidates]), UE_HEIGHT + 0.5)
    return PointMarks(
        name="candidates", label="candidates", position=position_3d, colour=GREEN, texts=texts, radius=9.0, ring=True
    )


def region_lines(tile: Tile, polygons: Sequence[Sequence[Ring]], fraction: float, height: float = 2.0) -> LineMarks:
    """Outlines of the region that holds a fraction of the probability."""
    rings = [on_ground(tile, np.array(ring), height) for polygon in polygons for ring in polygon]
    colour = VERMILION if fraction <= 0.5 else ORANGE
    label, texts = f"{fraction:.0%} region", [f"{fraction:.0%} of the probability"] * len(rings)
    name = f"region{round(100 * fraction)}"
    return LineMarks(name=name, label=label, points=rings, colours=[colour] * len(rings), texts=texts, width=3.0)


def track_lines(tile: Tile, position: Float[np.ndarray, "n 2"], name: str, label: str, colour: RGB) -> LineMarks:
    """A line along a track on the ground."""
    return LineMarks(
        name=name, label=label, points=[on_ground(tile, position, 2.0)], colours=[colour], texts=[label], width=3.0
    )


def survey_lines(
    tile: Tile, position: Float[Tensor, "track report 2"], valid: Bool[Tensor, "track report"], seed: int = 0
) -> tuple[LineMarks, str]:
    """Lines along tracks of a survey, at most `MAX_TRACKS` drawn at random, and a caption."""
    longer = (valid.sum(-1) > 1).nonzero()[:, 0].numpy()
    chosen, caption = longer, f"{len(longer)} tracks"
    if len(longer) > MAX_TRACKS:
        chosen = np.sort(np.random.default_rng(seed).choice(longer, MAX_TRACKS, replace=False))
        caption = f"{MAX_TRACKS} of {len(longer)} tracks, drawn at random"
    points = [on_ground(tile, position[n][valid[n]].numpy(), 2.0) for n in chosen]
    texts = [f"track {n}" for n in chosen]
    lines = LineMarks(
        name="tracks", label="tracks", points=points, colours=[GREEN] * len(points), texts=texts, over=False
    )
    return lines, caption
