"""The picture on the ground: a basemap, a layer over it, and its legend."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from explorer.style import (
    CELL_COLOURS,
    LOCATOR_COLOUR,
    QUANTITY_SCALES,
    RGB,
    Theme,
    apply_colour_map,
    cell_colour,
    css_colour,
    css_gradient,
)
from uel.geo.tile import Tile
from uel.plots.axes import hillshade, value_range
from uel.plots.radio_layers import ServiceRasters, layer_values, require_layer
from uel.radio.radio_map import RadioMap

Image = UInt8[np.ndarray, "_ _ 3"]
Overlay = UInt8[np.ndarray, "_ _ 4"]
MAX_PIXELS = 1024  # along a picture's side; browsers load this without a pause
EVIDENCE_ZOOM = 4  # pixels of a picture of evidence for each of the map's
TRUTH_RING_PIXELS = 10.0  # pixels, radius
MAX_DENSITY_OPACITY, DENSITY_GAIN = 0.92, 1.8


@dataclass(frozen=True, kw_only=True)
class Legend:
    """The meaning of colours: a colour map from `low` to `high`, a tint that grows opaque, or a colour for each of
    `names`."""

    title: str
    unit: str = ""
    scale: str = ""
    low: float = 0.0
    high: float = 0.0
    names: Mapping[str, RGB] | None = None
    tint: RGB | None = None

    @property
    def html(self) -> str:
        """The legend as HTML; its text has the colour of the page's text."""
        title = f"<b>{escape(self.title)}</b>{f' in {escape(self.unit)}' if self.unit else ''}"
        if self.names is not None:
            return f"<div class='legend'>{title} {''.join(_swatch(*item) for item in self.names.items())}</div>"
        gradient = css_gradient(self.scale) if self.tint is None else _tint_gradient(self.tint)
        bar = f"<span style='display:inline-block;width:9rem;height:0.8rem;background:{gradient}'></span>"
        low, high = (
            f"<span style='white-space:nowrap;margin:0 0.25rem'>{_written(v)}</span>" for v in (self.low, self.high)
        )
        return f"<div class='legend'>{title}<br>{low} {bar} {high}</div>"


EVIDENCE_LEGEND = Legend(
    title="evidence", unit="nats below the best pixel", scale=QUANTITY_SCALES["evidence"], low=-12.0, high=0.0
)


def _tint_gradient(tint: RGB) -> str:
    stops = [css_colour(tint, round(float(opacity), 3)) for opacity in density_opacity(np.linspace(0, 1, 13) ** 2)]
    places = [f"{100 * fraction:.1f}%" for fraction in np.linspace(0, 1, 13) ** 2]
    return f"linear-gradient(90deg, {', '.join(map(' '.join, zip(stops, places, strict=True)))})"


def _swatch(name: str, colour: RGB) -> str:
    square = f"<span style='display:inline-block;width:0.8rem;height:0.8rem;background:{css_colour(colour)}'></span>"
    return f"<span style='white-space:nowrap;margin-right:0.7rem'>{square} {escape(name)}</span>"


