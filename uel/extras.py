"""Libraries that come with an extra of the wheel, and the message where one is missing.

The package is installed whole; `pip install uel` brings what `uel` itself needs, and an extra what another package
needs: `uel[sim]`, `uel[scenes]`, `uel[train]`, `uel[explore]`, or `uel[all]`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from uel.errors import UelError

EXTRA_OF_LIBRARY = {
    **dict.fromkeys(("sionna", "mitsuba", "drjit", "psutil", "ray"), "sim"),
    **dict.fromkeys(
        ("osmnx", "osmium", "requests", "shapely", "geopandas", "pyogrio", "rasterio", "trimesh", "xarray"), "scenes"
    ),
    **dict.fromkeys(("lightning", "wandb"), "train"),
    **dict.fromkeys(("streamlit", "pydeck", "plotly", "starlette"), "explore"),
}
"""by the name that is imported; `tests/uel/test_extras.py` compares it with `pyproject.toml`"""


EXTRA_OF_PACKAGE = {"sim_bridge": "sim", "scenes": "scenes", "training": "train", "explorer": "explore"}
INCLUDED_EXTRAS: dict[str, set[str]] = {
    "sim": set(), "scenes": {"sim"}, "train": {"scenes", "sim"}, "explore": {"sim"}, "tensorboard": set(),
}  # fmt: skip


class MissingExtraError(UelError, ImportError):
    """A library is not installed that an extra brings: an `ImportError`, too, for whoever can do without."""


def install_command(*extras: str) -> str:
    """The command that installs some extras, each named unless another one includes it.

    Example:
        >>> install_command("train", "scenes", "sim")
        'pip install "uel[train]"'
        >>> install_command("scenes", "explore")
        'pip install "uel[explore,scenes]"'
    """
    included = {inner for extra in extras for inner in INCLUDED_EXTRAS[extra]}
    return f'pip install "uel[{",".join(sorted(set(extras) - included))}]"'


@contextmanager
def explained_imports() -> Iterator[None]:
    """Imports within that name the extra of a library which is not installed.

    Raises `MissingExtraError` for a library of an extra; a module that no extra brings raises as without this.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA_OF_LIBRARY:
            raise
        what = "this needs a library that is not installed"
        do = install_command(EXTRA_OF_LIBRARY[library], *_extras_of_importers(error))
        raise MissingExtraError(what, got=library, do=do) from error


def _extras_of_importers(error: ModuleNotFoundError) -> list[str]:
    """The extras of the packages that were being imported: they need more libraries than the first that is missing."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    packages = {name.partition(".")[0] for name in names}
    return [extra for package, extra in EXTRA_OF_PACKAGE.items() if package in packages]
