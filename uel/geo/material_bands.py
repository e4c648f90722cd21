"""The frequencies at which the materials of a tile are defined."""

from collections.abc import Mapping
from functools import reduce

from uel.errors import UelError
from uel.radio.config import Carrier

Bands = list[list[float]]
"""lowest and highest frequency in Hz of each band"""


def require_materials_at(carrier: Carrier, bands: Mapping[str, Bands], tile: str) -> None:
    """Raise `UelError` when a material of a tile is not defined at the carrier's frequency; `bands` are those of each
    material by name."""
    undefined = [name for name, own in bands.items() if not _is_in_bands(carrier.frequency, own)]
    if not undefined:
        return
    shown = "; ".join(f"{name} is defined at {_bands_text(bands[name])}" for name in undefined)
    shared = reduce(_shared_bands, bands.values())
    usable = f"choose a carrier of {_bands_text(shared)}, where all materials are defined, or " if shared else ""
    raise UelError(
        f"tile {tile} has materials that are not defined at this frequency: {', '.join(undefined)}",
        got=f"{carrier.frequency / 1e9:g} GHz: no radio map and no paths there; by ITU-R P.2040 {shown}",
        do=f"{usable}build the tile with other materials (without soil: uel build --ground concrete), or use the "
        "formulas beyond their bands: --tracing.material-extrapolation",
    )


def _is_in_bands(frequency: float, bands: Bands) -> bool:
    return any(low <= frequency <= high for low, high in bands)


def _shared_bands(one: Bands, other: Bands) -> Bands:
    """The bands in Hz that lie in a band of both lists."""
    pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [[low, high] for low, high in pairs if low < high]


def _bands_text(bands: Bands) -> str:
    return ", ".join(f"{low / 1e9:g}-{high / 1e9:g} GHz" for low, high in bands)