def _written(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1e4 else f"{value:.2e}"


def basemap(tile: Tile, theme: Theme) -> Image:
    """A picture of the ground cover, shaded by the relief; row 0 is south."""
    ground = tile.rasters["ground"].numpy()
    colours = np.array([theme.covers[name] for name in tile.covers] or [theme.covers["open"]], dtype=np.float64)
    cover = tile.rasters["cover"].numpy().astype(int) if "cover" in tile.rasters else np.zeros(ground.shape, dtype=int)
    picture = colours[cover]
    if np.ptp(ground) > 1.0:
        picture = picture * (0.6 + 0.4 * hillshade(ground, tile.raster_grid.pixel)[..., None])
    return _thinned(np.clip(picture, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Ground:
    """What lies on the ground: a picture, and a layer over it with alpha, both with row 0 in the south."""

    base: Image
    layer: Overlay | None = None
    is_over: bool = False
    """the layer shines through buildings"""

    @property
    def picture(self) -> Image:
        """The base with the layer painted over it."""
        return self.base if self.layer is None else _over(self.base, self.layer)


def layer_overlay(
    values: Float[np.ndarray, "row column"],
    known: Bool[np.ndarray, "row column"],
    legend: Legend,
    opacity: float = 0.85,
) -> Overlay:
    """A layer in the colours of its legend, transparent where its values are not known."""
    return _overlay(apply_colour_map(values, legend.scale, legend.low, legend.high), known * opacity)


def radio_overlay(radio: RadioMap, service: ServiceRasters, name: str, cell: int | None) -> tuple[Overlay, Legend]:
    """A layer of a radio map, and its legend; cell None: the strongest one of each pixel.

    Raises `UelError` for a layer or a cell that the map does not have.
    """
    layer = require_layer(radio, service, name, cell)
    values, known = layer_values(name, radio, service, cell)
    legend = legend_for(layer.title, layer.unit, layer.scale, values[known], layer.least(radio))
    return layer_overlay(values, known, legend), legend


def cells_overlay(
    index: Int[np.ndarray, "row column"], known: Bool[np.ndarray, "row column"], opacity: float = 0.75
) -> Overlay:
    """The colours of cells."""
    return _overlay(np.array(CELL_COLOURS, dtype=np.uint8)[index % len(CELL_COLOURS)], known * opacity)


def density_overlay(density: Float[np.ndarray, "row column"], top: float) -> Overlay:
    """A density in the colour of the locator. Its root is the opacity, so that weak hypotheses stay visible beside a
    sharp peak."""
    colours = np.broadcast_to(np.array(LOCATOR_COLOUR, np.uint8), (*density.shape, 3))
    return _overlay(colours, density_opacity(density / top))


def density_opacity(fraction: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Opacity of a density over its top."""
    return np.clip(DENSITY_GAIN * np.sqrt(np.clip(fraction, 0, 1)), 0, MAX_DENSITY_OPACITY)


def _overlay(colours: UInt8[np.ndarray, "row column 3"], opacity: Float[np.ndarray, "row column"]) -> Overlay:
    return np.concatenate([colours, np.round(255 * opacity).astype(np.uint8)[..., None]], -1)


def evidence_image(values: Float[np.ndarray, "row column"], size: float, truth: Sequence[float] | None) -> Image:
    """Log-likelihood at every pixel as `EVIDENCE_LEGEND` says, north up, with a ring around the truth (x, y in m)."""
    picture = apply_colour_map(values - values.max(), EVIDENCE_LEGEND.scale, EVIDENCE_LEGEND.low, EVIDENCE_LEGEND.high)
    picture = picture.repeat(EVIDENCE_ZOOM, 0).repeat(EVIDENCE_ZOOM, 1)
    if truth is not None:
        place = (np.arange(len(picture)) + 0.5) * size / len(picture) - size / 2
        away = np.hypot(place[:, None] - truth[1], place[None] - truth[0]) * len(picture) / size
        picture[np.abs(away - TRUTH_RING_PIXELS) < TRUTH_RING_PIXELS / 4] = 255
    return picture[::-1]


def legend_for(title: str, unit: str, scale: str, values: np.ndarray, least: float = -math.inf) -> Legend:
    """A legend from the 1st to the 99th percentile of values, not below `least`."""
    low, high = value_range(values, least)
    return Legend(title=title, unit=unit, scale=scale, low=low, high=high)


def cells_legend(title: str, count: int) -> Legend:
    """The colours of the first cells; cells of a colour are told apart by their numbers."""
    names = {f"cell {n}": cell_colour(n) for n in range(min(count, len(CELL_COLOURS)))}
    return Legend(title=title, names=names)


def _over(base: Image, layer: Overlay) -> Image:
    rows = np.arange(len(base)) * len(layer) // len(base)
    over = layer[rows][:, rows].astype(np.float64)
    share = over[..., 3:] / 255
    return np.round(base * (1 - share) + over[..., :3] * share).astype(np.uint8)


def _thinned(picture: Image) -> Image:
    step = -(-len(picture) // MAX_PIXELS)
    return picture[step // 2 :: step, step // 2 :: step]
