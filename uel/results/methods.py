"""The localization methods of evaluations: their names in tables and files, and how figures and tables show them."""

from dataclasses import dataclass
from typing import Literal

from uel.estimation.baselines import (
    BaselineMethod,
    cell_id,
    cell_id_ta,
    grid_bayes,
    knn_map,
    knn_survey,
    prior_median,
)

# Okabe and Ito's palette and Tol's muted colours: readers with any colour vision tell them apart.
BLACK, VERMILION, BLUE, GREEN = "#000000", "#D55E00", "#0072B2", "#009E73"
ORANGE, SKY, PURPLE, GREY = "#E69F00", "#56B4E9", "#CC79A7", "#999999"
DARK_RED, DARK_GREEN, DARK_BLUE = "#882255", "#117733", "#332288"


@dataclass(frozen=True)
class Method:
    """A localization method.

    A baseline on single reports needs nothing but its entry here: `uel eval` runs it, tables and figures show it.
    """

    name: str
    """in tables and files"""
    label: str
    """for readers"""
    colour: str
    """hexadecimal"""
    line: Literal["-", "--", "-.", ":"] = "-"
    baseline: BaselineMethod | None = None
    """positions of single reports, for methods that are a function of them and of the problem alone"""


# The limit is black and dashed, locators are vermilion, the others have colours of their own. Baselines are in the
# order of tables.
LOCALIZATION_METHODS = (
    Method("limit", "the limit", BLACK, "--"),
    Method("locator", "locator", VERMILION),
    Method("locator_refined", "locator, refined on the map", DARK_RED),
    Method("locator_retraced", "locator, retraced maps", DARK_RED, "--"),
    Method("locator_ray_rescored", "locator, re-scored by ray tracing", DARK_GREEN),
    Method("locator-buildings", "locator without building rasters", VERMILION, ":"),
    Method("locator-radio", "locator without radio maps", VERMILION, "-."),
    Method("grid_robust", "robust grid Bayes", BLUE),
    Method("grid_bayes_corrected", "grid Bayes, corrected map", DARK_BLUE),
    Method("grid_bayes_retraced", "grid Bayes, retraced maps", DARK_BLUE, "--"),
    Method("particle_filter", "particle filter", BLUE),
    Method("prior_median", "prior median", GREY, ":", prior_median),
    Method("cell_id", "cell ID (strongest cell)", ORANGE, baseline=cell_id),
    Method("cell_id_ta", "cell ID + timing advance", PURPLE, baseline=cell_id_ta),
    Method("knn_map", "kNN on the map", SKY, baseline=knn_map),
    Method("knn_survey", "kNN on a survey", GREEN, baseline=knn_survey),
    Method("grid_bayes", "grid Bayes", BLUE, ":", grid_bayes),
    Method("no_map", "control: no map", PURPLE, ":"),
    Method("shuffled_map", "control: shuffled map", ORANGE, ":"),
)
BASELINE_METHODS: dict[str, BaselineMethod] = {
    method.name: method.baseline for method in LOCALIZATION_METHODS if method.baseline is not None
}
