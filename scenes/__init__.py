"""Build tiles: maps and meshes in, a tile folder out, sites on it.

`build(source, folder)` makes a tile of a map or of a bundled city, `place(tile, count)` gives sites on it, and the
functions `perturb_…` make maps that differ from the truth. The names are imported on first use.

Example:
    >>> import tempfile, scenes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tile = scenes.build("etoile", folder + "/etoile", size=128.0, margin=0.0)
    ...     sites = scenes.place(tile, count=2, seed=0)
    >>> tile.size, len(sites)
    (128.0, 2)
"""

from typing import TYPE_CHECKING

from uel._lazy import lazy_names

if TYPE_CHECKING:
    from scenes.builder import build as build
    from scenes.config import TileBuildConfig as TileBuildConfig
    from scenes.perturbation import Perturbation as Perturbation
    from scenes.sites.placement import place as place
    from scenes.variants.map_perturbation import perturb_map as perturb_map
    from scenes.variants.map_perturbation import perturb_sites as perturb_sites
    from scenes.variants.mesh_perturbation import perturb_meshes as perturb_meshes

__all__ = ["build", "place", "perturb_map", "perturb_sites", "perturb_meshes", "Perturbation", "TileBuildConfig"]

_HOME = {
    "build": "scenes.builder",
    "place": "scenes.sites.placement",
    "perturb_map": "scenes.variants.map_perturbation",
    "perturb_sites": "scenes.variants.map_perturbation",
    "perturb_meshes": "scenes.variants.mesh_perturbation",
    "Perturbation": "scenes.perturbation",
    "TileBuildConfig": "scenes.config",
}
__getattr__, __dir__ = lazy_names("scenes", _HOME)
