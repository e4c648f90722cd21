"""Configuration of an atlas of chains. No framework is imported here."""

from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class AtlasConfig:
    """How an atlas is built."""

    pixel: float = 8.0
    """m, side of its pixels"""
    rays: int = 1_000_000
    """branching rays per cell"""
    depth: int = 3
    """interactions on a path at most"""
    seed: int = 1
    """seed of the rays"""
    settle: int = 512
    """unreached pixels at most whose centres the full search is asked for beforehand; 0 leaves it to queries"""
    audit: int = 64
    """places at which the full search says what is missing; 0 asks nowhere"""

    def __post_init__(self) -> None:
        if min(self.rays, self.depth) < 1 or not self.pixel > 0 or min(self.audit, self.settle) < 0:
            raise UelError("an atlas needs rays, interactions and pixels", got=self, do="raise them, or search fully")
