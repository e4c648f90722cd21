"""Simulate: the only room that speaks Dr.Jit, Mitsuba and Sionna.

`open(tile, sites)` gives a `Sionna`, a `uel.Simulator` that PyTorch can differentiate. Both are imported on
first use: `import sim_bridge` is free, and `runtime` can look for a usable LLVM before Dr.Jit is touched.
"""

from importlib import import_module
from typing import Any

_HOME = {"open": "sim_bridge.simulator", "Sionna": "sim_bridge.simulator"}

__all__ = ["Sionna", "open"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sim_bridge' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
