"""Sionna RT as a `uel.Simulator`: PyTorch asks, Dr.Jit answers, and gradients come back.

Gains are incoherent: the sum over paths of the power that an isotropic receiver takes in both polarisations,
as in Sionna's radio maps, so that `path_gain` by tracing and by map lookup estimate the same number.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.backend import runtime
from sim_bridge.scene.tracing_config import TracingConfig
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.core.units import math_angle, to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import require_position_rows
from uel.radio.sites import Site, cell_positions, cells_of, require_sites

if TYPE_CHECKING:
    from sim_bridge.paths.atlas_audit import AtlasAudit

runtime.load()

import drjit as dr  # noqa: E402  (Dr.Jit must not be imported before a usable LLVM is found)
import mitsuba as mi  # noqa: E402
import sionna.rt as rt  # noqa: E402

from sim_bridge.chains.atlas import Atlas, AtlasConfig, geometry_key  # noqa: E402
from sim_bridge.chains.facets import Facets  # noqa: E402
from sim_bridge.paths import dispatch, solver  # noqa: E402
from sim_bridge.paths.frozen_paths import FrozenPaths  # noqa: E402
from sim_bridge.paths.path_set import PathSet, azimuth_deg  # noqa: E402
from sim_bridge.scene import scene_parameters  # noqa: E402


class Sionna:
    """The cells of some sites in one scene. Use `open` (a tile) or `open_empty` (nothing but space)."""

    def __init__(
        self,
        scene: rt.Scene,
        sites: tuple[Site, ...],
        tracing: TracingConfig,
        tile: Tile | None = None,
        size: float = 2e4,
        source: str | None = None,
    ) -> None:
        self._source = source
        self.sites, self.tracing, self.tile, self.scene = sites, tracing, tile, scene
        self.bounds = tile.raster_grid if tile else Grid(size=size, pixel=size)
        self.wavelength = SPEED_OF_LIGHT / _install(scene, sites, tracing)
        self.facets = Facets.of(scene.mi_scene)
        self.atlas: Atlas | None = None
        self.seed = tracing.seed

    # ---- the bridge ----------------------------------------------------------------------------------

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """Ray-traced linear path gain; see `uel.radio.simulator.PathGain.path_gain`.

        Gradients with respect to `position` flow through Dr.Jit (first derivatives only). They are those of
        the paths found: no derivative sees a path appear or vanish. An empty batch gives an empty answer.
        """
        flat = self._checked(position).reshape(-1, 3)
        gain = self._trace(flat, {}).gain() if len(flat) else flat[:, :1].expand(0, self.cell_count)
        return gain.reshape(*position.shape[:-1], self.cell_count).to(position.device)

    def trace(self, position: Float[Tensor, "*n dim"], **given: Tensor) -> PathSet:
        """All paths to positions, one a row, differentiable in `position` and in the parameters that are `given`.

        Parameters are those that `parameters` lists: `cell_position` (cell, 3) and `cell_height` (cell) in metres,
        `azimuth_deg` and `tilt_deg` (cell), `ue_turn` (n, 3; Sionna's three angles in radians) and `ue_velocity`
        (n, 3; m/s), `material/NAME/PROPERTY` and `object/NAME/position`. Names with a slash are passed as
        `sim.trace(position, **{"material/itu_concrete/conductivity": sigma})`.

        Raises `UelError` for positions that are not finite, off the tile or none, and for unknown parameters.
        """
        points = self.rows(position)
        self.require_known(given, len(points))
        return self._trace(points, given)

    def freeze(self, position: Float[Tensor, "*n dim"]) -> FrozenPaths:
        """Find the paths to positions once, to evaluate them again and again."""
        with torch.no_grad():
            return FrozenPaths(self, self.rows(position.detach()).clone())

    def require_known(self, given: Mapping[str, Tensor], receivers: int) -> None:
        """Raise `UelError` for a parameter that is unknown, has another shape, or cannot be learned."""
        scene_parameters.require_known(self.scene, given, self.cell_count, receivers)
        drawn = [n for n, value in given.items() if n.endswith("scattering_coefficient") and value.requires_grad]
        if drawn and self.tracing.scattering > 0:
            raise UelError(
                "scattered paths are drawn by the scattering coefficient, which no derivative sees",
                got=drawn[0],
                do="switch scattering off (Tracing.scattering = 0): what reflections lose to it can be learned",
            )

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """Trace every link: gain, first arrival, strongest path's azimuth of departure, line of sight.

        Differentiable in `position`, where that asks for it.
        """
        points = self.rows(position)
        return self.truth(points, self._trace(points, {}))

    def truth(self, points: Float[Tensor, "n 3"], found: PathSet) -> LinkTruth:
        """What paths to points say of every link."""
        gain = found.gain()
        known = gain > 0
        return LinkTruth(
            position=points[:, :2],
            gain_db=torch.where(known, to_db(gain.clamp(min=1e-30)), 0.0),
            known=known,
            delay=found.first_arrival(),
            azimuth_deg=found.at(azimuth_deg(found.departure), found.strongest()),
            los=self.line_of_sight(points.detach()),
        )

    def reseed(self, seed: int) -> None:
        """Search with other rays from now on, so that the search's randomness does not repeat every call."""
        self.seed = seed

    @property
    def cell_count(self) -> int:
        return len(cell_positions(self.sites))

    @property
    def parameters(self) -> list[str]:
        """Names that `trace` takes beside positions."""
        return scene_parameters.names(self.scene)

    def rows(self, position: Tensor) -> Float[Tensor, "n 3"]:
        """Positions, one a row, checked and put at UE height, in float32 on the CPU."""
        require_position_rows(position)
        if not len(position):
            raise UelError("no positions to trace", got="an empty batch", do="give at least one position")
        return self._checked(position)

    def _checked(self, position: Tensor) -> Tensor:
        """Positions (x, y, z) in float32 on the CPU."""
        if position.shape[-1] not in (2, 3):
            raise UelError(
                "a position has two or three coordinates",
                got=f"shape {tuple(position.shape)}",
                do="give (x, y) or (x, y, z) in metres along the last axis",
            )
        self.bounds.require(position)
        return self.at_height(position.to("cpu", torch.float32)).view(*position.shape[:-1], 3)

    def at_height(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 3"]:
        """(x, y) at UE height above the ground; (x, y, z) as it is."""
        if self.tile:
            return self.tile.at_height(position, self.tracing.ue_height)
        if position.shape[-1] == 2:
            return torch.cat([position, torch.full_like(position[..., :1], self.tracing.ue_height)], -1)
        return position

    # ---- the atlas -----------------------------------------------------------------------------------

    def use(self, atlas: Atlas) -> None:
        """Answer from an atlas. Raises `UelError` when it belongs to other sites, walls or interactions."""
        mine = {"sites": self.sites, "walls": geometry_key(self.facets.corner), "depth": self.tracing.max_depth}
        its = {"sites": atlas.sites, "walls": atlas.meta.get("walls"), "depth": atlas.plan.depth}
        wrong = [name for name in mine if mine[name] != its[name]]
        if wrong:
            raise UelError(f"this atlas has other {', '.join(wrong)}", got=its[wrong[0]], do="build it again")
        if self.tracing.diffraction or self.tracing.scattering > 0:
            raise UelError(
                "an atlas knows reflections and refractions only",
                got=f"diffraction {self.tracing.diffraction}, scattering {self.tracing.scattering}",
                do="switch both off, or leave the atlas out",
            )
        self.atlas = atlas

    def build_atlas(self, plan: AtlasConfig | None = None, grid: Grid | None = None) -> Atlas:
        """Shoot rays from every cell and keep the chains that light each pixel of the tile; then use them."""
        from sim_bridge.paths.atlas_build import build_atlas, presearch

        plan = plan or AtlasConfig(depth=self.tracing.max_depth)
        self.use(build_atlas(self, plan, grid or Grid(size=self.bounds.size, pixel=plan.pixel)))
        if plan.settle:
            presearch(self, plan.settle)
        if plan.audit:
            self.audit_atlas(plan.audit)
        assert self.atlas is not None
        return self.atlas

    def audit_atlas(self, count: int = 64, seed: int = 0) -> "AtlasAudit":
        """What the atlas misses at random places; see `sim_bridge.paths.atlas_audit.audit`."""
        from sim_bridge.paths.atlas_audit import audit

        return audit(self, count, seed)

    # ---- how paths are found -------------------------------------------------------------------------

    def search(self, position: Float[Tensor, "*n dim"]) -> PathSet:
        """All paths to positions by the full search, whatever the atlas knows; it knows them afterwards."""
        return self._trace(self.rows(position), {}, search=True)

    def _trace(self, points: Float[Tensor, "n 3"], given: Mapping[str, Tensor], search: bool = False) -> PathSet:
        parts = [
            (index, solver.evaluate_paths(self.scene, self.facets, found, ends, mine, self.wavelength))
            for index, found, ends, mine in dispatch.find_paths(self, points, given, search)
        ]
        return solver.in_order(parts, len(points))

    def share(
        self, points: Float[Tensor, "n 3"], index: Int[Tensor, " _"], given: Mapping[str, Tensor]
    ) -> tuple[solver.Endpoints, dict[str, Tensor]]:
        """Ends and parameters of some of the receivers."""
        mine = {name: value[index] if name in scene_parameters.UE else value for name, value in given.items()}
        return self.ends(points[index], mine), mine

    def ends(self, points: Float[Tensor, "n 3"], given: Mapping[str, Tensor]) -> solver.Endpoints:
        """Where paths start and end: as the sites say, unless it is given."""
        cells = [cell for _, cell in cells_of(self.sites)]
        source = given.get("cell_position", cell_positions(self.sites))
        if "cell_height" in given:
            source = torch.cat([source[:, :2], given["cell_height"].unsqueeze(-1)], -1)
        azimuth = given.get("azimuth_deg", torch.tensor([cell.azimuth_deg for cell in cells]))
        tilt = given.get("tilt_deg", torch.tensor([cell.tilt_deg for cell in cells]))
        # Sionna's first angle is `uel.core.units.math_angle` of the azimuth; its second turns the boresight from +x
        # towards
        # -z: a positive one is a downtilt.
        turn = torch.stack([(90.0 - azimuth) * math.pi / 180, tilt * math.pi / 180, torch.zeros_like(tilt)], -1)
        return solver.Endpoints(points, given.get("ue_turn", torch.zeros_like(points)), source, turn)

    def __reduce__(self) -> tuple:
        """Travels to other processes as a specification: a scene cannot be pickled, it is opened again there."""
        if self._source is None:
            raise UelError(
                "a simulator made from a scene in memory cannot be sent to another process",
                got=type(self.scene).__name__,
                do="open it from a tile (sim_bridge.open) or give Sionna(..., source=) the scene's file",
            )
        return _reopened, (self._source, self.sites, self.tracing, self.tile, self.bounds.size, self.atlas)

    # ---- maps ----------------------------------------------------------------------------------------

    def radio_map(self, grid: Grid) -> RadioMap:
        """Path gain averaged over each pixel at UE height above the ground, with its Monte-Carlo error."""
        from sim_bridge.radio_maps.solver import radio_map

        return radio_map(self, grid)

    def line_of_sight(self, point: Float[Tensor, "n 3"]) -> Bool[Tensor, "n cell"]:
        """Whether nothing stands between each position (m, three coordinates) and each antenna."""
        target = mi.Point3f(*(mi.Float(c) for c in point.T.contiguous().numpy()))
        return torch.stack([self._sees(site, target) for site, _ in cells_of(self.sites)], dim=-1)

    def _sees(self, site: Site, target: mi.Point3f) -> Bool[Tensor, " n"]:
        way = mi.Point3f(*site.position) - target
        distance = dr.norm(way)
        ray = mi.Ray3f(o=target, d=way / distance, maxt=distance - 1e-3, time=0.0, wavelengths=mi.Color0f())
        return ~torch.from_numpy(self.scene.mi_scene.ray_test(ray).numpy().astype(bool))


def open(tile: Tile, sites: tuple[Site, ...], tracing: TracingConfig | None = None) -> Sionna:
    """Open a tile in Sionna RT, transmitting from the cells of `sites`.

    Raises `UelError` for no site, one inside a wall or off the tile, several carriers, a missing LLVM, or an unknown
    version of Sionna.
    """
    tile.require_sites(sites)
    source = str(tile.scene_file)
    return Sionna(rt.load_scene(source), sites, tracing or TracingConfig(), tile, source=source)


def open_empty(sites: tuple[Site, ...], tracing: TracingConfig | None = None) -> Sionna:
    """Sionna RT in empty space, where `uel.FreeSpace` knows the answer."""
    return Sionna(rt.load_scene(None), sites, tracing or TracingConfig(), source="")


def _reopened(
    source: str, sites: tuple[Site, ...], tracing: TracingConfig, tile: Tile | None, size: float, atlas: Atlas | None
) -> Sionna:
    """The simulator that another process described."""
    sim = Sionna(rt.load_scene(source or None), sites, tracing, tile, size, source)
    if atlas is not None:
        sim.use(atlas)
    return sim


def _install(scene: rt.Scene, sites: tuple[Site, ...], tracing: TracingConfig) -> float:
    """Carrier, materials, arrays and transmitters; returns the carrier's frequency."""
    carrier = require_sites(sites)
    for material in scene.radio_materials.values():
        if isinstance(material, rt.ITURadioMaterial):  # others have values of their own
            material.scattering_coefficient = tracing.scattering
    scene.frequency = carrier.frequency
    array = cells_of(sites)[0][1].array
    scene.tx_array = _planar(array.rows, array.columns, array.spacing, array.pattern, array.polarization)
    scene.rx_array = _planar(1, 1, 0.5, "iso", "VH")
    for index, (site, cell) in enumerate(cells_of(sites)):
        turn = mi.Point3f(math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg), 0.0)
        scene.add(rt.Transmitter(f"tx-{index}", position=mi.Point3f(*site.position), orientation=turn))
    return carrier.frequency


def _planar(rows: int, columns: int, spacing: float, pattern: str, polarization: str) -> rt.PlanarArray:
    return rt.PlanarArray(
        num_rows=rows,
        num_cols=columns,
        vertical_spacing=spacing,
        horizontal_spacing=spacing,
        pattern=pattern,
        polarization=polarization,
    )
