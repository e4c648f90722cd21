"""The picture on the ground: a basemap, a layer over it, and its legend."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from explorer.style import CATEGORY_COLOURS, RGB, Theme, apply_colour_map, css_colour, css_gradient
from uel.geo.tile import Tile
from uel.plots.axes import hillshade, value_range
from uel.plots.radio_layers import ServiceRasters, layer_values, require_layer
from uel.radio.radio_map import RadioMap

Image = UInt8[np.ndarray, "_ _ 3"]
MAX_PIXELS = 1024  # along a picture's side; browsers load this without a pause


EVIDENCE_ZOOM = 4  # pixels of a picture of evidence for each of the map's
TRUTH_RING_PIXELS = 10.0  # pixels, radius


@dataclass(frozen=True, kw_only=True)
class Legend:
    """The meaning of colours: a colour map from `low` to `high`, or a colour for each of `names`."""

    title: str
    unit: str = ""
    scale: str = ""
    low: float = 0.0
    high: float = 0.0
    names: Mapping[str, RGB] | None = None

    @property
    def html(self) -> str:
        """The legend as HTML; its text has the colour of the page's text."""
        title = f"<b>{escape(self.title)}</b>{f' in {escape(self.unit)}' if self.unit else ''}"
        if self.names is not None:
            return f"<div class='legend'>{title} {''.join(_swatch(*item) for item in self.names.items())}</div>"
        style = f"display:inline-block;width:11rem;height:0.8rem;background:{css_gradient(self.scale)}"
        bar = f"<span style='{style}'></span>"
        low, high = (
            f"<span style='white-space:nowrap;margin:0 0.25rem'>{_written(v)}</span>" for v in (self.low, self.high)
        )
        return f"<div class='legend'>{title} {low} {bar} {high}</div>"


EVIDENCE_LEGEND = Legend(title="evidence", unit="nats below the best pixel", scale="cividis", low=-12.0, high=0.0)


def _swatch(name: str, colour: RGB) -> str:
    square = f"<span style='display:inline-block;width:0.8rem;height:0.8rem;background:{css_colour(colour)}'></span>"
    return f"<span style='white-space:nowrap;margin-left:0.7rem'>{square} {escape(name)}</span>"


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


def paint_layer(
    base: Image,
    values: Float[np.ndarray, "row column"],
    known: Bool[np.ndarray, "row column"],
    legend: Legend,
    opacity: float | Float[np.ndarray, "row column"] = 0.85,
) -> Image:
    """The basemap with a layer painted over it where its values are known."""
    return _over(base, apply_colour_map(values, legend.scale, legend.low, legend.high), known * opacity)


def paint_radio_layer(
    base: Image, radio: RadioMap, service: ServiceRasters, name: str, cell: int | None
) -> tuple[Image, Legend]:
    """The basemap with a layer of a radio map, and its legend; cell None: the strongest one of each pixel.

    Raises `UelError` for a layer or a cell that the map does not have.
    """
    layer = require_layer(radio, service, name, cell)
    values, known = layer_values(name, radio, service, cell)
    legend = legend_for(layer.title, layer.unit, layer.scale, values[known], layer.least(radio))
    return paint_layer(base, values, known, legend), legend


def paint_categories(
    base: Image, index: Int[np.ndarray, "row column"], known: np.ndarray, opacity: float = 0.6
) -> Image:
    """The basemap with categories painted over it; colours repeat after the last of the palette."""
    colours = np.array(CATEGORY_COLOURS, dtype=np.uint8)
    return _over(base, colours[index % len(colours)], known * opacity)


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


def _over(base: Image, colours: UInt8[np.ndarray, "row column 3"], alpha: np.ndarray) -> Image:
    rows = np.arange(len(base)) * len(colours) // len(base)
    over, share = (v[rows][:, rows] for v in (colours.astype(np.float64), np.asarray(alpha, dtype=np.float64)))
    mixed = base * (1 - share[..., None]) + over * share[..., None]
    return np.round(mixed).astype(np.uint8)


def _thinned(picture: Image) -> Image:
    step = -(-len(picture) // MAX_PIXELS)
    return picture[step // 2 :: step, step // 2 :: step]
