"""Objects that show themselves: a line on a console, facts beside a picture in a notebook."""

from abc import ABC, abstractmethod
from typing import Any

from uel._lazy import function_named
from uel.core.display.short_repr import facts_text


class Viewable(ABC):
    """An object with `facts` and a `plot`. A dataclass of this kind is declared with `repr=False`.

    Example:
        >>> import uel
        >>> uel.FreeSpace((uel.Site(position=(0.0, 0.0, 25.0)),), size=64.0).radio_map(uel.Grid(size=64.0, pixel=8.0))
        <RadioMap: cells 1, size 64 m, pixel 8 m, pixels with a path 100%, RSRP of the strongest cell ... dBm, ...>
    """

    @property
    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What is worth knowing of the object, by name; values have their units."""

    @abstractmethod
    def plot(self, ax: Any = None) -> Any:
        """Draw the object on Matplotlib axes, and return them."""

    def __repr__(self) -> str:
        return facts_text(type(self).__name__, self.facts)

    def _repr_html_(self) -> str:
        """Facts beside a thumbnail of the plot, as notebooks show the object."""
        return function_named("uel.plots.thumbnail:facts_and_thumbnail")(self)
