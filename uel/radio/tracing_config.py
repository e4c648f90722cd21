"""How a simulator traces: which one, and with how many rays. No framework is imported here."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

DIFFRACTION_MODEL = 3  # 1: edges within one mesh that rays happened to meet; 2: all edges; 3: continuous fields
# How ray-traced radio maps are computed. 1: until 0.2.0; 2: masts at the height of the map have their direct path in
# closed form, and paths that graze the measurement surface count; 3: sums of whole numbers, what walls reflect along
# the surface, and knife edges beside shadows.
RADIO_MAP_MODEL = 3
UE_PATTERNS = ("iso", "dipole", "hw_dipole", "tr38901")


@dataclass(frozen=True, kw_only=True)
class TracingConfig:
    """The simulator, and its interactions, rays and receivers: more of them find more paths and take longer.

    A simulator in closed form uses `ue_height` alone.

    Raises:
        UelError: for counts below one, a scattering coefficient outside 0 to 1, and values that are not finite.

    Example:
        >>> import sim_bridge
        >>> sim_bridge.TracingConfig(max_depth=5, diffraction=False, scattering=0.3).max_depth
        5
    """

    backend: Annotated[str, tyro.conf.arg(aliases=["--backend"])] = "sionna"
    """simulator: sionna traces rays; free-space is a closed form without buildings; others by their name in
    `sim_bridge.registry`"""
    max_depth: int = 3
    """interactions on a path at most"""
    samples: int = 30_000
    """rays per cell in the search for paths"""
    diffraction: bool = True
    """diffraction at edges; without it the gain jumps where a link loses its last path, unseen by any derivative"""
    diffraction_order: int = 1
    """edges in a row that paths may go around: 1, or 2 for ways over a roof both of whose eaves hide it (max_depth of 2
    or more; paths alone, not radio maps)"""
    scattering: float = 0.0
    """scattering coefficient S of every ITU material (Degli-Esposti et al. 2007); a material with explicit values keeps
    its own. 0 follows no scattered paths."""
    material_extrapolation: bool = False
    """use the formulas of ITU-R P.2040 beyond their bands, most of which begin at 1 GHz (ground: 1 to 10 GHz); without
    it a carrier beyond is an error"""
    foliage: bool = True
    """attenuation by trees and woods where the tile has such a layer (`uel build --vegetation`), by ITU-R P.833"""
    map_rays: int = 2_000_000
    """rays per cell of a radio map"""
    map_batches: int = 8
    """independent batches of those rays; their scatter is the map's Monte-Carlo error"""
    map_target: float = 0.0
    """median relative error of a map at which no more batches are shot; 0 shoots all"""
    max_paths: int = 500_000
    """candidate paths per cell that one search may hold; bounds its memory"""
    chunk: int = 64
    """receivers in one search (a fixed width, so that kernels are compiled once)"""
    memory: float = 0.0
    """GB that one call may take; 0: a quarter of what is free (on the GPU where there is one). Less makes more and
    smaller calls, with the same results; paths of `trace` and `freeze` are kept, and grow with the positions"""
    ue_height: float = 1.5
    """m above the ground, for positions given as (x, y)"""
    ue_pattern: str = "iso"
    """pattern of a phone's antenna in Sionna RT: iso, dipole, hw_dipole or tr38901, turned by `ue_orientation`; radio
    maps are of isotropic ones"""
    ue_polarization: str = "VH"
    """polarizations of a phone's antenna: V, H or both (VH), whose powers add up"""
    seed: int = 1
    """seed of all rays"""

    @property
    def pairs_of_edges(self) -> bool:
        """Whether paths may go around two edges."""
        return self.diffraction and self.diffraction_order == 2 and self.max_depth >= 2

    def __post_init__(self) -> None:
        require_numbers(self, map_rays=(1, 1e12), ue_height=(0, 1e4), scattering=(0, 1))
        smallest = {"max_depth": 0, "samples": 1, "chunk": 1, "max_paths": 1, "map_batches": 2}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise UelError(f"tracing needs {name} of at least {least}", got=getattr(self, name), do=f"raise {name}")
        for name, known in (("ue_pattern", UE_PATTERNS), ("ue_polarization", ("V", "H", "VH"))):
            if getattr(self, name) not in known:
                raise UelError(f"unknown {name}", got=getattr(self, name), do=f"choose one of {', '.join(known)}")
        if self.diffraction_order not in (1, 2):
            raise UelError("paths go around one or two edges", got=self.diffraction_order, do="give 1 or 2")
        if not 0 <= self.map_target < math.inf:
            do = "give 0.05, or 0 for all batches"
            raise UelError("map_target must be a relative error of 0 or more", got=self.map_target, do=do)
        if not 0 <= self.memory < math.inf:
            do = "give 4, or 0 for a quarter of what is free"
            raise UelError("memory must be a number of gigabytes of 0 or more", got=self.memory, do=do)
        if not math.isfinite(self.ue_height):
            raise UelError("ue_height must be finite", got=self.ue_height, do="give 1.5 (metres)")


ACCURATE_TRACING = TracingConfig(max_depth=5, samples=20_000, scattering=0.3, map_rays=20_000_000)
"""Of true radio maps, and of rays that decide between positions."""


def tracing_settings(tracing: TracingConfig) -> dict[str, Any]:
    """All fields, for the record of what was made; `foliage` only where it is off, since a tile with trees is another
    tile, and without trees nothing depends on it."""
    settings = asdict(tracing)
    if tracing.foliage:
        del settings["foliage"]
    return settings


def tracing_key(tracing: TracingConfig) -> dict[str, Any]:
    """What names cached paths: every field that results depend on (all but `memory`) and, with diffraction, how it is
    computed (`DIFFRACTION_MODEL`).

    Example:
        >>> from uel.radio.tracing_config import TracingConfig, tracing_key
        >>> tracing_key(TracingConfig())["diffraction_model"]
        3
        >>> "diffraction_model" in tracing_key(TracingConfig(diffraction=False))
        False
    """
    key = {name: value for name, value in tracing_settings(tracing).items() if name != "memory"}
    return key | ({"diffraction_model": DIFFRACTION_MODEL} if tracing.diffraction else {})


def radio_map_key(tracing: TracingConfig) -> dict[str, Any]:
    """What names cached radio maps: `tracing_key`, and how maps are computed (`RADIO_MAP_MODEL`).

    Example:
        >>> from uel.radio.tracing_config import TracingConfig, radio_map_key
        >>> radio_map_key(TracingConfig())["radio_map_model"]
        3
    """
    return tracing_key(tracing) | {"radio_map_model": RADIO_MAP_MODEL}
