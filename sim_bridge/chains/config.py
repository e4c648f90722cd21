"""Configuration of an atlas of chains. No framework is imported here."""

from dataclasses import dataclass

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError

TILE_SIZE = 512.0  # m, of the tile that `AtlasConfig.rays` is for
LINKS_TO_PAY = 2200  # from which on an atlas costs less than searching (docs/log/bridge.md); a built one says its own


@dataclass(frozen=True, kw_only=True)
class AtlasConfig:
    """Rays and searches that build an atlas.

    Raises:
        UelError: for an atlas without rays, interactions or pixels.

    Example:
        >>> import sim_bridge
        >>> sim_bridge.AtlasConfig(rays=300_000).depth
        3
    """

    pixel: float = 8.0
    """m, side of its pixels"""
    rays: int = 1_000_000
    """branching rays of a mast on a tile of 512 m; on a larger one they grow with its area"""
    depth: int = 3
    """interactions on a path at most"""
    edges: int = 8
    """edges of a link at most, those with the shortest detours, where paths diffract"""
    edge_pairs: int = 4
    """pairs of edges of a link at most, those with the shortest ways, where paths diffract twice
    (`TracingConfig.diffraction_order`)"""
    scatterers: int = 8
    """scattering pieces of surface of a link at most, which stand for all in sight, where paths scatter"""
    seed: int = 1
    """seed of the rays"""
    settle: int = 512
    """greatest number of pixels without a chain whose centres are searched beforehand; 0 leaves it to queries"""
    audit: int = 64
    """positions at which the atlas is compared with the full search; 0 compares nowhere"""

    def rays_on(self, size: float) -> int:
        """Rays of a mast on a square of `size` metres.

        Example:
            >>> AtlasConfig(rays=100_000).rays_on(1024.0), AtlasConfig(rays=100_000).rays_on(256.0)
            (400000, 100000)
        """
        return round(self.rays * max(1.0, (size / TILE_SIZE) ** 2))

    def __post_init__(self) -> None:
        require_numbers(self)
        smallest = {"rays": 1, "depth": 1, "edges": 0, "edge_pairs": 0, "scatterers": 0, "audit": 0, "settle": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise UelError(
                    f"an atlas needs {name} of at least {least}", got=getattr(self, name), do=f"raise {name}"
                )
        if not self.pixel > 0:
            raise UelError("an atlas needs a pixel above 0 m", got=self.pixel, do="give its side in metres, say 8")
