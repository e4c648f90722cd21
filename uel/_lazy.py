"""Lazy facades: names of a package that are imported on first use (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from uel.extras import explained_imports

Accessor = Callable[[str], Any]


def lazy_names(package: str, home: Mapping[str, str]) -> tuple[Accessor, Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are defined elsewhere.

    `home` gives for each name its `module`, or `module:name` where the name differs there.

    Raises `AttributeError` for other names, as any module does, and `MissingExtraError` where a library is missing that
    an extra brings.

    Example:
        >>> getattr_, dir_ = lazy_names("example", {"Grid": "uel.core.grid"})
        >>> getattr_("Grid").__name__, dir_()
        ('Grid', ['Grid'])
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = home[name].partition(":")
        with explained_imports():
            return getattr(import_module(module), attribute or name)

    return get, lambda: [*home]
