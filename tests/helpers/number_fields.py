"""Every dataclass that a user can fill, and one instance of each."""

import ast
import importlib
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from tests.helpers.source_code import definitions

FILLED_BESIDE_CONFIGS = {
    "Carrier", "Cell", "Site", "Array", "EventA3", "ObservationParameters", "Grid", "SimilarityTransform",
    "TrendPrior", "ResidualCovariance", "ReportLikelihood", "DetectionParameters", "PlaceWeights",
}  # fmt: skip
NEEDED: dict[str, Any] = {
    "tile": Path("tile"), "tiles": (Path("tile"),), "sources": ("munich",), "source": Path("tile"), "run": Path("run"),
    "size": 512.0, "pixel": 4.0, "folder": Path("folder"), "folders": (Path("folder"),), "data": (Path("data"),),
    "report": Path("log.csv"), "position": (0.0, 0.0, 25.0), "paths": (Path("data"),), "seed": 1,
}  # fmt: skip
"""values of fields that have no default"""


@cache
def filled_classes() -> dict[str, str]:
    """Module of each class by its name; nothing is imported."""
    found = {}
    for module, node in definitions(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        is_filled = node.name.endswith("Config") or node.name in FILLED_BESIDE_CONFIGS
        if is_filled and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            found[node.name] = module
    return found


def filled_instance(name: str) -> Any:
    """An instance of a class, with the defaults where there are some."""
    kind = getattr(importlib.import_module(filled_classes()[name]), name)
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING and f.init]
    hints = get_type_hints(kind)
    return kind(**{field: Path(field) if hints[field] is Path else _value(name, field) for field in needed})


def _value(kind: str, field: str) -> Any:
    from uel.measurement.model import ObservationModel
    from uel.models.config import LocatorConfig

    by_field = NEEDED | {"measurement": ObservationModel(), "model": ObservationModel(), "locator": LocatorConfig()}
    return 16 if (kind, field) == ("BatchConfig", "size") else by_field[field]
