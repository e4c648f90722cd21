"""Sionna RT as a `uel.Simulator`: PyTorch tensors in and out, paths by Dr.Jit, and gradients through both.

Gains are incoherent: the sum over paths of the power that an isotropic receiver takes in both polarisations,
as in Sionna's radio maps, so that `path_gain` by tracing and by map lookup estimate the same number.
"""

from dataclasses import fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge.backend import runtime
from sim_bridge.engines.config import EngineConfig
from uel.core.grid import Grid
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.scene_files import require_sound_scene
from uel.geo.tile import Tile
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

runtime.load_sionna()

import drjit as dr  # noqa: E402, F401  (Dr.Jit must not be imported before a usable LLVM is found)
import sionna.rt as rt  # noqa: E402

from sim_bridge.chains.atlas import Atlas  # noqa: E402
from sim_bridge.chains.config import AtlasConfig  # noqa: E402
from sim_bridge.chains.facets import Facets  # noqa: E402
from sim_bridge.paths.atlas_audit import AtlasAudit, audit  # noqa: E402
from sim_bridge.paths.atlas_build import build_atlas  # noqa: E402
from sim_bridge.paths.dispatch import PathFinder  # noqa: E402
from sim_bridge.paths.frozen_paths import FrozenPaths  # noqa: E402
from sim_bridge.paths.link_values import values_of_links  # noqa: E402
from sim_bridge.paths.path_set import PathSet, azimuth_deg  # noqa: E402
from sim_bridge.paths.polylines import PathPolylines, trace_polylines  # noqa: E402
from sim_bridge.radio_maps.carriers import radio_map_of_carriers  # noqa: E402
from sim_bridge.scene import scene_parameters  # noqa: E402
from sim_bridge.scene.radio_scene import RadioScene  # noqa: E402


