"""Use a locator: nouns, grid, measurement model, likelihood, models, baselines, metrics, configuration.

The names below are imported on first use, so that `import uel` and `uel --help` cost nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Carrier": "uel.sites",
    "Cell": "uel.sites",
    "Site": "uel.sites",
    "Array": "uel.sites",
    "Grid": "uel.grid",
    "Tile": "uel.tile",
    "Maps": "uel.maps",
    "RadioMap": "uel.radiomap",
    "MeasurementModel": "uel.measurement",
    "Reports": "uel.reports",
    "Truth": "uel.reports",
    "Survey": "uel.survey",
    "Simulator": "uel.simulator",
    "FreeSpace": "uel.simulator",
    "Locator": "uel.locator",
    "Fix": "uel.fix",
    "UelError": "uel.errors",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'uel' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*_HOME, "__version__"]
