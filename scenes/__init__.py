"""Build a place: meshes in, a tile folder out, masts on it.

`build(source, folder)` makes a tile of a map or of a bundled city; `place(tile, count)` puts sites on it.
Both are imported on first use, so that `import scenes` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOME = {"build": "scenes.builder", "place": "scenes.sites.placement"}

__all__ = ["build", "place"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scenes' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