class Sionna:
    """The cells of some sites, on one carrier or several, in one scene.

    Use `sim_bridge.open` (a tile) or `open_empty` (nothing but space).

    `radio_scene` is the scene, which does not change; `finder` finds paths in it. Functions of sub-packages take one of
    the two.

    Example:
        >>> import torch, sim_bridge, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> simulator = sim_bridge.open_empty(sites)
        >>> paths = simulator.trace(torch.tensor([[60.0, 80.0]]))  # a `PathSet`, differentiable
        >>> paths.gain().shape, len(paths.power)
        (torch.Size([1, 1]), 1)
    """

    def __init__(
        self,
        scene: rt.Scene,
        sites: tuple[Site, ...],
        tracing: TracingConfig,
        tile: Tile | None = None,
        size: float = 2e4,
        source: str | None = None,
    ) -> None:
        """Put the transmitters of `sites` into a scene.

        Without a tile, positions must lie in a square of `size` metres; `source` is the file that the scene was read
        from (empty for empty space), by which it can be opened again in another process.
        """
        self._source = source
        self.radio_scene = RadioScene.from_sionna(scene, sites, tracing, tile, size)
        self.finder = PathFinder(self.radio_scene)
        self.sites, self.tile = sites, tile

    # ---- paths ---------------------------------------------------------------------------------------

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """Ray-traced linear path gain; see `uel.radio.simulator.PathGain.path_gain`.

        Gradients with respect to `position` flow through Dr.Jit (first derivatives only). They are those of
        the paths found: no derivative sees a path appear or vanish. An empty batch gives an empty tensor.
        """
        flat = self.radio_scene.checked(position).reshape(-1, 3)
        cells = self.cell_count
        if not len(flat):
            return flat[:, :1].expand(0, cells).reshape(*position.shape[:-1], cells)
        (gain,) = values_of_links(self.finder, flat, lambda _, paths: (paths.gain(),))
        return gain.reshape(*position.shape[:-1], cells)

    def trace(self, position: Float[Tensor, "*n dim"], **given: Tensor) -> PathSet:
        """All paths to positions, one a row, differentiable in `position` and in the parameters that are `given`.

        Parameters are those that `parameters` lists: `cell_position` (cell, 3) and `cell_height` (cell) in metres,
        `azimuth_deg` and `tilt_deg` (cell), `cell_velocity` (cell, 3; m/s), `ue_orientation` (n, 3; Sionna's three
        angles in radians) and `ue_velocity` (n, 3; m/s), `material/NAME/PROPERTY`, `object/NAME/position` (m) and
        `object/NAME/velocity` (m/s), three numbers each; `beam_weights` (cell, antenna; complex, of power 1 a cell)
        replace antennas in phase in powers, not in `amplitude`; on a tile with trees `foliage/specific_attenuation`
        (dB/m) and `foliage/max_attenuation` (dB). Names with a slash are passed as
        `sim.trace(position, **{"material/itu_concrete/conductivity": sigma})`.

        Raises `UelError` for positions that are not finite, off the tile or none, and for unknown parameters.
        """
        return self.finder.trace(position, given)

    def search(self, position: Float[Tensor, "*n dim"]) -> PathSet:
        """All paths to positions by the full search, even where the atlas has chains; they are added to it."""
        return self.finder.trace(position, {}, search=True)

    def trace_polylines(self, position: Float[Tensor, "n dim"]) -> PathPolylines:
        """Every path to positions as a line through space, found by the full search."""
        return trace_polylines(self.finder, position)

    def freeze(self, position: Float[Tensor, "*n dim"]) -> FrozenPaths:
        """Find the paths to positions once, to evaluate them many times."""
        with torch.no_grad():
            return FrozenPaths(self.finder, self.rows(position.detach()).clone())

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """Trace every link: gain, first arrival, strongest path's azimuth of departure, line of sight.

        Differentiable in `position`, where that asks for it.
        """
        points, names = self.rows(position), [f.name for f in fields(LinkTruth)]

        def values(part: Float[Tensor, "part 3"], paths: PathSet) -> tuple[Tensor, ...]:
            truth = self.link_truth(part, paths)
            return tuple(getattr(truth, name) for name in names)

        return LinkTruth(**dict(zip(names, values_of_links(self.finder, points, values), strict=True)))

    def link_truth(self, points: Float[Tensor, "n 3"], paths: PathSet) -> LinkTruth:
        """Gain, delay, azimuth and line of sight of every link, from the paths to `points`."""
        gain = paths.gain()
        known = gain > 0
        return LinkTruth(
            position=points[:, :2],
            gain_db=torch.where(known, to_db(gain.clamp(min=1e-30)), 0.0),
            known=known,
            delay=paths.first_arrival().float(),
            azimuth_deg=paths.values_at(azimuth_deg(paths.departure), paths.strongest_row()),
            los=self.line_of_sight(points.detach()),
        )

    def reseed(self, seed: int) -> None:
        """Search with other rays from now on, so that the search's randomness does not repeat every call."""
        self.finder.seed = seed

    # ---- the scene -----------------------------------------------------------------------------------

    @property
    def scene(self) -> rt.Scene:
        """Sionna's scene."""
        return self.radio_scene.rt_scene

    @property
    def tracing(self) -> TracingConfig:
        """Rays and interactions."""
        return self.radio_scene.tracing

    @property
    def facets(self) -> Facets:
        """Planes of walls and roofs, of which chains are made."""
        return self.radio_scene.facets

    @property
    def bounds(self) -> Grid:
        """The square that positions must lie in."""
        return self.radio_scene.bounds

    @property
    def cell_count(self) -> int:
        """Cells of all sites together."""
        return self.radio_scene.cell_count

    @property
    def parameters(self) -> list[str]:
        """Names that `trace` takes beside positions."""
        return scene_parameters.parameter_names(self.scene, self.radio_scene.foliage is not None)

    def rows(self, position: Tensor) -> Float[Tensor, "n 3"]:
        """See `RadioScene.rows`."""
        return self.radio_scene.rows(position)

    def at_height(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 3"]:
        """See `RadioScene.at_height`."""
        return self.radio_scene.at_height(position)

    def line_of_sight(self, point: Float[Tensor, "n 3"]) -> Bool[Tensor, "n cell"]:
        """See `RadioScene.line_of_sight`."""
        return self.radio_scene.line_of_sight(point)

    # ---- the atlas -----------------------------------------------------------------------------------

    @property
    def atlas(self) -> Atlas | None:
        """The atlas that paths are taken from, with what it has learned."""
        return self.finder.atlas

    def attach_atlas(self, atlas: Atlas, learns: bool = True) -> None:
        """Take paths from an atlas from now on; unless it `learns`, what searches find is not added to it.

        Raises `UelError` when it has other sites, walls or interactions.
        """
        self.finder.attach_atlas(atlas, learns)

    def build_atlas(
        self,
        config: AtlasConfig | None = None,
        grid: Grid | None = None,
        folder: Path | None = None,
        engine: EngineConfig | None = None,
    ) -> Atlas:
        """Find what is worth trying at each pixel of the tile from every mast, and take paths from that atlas.

        `folder` keeps what was made of each mast, so that an atlas of more sites needs the new ones alone; `engine`
        makes several masts at once. See `sim_bridge.paths.atlas_build.build_atlas`.
        """
        config = config or AtlasConfig(depth=self.tracing.max_depth)
        return build_atlas(self, config, grid or Grid(size=self.bounds.size, pixel=config.pixel), folder, engine)

    def audit_atlas(self, count: int = 64, seed: int = 0) -> AtlasAudit:
        """Compare the atlas with the full search at random positions; see `sim_bridge.paths.atlas_audit.audit`."""
        return audit(self.finder, count, seed)

    # ---- maps ----------------------------------------------------------------------------------------

    def radio_map(self, grid: Grid) -> RadioMap:
        """Path gain averaged over each pixel at UE height above the ground, with its Monte-Carlo error."""
        return radio_map_of_carriers(self.radio_scene, grid)

    # ---- other processes -----------------------------------------------------------------------------

    def __reduce__(self) -> tuple:
        """Pickle the simulator as a specification: a scene cannot be pickled, the other process opens it again."""
        if self._source is None:
            raise UelError(
                "a simulator made from a scene in memory cannot be sent to another process",
                got=type(self.scene).__name__,
                do="open it from a tile (sim_bridge.open) or give Sionna(..., source=) the scene's file",
            )
        return _reopen, (self._source, self.sites, self.tracing, self.tile, self.bounds.size, self.atlas)


def open_tile(tile: Tile, sites: tuple[Site, ...], tracing: TracingConfig) -> Sionna:
    """Open a tile in Sionna RT: the factory of the backend `sionna`, see `sim_bridge.registry.open`.

    Raises `UelError` for no site, one inside a wall or off the tile, cells of one carrier with
    different polarizations, a missing LLVM, or an unknown
    version of Sionna.
    """
    tile.require_sites(sites, tracing.material_extrapolation)
    require_sound_scene(tile)
    source = str(tile.scene_file)
    return Sionna(rt.load_scene(source), sites, tracing, tile, source=source)


def open_empty(sites: tuple[Site, ...], tracing: TracingConfig | None = None) -> Sionna:
    """Sionna RT in empty space, where `uel.FreeSpace` is the closed form.

    Example:
        >>> import torch, sim_bridge, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> simulator = sim_bridge.open_empty(sites)
        >>> closed_form = uel.FreeSpace(sites)
        >>> position = torch.tensor([[60.0, 80.0]])
        >>> bool((simulator.path_gain(position) / closed_form.path_gain(position) - 1).abs() < 1e-4)
        True
    """
    return Sionna(rt.load_scene(None), sites, tracing or TracingConfig(), source="")


def _reopen(
    source: str, sites: tuple[Site, ...], tracing: TracingConfig, tile: Tile | None, size: float, atlas: Atlas | None
) -> Sionna:
    """The simulator that another process described."""
    if tile is not None:
        require_sound_scene(tile)
    sim = Sionna(rt.load_scene(source or None), sites, tracing, tile, size, source)
    if atlas is not None:
        sim.attach_atlas(atlas)
    return sim
