"""Use a locator: nouns, grid, measurement model, likelihood, models, baselines, metrics, configuration.

The names below are imported on first use, so that `import uel` and `uel --help` cost nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Carrier": "uel.radio.sites",
    "Cell": "uel.radio.sites",
    "Site": "uel.radio.sites",
    "Array": "uel.radio.sites",
    "Grid": "uel.core.grid",
    "Tile": "uel.geo.tile",
    "TileMaps": "uel.geo.tile_maps",
    "RadioMap": "uel.radio.radio_map",
    "ObservationModel": "uel.measurement.model",
    "Reports": "uel.measurement.reports",
    "LinkTruth": "uel.radio.link_truth",
    "Survey": "uel.survey.dataset",
    "Simulator": "uel.radio.simulator",
    "FreeSpace": "uel.radio.simulator",
    "Locator": "uel.models.locator",
    "Fix": "uel.estimation.fix",
    "UelError": "uel.errors",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'uel' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*_HOME, "__version__"]
