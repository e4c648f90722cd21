"""Marks on a map in m and colours; `deck_gl` draws them in 3-D, `plan_2d` in 2-D."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from explorer.style import LOCATOR_COLOUR, PHONE_COLOUR, PICKED_COLOUR, RGB, Theme, cell_colour
from uel.estimation.credible_regions import Ring
from uel.geo.tile import Tile
from uel.radio.sites import Cell, Site, cells_of

MAX_DOTS = (
    2000  # points of one kind on a map; more are sampled, which the page says. Each takes 60 µs of WebGL in software
)
MAX_TRACKS = 300
UE_HEIGHT = 1.5  # m above the ground
SECTOR_LENGTH = 26.0  # m, length of a sector's wedge
SERVING_SCALE = 1.7  # of the serving cell's wedge
MIN_CANDIDATE_PROBABILITY = 0.01  # of candidates that are drawn


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
    radius: float | Sequence[float] = 5.0
    """pixels, of all marks or of each"""
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
    pickable: bool = False
    """has a hover card"""


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
class LabelMarks:
    """Short texts that face the reader, visible through walls."""

    name: str
    position: Float[np.ndarray, "n 3"]
    texts: Sequence[str]
    colours: Sequence[RGB]
    """of their grounds"""


@dataclass(frozen=True, kw_only=True, eq=False)
class MapMarks:
    """All marks over buildings and ground."""

    poles: Sequence[SiteMasts] = field(default_factory=list)
    dots: Sequence[PointMarks] = field(default_factory=list)
    lines: Sequence[LineMarks] = field(default_factory=list)
    areas: Sequence[AreaMarks] = field(default_factory=list)
    labels: Sequence[LabelMarks] = field(default_factory=list)

    def __add__(self, other: "MapMarks") -> "MapMarks":
        """These marks with the other's above them."""
        kinds = (f.name for f in fields(self))
        return MapMarks(**{kind: [*getattr(self, kind), *getattr(other, kind)] for kind in kinds})


def on_ground(tile: Tile, position: Float[np.ndarray, "n 2"], height: float = UE_HEIGHT) -> Float[np.ndarray, "n 3"]:
    """Positions in 3-D, `height` m above the ground."""
    if not len(position):
        return np.zeros((0, 3))
    return tile.at_height(torch.from_numpy(np.asarray(position, dtype=np.float32)), height).double().numpy()


def site_marks(sites: tuple[Site, ...], tile: Tile, serving: int | None = None) -> MapMarks:
    """Masts, with sectors as wedges and omnidirectional cells as discs, each in its cell's colour and with its number;
    the serving cell is larger."""
    wedges, colours, texts, middles = [], [], [], []
    for number, (site, cell) in enumerate(cells_of(sites)):
        omni = cell.omnidirectional
        length = SECTOR_LENGTH * (SERVING_SCALE if number == serving else 1.0)
        wedge = _wedge(site.position, None if omni else cell.azimuth_deg, length)
        wedges.append(wedge)
        middles.append(np.array(site.position) if omni else wedge[1:-1].mean(0))
        colours.append(cell_colour(number))
        texts.append(_cell_text(number, site, cell, number == serving))
    top = np.array([site.position for site in sites], dtype=np.float64).reshape(-1, 3)
    masts = SiteMasts(top=top, length=top[:, 2] - on_ground(tile, top[:, :2], 0.0)[:, 2])
    areas = AreaMarks(name="cells", label="cells", points=wedges, colours=colours, texts=texts)
    return MapMarks(poles=[masts], areas=[areas], labels=[_numbers(middles, colours)])


def _numbers(middles: Sequence[np.ndarray], colours: Sequence[RGB]) -> LabelMarks:
    """The numbers of cells, those of cells at one position side by side."""
    cells: dict[tuple[float, ...], list[int]] = {}
    for number, middle in enumerate(middles):
        cells.setdefault(tuple(middle.round(1).tolist()), []).append(number)
    return LabelMarks(
        name="numbers",
        position=np.array(list(cells), dtype=np.float64).reshape(-1, 3),
        texts=[" ".join(map(str, numbers)) for numbers in cells.values()],
        colours=[colours[numbers[0]] for numbers in cells.values()],
    )


def _cell_text(number: int, site: Site, cell: Cell, is_serving: bool) -> str:
    """The hover card of a cell; its first line is the title."""
    pose = "omnidirectional" if cell.omnidirectional else f"azimuth {cell.azimuth_deg:.0f}°, tilt {cell.tilt_deg:.0f}°"
    kind = "" if cell.power_kind == "total" else f" {cell.power_kind}"
    own = f"\n{cell.label}" if cell.cell_id or cell.pci is not None or cell.name else ""
    title = f"Cell {number}{', serving' if is_serving else ''}"
    return f"{title}\n{pose}\n{cell.power_dbm:.0f} dBm{kind}, antenna at {site.position[2]:.0f} m{own}"


def _wedge(position: tuple[float, float, float], azimuth_deg: float | None, length: float) -> np.ndarray:
    """Outline of a sector of 65° around a compass azimuth, or of a small disc."""
    x, y, z = position
    if azimuth_deg is None:
        angle, radius = np.linspace(0, 2 * math.pi, 25), 0.32 * length
        return np.column_stack([x + radius * np.sin(angle), y + radius * np.cos(angle), np.full(25, z)])
    angle = np.radians(azimuth_deg + np.linspace(-32.5, 32.5, 13))
    arc = np.column_stack([x + length * np.sin(angle), y + length * np.cos(angle), np.full(13, z)])
    return np.vstack([[x, y, z], arc, [x, y, z]])


