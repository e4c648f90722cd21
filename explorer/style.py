"""Colours: scales that every kind of eye can read, and the two themes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps

RGB = tuple[int, int, int]

# Okabe and Ito's palette, without black: a category keeps its colour on white and on black.
VERMILION, BLUE, GREEN, ORANGE = (213, 94, 0), (0, 114, 178), (0, 158, 115), (230, 159, 0)
SKY, PURPLE, YELLOW, GREY = (86, 180, 233), (204, 121, 167), (240, 228, 66), (153, 153, 153)
CATEGORY_COLOURS: tuple[RGB, ...] = (ORANGE, SKY, GREEN, VERMILION, BLUE, PURPLE, YELLOW, GREY)
TRUTH_COLOUR, LOCATOR_COLOUR, LIMIT_COLOUR, REFINED_COLOUR = YELLOW, VERMILION, SKY, PURPLE


@dataclass(frozen=True, kw_only=True)
class Theme:
    """What is drawn on."""

    name: str
    ink: str
    """of text and axes"""
    paper: RGB
    """behind everything"""
    covers: dict[str, RGB]
    """of the ground"""
    wall: tuple[float, float]
    """brightness of buildings without a colour, in shade and in light"""
    veil: float
    """brightness of buildings in plan"""
    grid: str
    """faint lines"""


LIGHT_THEME = Theme(
    name="light",
    ink="#202124",
    paper=(255, 255, 255),
    covers={
        "open": (238, 236, 230),
        "road": (208, 205, 199),
        "path": (226, 216, 200),
        "water": (170, 205, 226),
        "green": (203, 224, 186),
    },
    wall=(150.0, 232.0),
    veil=150.0,
    grid="rgba(0,0,0,0.12)",
)
DARK_THEME = Theme(
    name="dark",
    ink="#e8eaed",
    paper=(14, 17, 23),
    covers={
        "open": (38, 42, 50),
        "road": (62, 66, 74),
        "path": (54, 52, 50),
        "water": (24, 54, 78),
        "green": (32, 54, 42),
    },
    wall=(74.0, 148.0),
    veil=126.0,
    grid="rgba(255,255,255,0.16)",
)


THEMES = (LIGHT_THEME, DARK_THEME)


def theme_of(name: str | None) -> Theme:
    """The theme by name; light unless it is dark."""
    return DARK_THEME if name == "dark" else LIGHT_THEME


def apply_colour_map(values: Float[np.ndarray, "*n"], scale: str, low: float, high: float) -> UInt8[np.ndarray, "*n 3"]:
    """Colours of values on one of matplotlib's scales; beyond its ends they stay at the end."""
    share = np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0)
    return np.round(255 * colormaps[scale](share)[..., :3]).astype(np.uint8)


def css_colour(colour: Sequence[int | float], alpha: float = 1.0) -> str:
    """As browsers write it."""
    red, green, blue = (round(c) for c in colour)
    return f"rgba({red},{green},{blue},{alpha:g})"


def css_gradient(scale: str, steps: int = 12) -> str:
    """A scale from left to right, as a CSS background."""
    stops = apply_colour_map(np.linspace(0, 1, steps), scale, 0.0, 1.0)
    return f"linear-gradient(90deg, {', '.join(css_colour(c) for c in stops.tolist())})"
