"""Names that are imported on first use: those of a package (PEP 562), and functions of packages above."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from uel.extras import explained_imports

Accessor = Callable[[str], Any]


class DeprecatedNameWarning(FutureWarning):
    """A public name of before was used. A `FutureWarning`, since whoever runs a program sees it, too."""


def lazy_names(
    package: str, home: Mapping[str, str], renamed: Mapping[str, str] | None = None
) -> tuple[Accessor, Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are defined elsewhere.

    Args:
        package: whose names these are.
        home: for each name its `module`, or `module:name` where the name differs there.
        renamed: names of the release before, and the names of today; `DeprecatedNameWarning` tells whoever uses them.

    Raises `AttributeError` for other names, as any module does, and `MissingExtraError` where a library is missing that
    an extra brings.

    Example:
        >>> getattr_, dir_ = lazy_names("example", {"Grid": "uel.core.grid"})
        >>> getattr_("Grid").__name__, dir_()
        ('Grid', ['Grid'])
    """

    def get(name: str) -> Any:
        if renamed and name in renamed:
            message = f"{package}.{name} is now {package}.{renamed[name]}; the old name goes with the next release"
            warnings.warn(message, DeprecatedNameWarning, stacklevel=2)
            name = renamed[name]
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = home[name].partition(":")
        return function_named(f"{module}:{attribute or name}")

    return get, lambda: [*home]


def function_named(home: str) -> Any:
    """What stands at `module:name`, imported now.

    An object calls by name what is written for it in a package above its own: `tile.plot()` stands in `uel.plots`,
    which imports tiles, and with it Matplotlib is imported when the first plot is made.

    Example:
        >>> function_named("uel.core.units:to_db").__name__
        'to_db'
    """
    module, _, name = home.partition(":")
    with explained_imports():
        return getattr(import_module(module), name)
