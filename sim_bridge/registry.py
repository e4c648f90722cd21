"""Simulators by name. A backend's module is imported when a simulator is opened; no framework is imported before."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from uel.errors import UelError
from uel.extras import explained_imports
from uel.radio.tracing_config import TracingConfig

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna
    from uel.geo.tile import Tile
    from uel.radio.simulator import Simulator
    from uel.radio.sites import Site


@dataclass(frozen=True)
class SimulatorBackend:
    """Where a simulator is found, and what it has beside the protocol `uel.Simulator`."""

    factory: str
    """`module:function` of (tile, sites, tracing) that returns a `uel.Simulator` and raises `UelError` for sites that
    the tile cannot have"""
    traces_paths: bool = False
    """whether its simulators are a `sim_bridge.Sionna`, which lists the paths of a link one by one and has an atlas"""

    def load(self) -> Callable[..., Any]:
        """Import the module, and return the function. Raises `MissingExtraError` where its library is not installed."""
        module, _, function = self.factory.partition(":")
        with explained_imports():
            return getattr(import_module(module), function)


SIMULATOR_BACKENDS = {
    "sionna": SimulatorBackend("sim_bridge.simulator:open_tile", traces_paths=True),
    "free-space": SimulatorBackend("sim_bridge.free_space:open_tile"),
}
"""Simulators that `--backend` and `TracingConfig.backend` name. One line adds another."""


def find_backend(name: str) -> SimulatorBackend:
    """The backend of a name. Raises `UelError` for an unknown one."""
    if name not in SIMULATOR_BACKENDS:
        do = f"give --backend {' or '.join(SIMULATOR_BACKENDS)}"
        raise UelError("no simulator has this name", got=repr(name), do=do)
    return SIMULATOR_BACKENDS[name]


def require_paths(name: str, purpose: str, otherwise: str = "") -> None:
    """Raise `UelError` unless the simulators of a backend list paths one by one, which `purpose` needs.

    `otherwise` is added to the remedy: what helps beside another backend.
    """
    if not find_backend(name).traces_paths:
        capable = [other for other, backend in SIMULATOR_BACKENDS.items() if backend.traces_paths]
        do = f"give --backend {' or '.join(capable)}{otherwise}"
        raise UelError(f"{purpose} needs a simulator that traces single paths", got=f"--backend {name}", do=do)


@overload
def open(
    tile: "Tile", sites: "tuple[Site, ...]", tracing: TracingConfig | None = None, *, backend: Literal["sionna"]
) -> "Sionna": ...
@overload
def open(
    tile: "Tile", sites: "tuple[Site, ...]", tracing: TracingConfig | None = None, *, backend: str | None = None
) -> "Simulator": ...
def open(
    tile: "Tile", sites: "tuple[Site, ...]", tracing: TracingConfig | None = None, *, backend: str | None = None
) -> "Simulator":
    """Open a simulator on a tile, transmitting from the cells of `sites`.

    Raises `UelError` for an unknown backend, for no site, one inside a wall or off the tile, several carriers, and what
    else the backend refuses: Sionna a missing LLVM, or an unknown version of itself.

    Args:
        tile: to simulate in.
        sites: the transmitters, in metres from the tile's centre.
        tracing: simulator, rays and interactions; default: `TracingConfig()`, which is Sionna RT.
        backend: name of the simulator in `SIMULATOR_BACKENDS`, instead of that in `tracing`.

    Example:
        >>> import tempfile, scenes, sim_bridge, torch
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> sites = scenes.place(tile, count=1, seed=0)
        >>> tracing = sim_bridge.TracingConfig(max_depth=1, samples=2000, diffraction=False)
        >>> simulator = sim_bridge.open(tile, sites, tracing)
        >>> simulator.path_gain(torch.zeros(1, 2)).shape  # linear: position, cell
        torch.Size([1, 1])
        >>> sim_bridge.open(tile, sites, backend="free-space").paths(torch.zeros(1, 2)).los.tolist()
        [[True]]
    """
    tracing = tracing or TracingConfig()
    tracing = replace(tracing, backend=backend or tracing.backend)
    return find_backend(tracing.backend).load()(tile, sites, tracing)


def open_ray_tracer(tile: "Tile", sites: "tuple[Site, ...]", tracing: TracingConfig, purpose: str) -> "Sionna":
    """Open a simulator that traces single paths, which `purpose` needs.

    Raises `UelError` as `require_paths` and `open` do.
    """
    require_paths(tracing.backend, purpose)
    return cast("Sionna", open(tile, sites, tracing))
