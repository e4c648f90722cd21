"""The one home of what things are called and coloured: methods, tiers, map conditions, colour maps, page themes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps

from uel.deprecated_names import current_code
from uel.plots.radio_layers import RADIO_LAYERS
from uel.results.methods import LOCALIZATION_METHODS, Method

RGB = tuple[int, int, int]

# Okabe and Ito's palette without black: readers with any colour vision tell its colours apart, on white and on black.
VERMILION, BLUE, GREEN, ORANGE = (213, 94, 0), (0, 114, 178), (0, 158, 115), (230, 159, 0)
SKY, PURPLE, YELLOW, GREY = (86, 180, 233), (204, 121, 167), (240, 228, 66), (153, 153, 153)
CATEGORY_COLOURS: tuple[RGB, ...] = (ORANGE, SKY, GREEN, VERMILION, BLUE, PURPLE, YELLOW, GREY)
# One hue, one meaning on maps: phones where they really were, what the locator says, what was picked. What grid Bayes
# says has the colour of the page's text, as the limit has in charts.
PHONE_COLOUR, LOCATOR_COLOUR, PICKED_COLOUR, LIMIT_COLOUR = BLUE, VERMILION, YELLOW, SKY
# Cells have hues that nothing else has on maps, after Tol's muted scheme; they repeat, and cells have numbers.
CELL_COLOURS: tuple[RGB, ...] = (
    (68, 170, 153), (170, 68, 153), (153, 153, 51), (136, 122, 220), (221, 119, 136), (150, 100, 60), (140, 200, 70),
    (221, 204, 119),
)  # fmt: skip
MATERIAL_COLOURS: dict[str, RGB] = {
    "concrete": (168, 168, 162), "brick": (170, 98, 78), "glass": (150, 196, 214), "metal": (112, 124, 140),
    "wood": (158, 120, 76), "marble": (228, 222, 210), "plasterboard": (214, 202, 176), "chipboard": (190, 160, 110),
    "floorboard": (132, 96, 62), "ceiling_board": (236, 232, 222),
}  # fmt: skip
"""near those of the materials themselves; others are grey"""
# No two quantities share a colour map.
QUANTITY_SCALES = {name: layer.scale for name, layer in RADIO_LAYERS.items()} | {
    "height": "bone",
    "evidence": "cividis",
    "residual": "RdBu",
    "position error": "plasma",
}


def cell_colour(cell: int) -> RGB:
    """The colour of a cell on maps and in charts."""
    return CELL_COLOURS[cell % len(CELL_COLOURS)]


def hex_colour(colour: RGB) -> str:
    """A colour as Matplotlib reads it: #D55E00."""
    return "#" + "".join(f"{channel:02X}" for channel in colour)


BLACK = "#000000"
LINE_COLOURS = (BLACK, *map(hex_colour, (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)))  # of curves side by side

# ---- methods -------------------------------------------------------------------------------------------


METHOD_STYLES: dict[str, Method] = {method.name: method for method in LOCALIZATION_METHODS}
OTHER_COLOURS = ("#999933", "#44AA99", "#AA4499")  # of methods given by --compare
_RUN_METHODS = (
    "prior_median", "cell_id", "cell_id_ta", "knn_map", "knn_survey", "grid_robust", "grid_bayes_corrected",
    "grid_bayes", "locator", "locator_refined",
)  # fmt: skip
_RUN_LIMIT = replace(METHOD_STYLES["limit"], label="grid Bayes (the limit)")
# The methods in a run's report, in the order of tables. Grid Bayes has the true map there: it is the limit.
RUN_METHOD_STYLES = {name: METHOD_STYLES[name] for name in _RUN_METHODS} | {"grid_bayes": _RUN_LIMIT}


def method_style(method: str, styles: Mapping[str, Method] = METHOD_STYLES) -> Method:
    """The style of a method; a method that `styles` lacks keeps its name and gets one of `OTHER_COLOURS`.

    `…_last` is the method on the last report of a track alone.
    """
    name = method.removesuffix("_last")
    style = styles.get(name, Method(name, name, OTHER_COLOURS[sum(map(ord, name)) % len(OTHER_COLOURS)]))
    return style if name == method else replace(style, label=f"{style.label}, last report alone")


def method_label(method: str) -> str:
    """The name of a method for readers."""
    return method_style(method).label


def run_method_label(method: str, truth: str = "map") -> str:
    """The name of a method of a run's own test for readers: grid Bayes is the limit of reports that are drawn from its
    own map (truth "map"), and no more than a reference where reports are traced (truth "paths")."""
    if method == "grid_bayes" and truth != "map":
        return "grid Bayes (reference)"
    return method_style(method, RUN_METHOD_STYLES).label


# ---- tiers and map conditions --------------------------------------------------------------------------

TIER_LABELS = {
    "rsrp": "RSRP",
    "rsrp_ta": "RSRP + timing advance",
    "rsrp_ta_azimuth": "RSRP + TA + azimuth",
    "rsrp_toa": "RSRP + time of arrival",
    "rsrp_toa_aoa": "RSRP + ToA + angle of arrival",
}
CONDITION_LABELS = {
    "exact": "exact map",
    "few_rays": "map of few rays",
    "wrong_materials": "wrong materials",
    "wrong_buildings": "wrong buildings",
    "wrong_sites": "wrong sites",
    "no_radio_map": "no radio map",
}


def tier_label(tier: str) -> str:
    """The name of a tier of report features for readers; codes of older runs are accepted."""
    return TIER_LABELS.get(current_code("tier", tier), tier)


def condition_label(condition: str) -> str:
    """The name of a map condition for readers; codes of older runs are accepted."""
    return CONDITION_LABELS.get(current_code("map", condition), condition)


# ---- themes and colour maps ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a page: text, background, ground, buildings."""

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

    @property
    def ink_rgb(self) -> RGB:
        """The colour of text and axes."""
        red, green, blue = (int(self.ink[k : k + 2], 16) for k in (1, 3, 5))
        return red, green, blue


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
    """The theme of a name; the light one unless the name is "dark"."""
    return DARK_THEME if name == "dark" else LIGHT_THEME


def apply_colour_map(values: Float[np.ndarray, "*n"], scale: str, low: float, high: float) -> UInt8[np.ndarray, "*n 3"]:
    """Colours of values on one of Matplotlib's colour maps; values beyond its ends get the colour of the end."""
    fraction = np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0)
    return np.round(255 * colormaps[scale](fraction)[..., :3]).astype(np.uint8)


def css_colour(colour: Sequence[int | float], alpha: float = 1.0) -> str:
    """A colour as browsers write it."""
    red, green, blue = (round(c) for c in colour)
    return f"rgba({red},{green},{blue},{alpha:g})"


def css_gradient(scale: str, steps: int = 12) -> str:
    """A colour map from left to right, as a CSS background."""
    stops = apply_colour_map(np.linspace(0, 1, steps), scale, 0.0, 1.0)
    return f"linear-gradient(90deg, {', '.join(css_colour(c) for c in stops.tolist())})"