def phone_dots(tile: Tile, position: Float[np.ndarray, "n 2"], seed: int = 0) -> tuple[PointMarks, np.ndarray, str]:
    """Marks of phones, at most `MAX_DOTS` drawn at random, their indices, and a caption."""
    chosen = np.arange(len(position))
    caption = f"{len(position)} phones"
    if len(position) > MAX_DOTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(position), MAX_DOTS, replace=False))
        caption = f"{MAX_DOTS} of {len(position)} phones, drawn at random"
    position_3d = on_ground(tile, np.asarray(position)[chosen])
    texts = [f"Phone {n}\n{x:.0f} m east, {y:.0f} m north" for n, (x, y, _) in zip(chosen, position_3d, strict=True)]
    dots = PointMarks(
        name="phones", label="phones", position=position_3d, colour=PHONE_COLOUR, texts=texts, radius=3.0, pickable=True
    )
    return dots, chosen, caption


def picked_dot(tile: Tile, position: Sequence[float]) -> PointMarks:
    position_3d = on_ground(tile, np.array([position]))
    texts = [f"Picked position\n{position[0]:.1f} m east, {position[1]:.1f} m north"]
    return PointMarks(
        name="picked", label="picked position", position=position_3d, colour=PICKED_COLOUR, texts=texts, radius=8.0
    )


def fix_marks(
    tile: Tile,
    theme: Theme,
    truth: Sequence[float] | None,
    position: Sequence[float],
    limit: Sequence[float] | None,
    candidates: Sequence[tuple[Sequence[float], float, float]],
    unrefined: Sequence[float] | None = None,
) -> MapMarks:
    """Marks of a fix, of the same before refinement, of grid Bayes' position, of candidates (position, probability,
    standard deviation in m), and of the true position with a line to the fix.
    """
    likely = [candidate for candidate in candidates if candidate[1] >= MIN_CANDIDATE_PROBABILITY]
    dots = [_candidates(tile, likely)] if likely else []
    for name, label, xy, colour, size, ring in (
        ("limit", "Grid Bayes", limit, theme.ink_rgb, 8.0, True),
        ("unrefined", "Fix before refinement", unrefined, LOCATOR_COLOUR, 11.0, True),
        ("truth", "True position", truth, PHONE_COLOUR, 7.0, False),
        ("fix", "Fix", position, LOCATOR_COLOUR, 7.0, False),
    ):
        if xy is not None:
            position_3d = on_ground(tile, np.array([xy]), UE_HEIGHT + 1.0)
            texts = [f"{label}\n{xy[0]:.1f} m east, {xy[1]:.1f} m north"]
            marks = PointMarks(
                name=name, label=label, position=position_3d, colour=colour, texts=texts, radius=size, ring=ring
            )
            dots.append(marks)
    lines = []
    if truth is not None:
        ends = on_ground(tile, np.array([truth, position]), UE_HEIGHT + 1.0)
        text = f"Error\n{math.dist(truth, position):.1f} m from the true position to the fix"
        colours, style = [theme.ink_rgb], {"width": 2.5, "pickable": True}
        lines.append(LineMarks(name="error", label="error", points=[ends], colours=colours, texts=[text], **style))
    return MapMarks(dots=dots, lines=lines)


def _candidates(tile: Tile, candidates: Sequence[tuple[Sequence[float], float, float]]) -> PointMarks:
    """Rings whose areas are as their probabilities."""
    texts = [f"Candidate {n}\n{p:.0%} probability, ± {std:.0f} m" for n, (_, p, std) in enumerate(candidates, start=1)]
    return PointMarks(
        name="candidates",
        label="candidates",
        position=on_ground(tile, np.array([position for position, _, _ in candidates]), UE_HEIGHT + 0.5),
        colour=LOCATOR_COLOUR,
        texts=texts,
        radius=[4.0 + 22.0 * math.sqrt(p) for _, p, _ in candidates],
        ring=True,
    )


def region_lines(tile: Tile, polygons: Sequence[Sequence[Ring]], fraction: float, height: float = 2.0) -> LineMarks:
    """Outlines of the region that holds a fraction of the probability; thick where it is the smaller one."""
    rings = [on_ground(tile, np.array(ring), height) for polygon in polygons for ring in polygon]
    texts = [f"Credible region\n{fraction:.0%} of the probability"] * len(rings)
    return LineMarks(
        name=f"region{round(100 * fraction)}", label=f"{fraction:.0%} region", points=rings,
        colours=[LOCATOR_COLOUR] * len(rings), texts=texts, width=3.5 if fraction <= 0.5 else 1.5,
    )  # fmt: skip


def track_lines(tile: Tile, position: Float[np.ndarray, "n 2"]) -> LineMarks:
    """A line along the true track of a phone."""
    points = [on_ground(tile, position, 2.0)]
    return LineMarks(
        name="track", label="true track", points=points, colours=[PHONE_COLOUR], texts=["True track\n"], width=2.0
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
    texts = [f"Track {n}" for n in chosen]
    lines = LineMarks(
        name="tracks", label="tracks", points=points, colours=[PHONE_COLOUR] * len(points), texts=texts, over=False
    )
    return lines, caption
