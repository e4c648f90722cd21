"""Build a place: meshes in, a tile folder out, masts on it.

`build(place, folder)` cuts a tile out of one of the bundled cities; `place(tile, count)` puts sites on it.
Both are imported on first use, so that `import scenes` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOME = {"build": "scenes.bundled", "place": "scenes.sites"}

__all__ = ["build", "place"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scenes' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
