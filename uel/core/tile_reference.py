"""The tile that an artefact was made on, and the one comparison of an artefact with a tile."""

from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True)
class TileReference:
    """Name and fingerprint of the tile that a radio map, a survey or a report of phones belongs to.

    Example:
        >>> from uel.core.tile_reference import TileReference
        >>> str(TileReference("paris", "0123456789abcdef"))
        'paris (0123456789abcdef)'
    """

    name: str
    fingerprint: str
    """`uel.geo.tile.Tile.fingerprint`: a hash of the tile's files, its sites included"""

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


def require_same_tile(artefact: str, made_on: TileReference | None, tile: TileReference, do: str) -> None:
    """Raise `UelError` where an artefact was made on another tile, or on the tile as it was before it was changed.

    Args:
        artefact: what it is, "radio map of data/maps/paris" for example.
        made_on: the tile that it names; None where it names none, which is accepted here.
        tile: the tile that it is used with.
        do: the remedy.

    Example:
        >>> from uel.core.tile_reference import TileReference, require_same_tile
        >>> paris, rome = TileReference("paris", "00"), TileReference("rome", "01")
        >>> require_same_tile("radio map", paris, paris, do="")
        >>> require_same_tile("radio map", paris, rome, do="trace one: uel map rome")
        Traceback (most recent call last):
            ...
        uel.errors.UelError: this radio map is of another tile
          got: made on paris (00), used with rome (01)
          do:  trace one: uel map rome
    """
    if made_on is None or made_on.fingerprint == tile.fingerprint:
        return
    changed = " (the tile or its sites changed since)" if made_on.name == tile.name else ""
    raise UelError(f"this {artefact} is of another tile", got=f"made on {made_on}, used with {tile}{changed}", do=do)
