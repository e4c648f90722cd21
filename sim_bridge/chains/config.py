"""Configuration of an atlas of chains. No framework is imported here."""

from dataclasses import dataclass

from uel.errors import UelError


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
    """branching rays per cell"""
    depth: int = 3
    """interactions on a path at most"""
    seed: int = 1
    """seed of the rays"""
    settle: int = 512
    """greatest number of pixels without a chain whose centres are searched beforehand; 0 leaves it to queries"""
    audit: int = 64
    """positions at which the atlas is compared with the full search; 0 compares nowhere"""

    def __post_init__(self) -> None:
        smallest = {"rays": 1, "depth": 1, "audit": 0, "settle": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise UelError(
                    f"an atlas needs {name} of at least {least}", got=getattr(self, name), do=f"raise {name}"
                )
        if not self.pixel > 0:
            raise UelError("an atlas needs a pixel above 0 m", got=self.pixel, do="give its side in metres, say 8")
