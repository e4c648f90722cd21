"""Simulate, with Sionna RT or another backend: the only package that imports Dr.Jit, Mitsuba and Sionna.

`open(tile, sites)` gives a `Sionna`, a `uel.Simulator` that PyTorch can differentiate, or with `backend=` another
one of `registry.SIMULATOR_BACKENDS`; `open_empty(sites)` gives a `Sionna` of empty space. The names are imported on
first use: `import sim_bridge` costs nothing, and `backend.runtime` can look for a usable LLVM before Dr.Jit is loaded.

Example:
    >>> import torch, sim_bridge, uel
    >>> simulator = sim_bridge.open_empty((uel.Site(position=(0.0, 0.0, 25.0)),))
    >>> position = torch.tensor([[100.0, 0.0]], requires_grad=True)
    >>> gain = simulator.path_gain(position)  # linear, Friis
    >>> gain.log10().sum().backward()  # Dr.Jit inside, PyTorch outside
    >>> bool(position.grad[0, 0] < 0)  # the gain falls with distance
    True
"""

from typing import TYPE_CHECKING

from uel._lazy import lazy_names

if TYPE_CHECKING:
    from sim_bridge.chains.atlas import Atlas as Atlas
    from sim_bridge.chains.config import AtlasConfig as AtlasConfig
    from sim_bridge.registry import open as open
    from sim_bridge.simulator import Sionna as Sionna
    from sim_bridge.simulator import open_empty as open_empty
    from uel.radio.tracing_config import TracingConfig as TracingConfig

__all__ = ["open", "open_empty", "Sionna", "TracingConfig", "Atlas", "AtlasConfig"]

_HOME = {
    "open": "sim_bridge.registry",
    "open_empty": "sim_bridge.simulator",
    "Sionna": "sim_bridge.simulator",
    "TracingConfig": "uel.radio.tracing_config",
    "Atlas": "sim_bridge.chains.atlas",
    "AtlasConfig": "sim_bridge.chains.config",
}
__getattr__, __dir__ = lazy_names("sim_bridge", _HOME)
