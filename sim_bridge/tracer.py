"""Sionna RT as a `uel.Simulator`: PyTorch asks, Dr.Jit answers, and gradients come back.

Gains are incoherent: the sum over paths of the power that an isotropic receiver takes in both polarisations,
as in Sionna's radio maps, so that `path_gain` by tracing and by map lookup estimate the same number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge import runtime
from uel.errors import UelError
from uel.grid import Grid
from uel.radiomap import RadioMap
from uel.reports import Truth
from uel.simulator import require_rows
from uel.sites import Site, cells_of, require_sites
from uel.tile import Tile
from uel.units import math_angle, to_db

runtime.load()

import drjit as dr  # noqa: E402  (Dr.Jit must not be imported before a usable LLVM is found)
import mitsuba as mi  # noqa: E402
import sionna.rt as rt  # noqa: E402

from sim_bridge import adapter  # noqa: E402

DEVICE = "cuda" if mi.variant().startswith("cuda") else "cpu"  # where Dr.Jit takes torch's tensors from


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """How hard the ray tracer tries."""

    max_depth: int = 3
    """interactions on a path at most"""
    samples: int = 30_000
    """rays per cell in the search for paths"""
    diffraction: bool = True
    """first-order diffraction at edges"""
    scattering: float = 0.0
    """scattering coefficient S of every material (Degli-Esposti et al. 2007); 0 switches diffuse reflection off"""
    map_rays: int = 2_000_000
    """rays per cell of a radio map"""
    map_batches: int = 8
    """independent batches of those rays; their scatter is the map's Monte-Carlo error"""
    max_paths: int = 500_000
    """candidate paths per cell that one call may hold; bounds its memory"""
    chunk: int = 64
    """receivers in one call of the path solver (a fixed width, so that kernels are compiled once)"""
    ue_height: float = 1.5
    """m above the ground, for positions given as (x, y)"""
    seed: int = 1
    """seed of all rays"""

    def __post_init__(self) -> None:
        if min(self.max_depth + 1, self.samples, self.chunk) < 1 or self.map_batches < 2:
            raise UelError(
                "tracing needs rays, and at least two batches of them for an error bar", got=self, do="raise the counts"
            )


class Sionna:
    """The cells of some sites in one scene. Use `open` (a tile) or `open_empty` (nothing but space)."""

    def __init__(
        self,
        scene: rt.Scene,
        sites: tuple[Site, ...],
        tracing: Tracing,
        tile: Tile | None = None,
        size: float = 20_000.0,
    ) -> None:
        self.sites, self.tracing, self.tile = sites, tracing, tile
        self.scene = scene
        self._bounds = tile.raster_grid if tile else Grid(size=size, pixel=size)
        _install(scene, sites, tracing)
        self._solver = adapter.path_solver()
        self.map_solver = rt.RadioMapSolver()
        self._traced_gain = dr.wrap(source="torch", target="drjit")(self._gain_of_chunk)
        self._seed = tracing.seed

    # ---- the bridge ----------------------------------------------------------------------------------

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """Ray-traced linear path gain; see `uel.simulator.PathGain.path_gain`.

        Gradients with respect to `position` flow through Dr.Jit (first derivatives only). They are those of
        the paths found: no derivative sees a path appear or vanish. An empty batch gives an empty answer.
        """
        flat = self._checked(position).reshape(-1, 3)
        chunks = [self._gain_padded(part) for part in flat.split(self.tracing.chunk)] if len(flat) else []
        gain = torch.cat(chunks) if chunks else flat[:, :1].expand(0, self.cell_count)
        return gain.reshape(*position.shape[:-1], self.cell_count).to(position.device)

    def paths(self, position: Float[Tensor, "*n dim"]) -> Truth:
        """Trace every link: gain, first arrival, strongest path's azimuth of departure, line of sight."""
        require_rows(position)
        points = self._checked(position.detach())
        parts = [self._truth_of_chunk(part) for part in points.split(self.tracing.chunk)] if len(points) else []
        if not parts:
            raise UelError("no positions to trace", got="an empty batch", do="give at least one position")
        return Truth.cat(parts)

    def reseed(self, seed: int) -> None:
        """Trace with other rays from now on, so that the search's randomness does not repeat every call."""
        self._seed = seed

    @property
    def cell_count(self) -> int:
        return len(self.scene.transmitters)

    def _checked(self, position: Tensor) -> Tensor:
        """Positions (x, y, z) in float32 on the CPU, a view that Dr.Jit takes (a Parameter it does not)."""
        if position.shape[-1] not in (2, 3):
            raise UelError(
                "a position has two or three coordinates",
                got=f"shape {tuple(position.shape)}",
                do="give (x, y) or (x, y, z) in metres along the last axis",
            )
        self._bounds.require(position)
        return self.at_height(position.to("cpu", torch.float32)).view(*position.shape[:-1], 3)

    def at_height(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 3"]:
        """(x, y) at UE height above the ground; (x, y, z) as it is."""
        if self.tile:
            return self.tile.at_height(position, self.tracing.ue_height)
        if position.shape[-1] == 2:
            return torch.cat([position, torch.full_like(position[..., :1], self.tracing.ue_height)], -1)
        return position

    def _gain_padded(self, point: Float[Tensor, "n 3"]) -> Float[Tensor, "n cell"]:
        with torch.autocast("cpu", enabled=False):
            x, y, z = _pad(point, self.tracing.chunk).unbind(-1)
            gain = self._traced_gain(*(v.contiguous().to(DEVICE) for v in (x, y, z))).to(point.device)
        if gain.requires_grad:
            gain.register_hook(_only_once())
        return gain[: len(point)]

    def _gain_of_chunk(self, x: mi.TensorXf, y: mi.TensorXf, z: mi.TensorXf) -> mi.TensorXf:
        paths = self._solve(mi.Point3f(x.array, y.array, z.array))
        power = _power(paths)
        return dr.sum(power, axis=2) if power.shape[2] else dr.zeros(mi.TensorXf, power.shape[:2])

    def _solve(self, position: mi.Point3f) -> rt.Paths:
        adapter.set_receivers(self.scene, position)
        return self._solver(
            self.scene,
            max_depth=self.tracing.max_depth,
            samples_per_src=self.tracing.samples,
            max_num_paths_per_src=self.tracing.max_paths,
            diffraction=self.tracing.diffraction,
            diffuse_reflection=self.tracing.scattering > 0,
            seed=self._seed,
        )

    def _truth_of_chunk(self, point: Float[Tensor, "n 3"]) -> Truth:
        count = len(point)
        with dr.suspend_grad():
            paths = self._solve(mi.Point3f(*(mi.Float(c) for c in _pad(point, self.tracing.chunk).T.numpy())))
            power, delay, angle = (_torch(v)[:count] for v in (_power(paths), paths.tau, paths.phi_t))
        gain, delay, angle = _summary(power, delay, angle)
        known = gain > 0
        return Truth(
            position=point[:, :2],
            gain_db=torch.where(known, to_db(gain.clamp(min=1e-30)), 0.0),
            known=known,
            delay=delay,
            azimuth_deg=torch.where(known, (90.0 - torch.rad2deg(angle)) % 360.0, 0.0),
            los=self.line_of_sight(point),
        )

    # ---- maps ----------------------------------------------------------------------------------------

    def radio_map(self, grid: Grid) -> RadioMap:
        """Path gain averaged over each pixel at UE height above the ground, with its Monte-Carlo error."""
        from sim_bridge.maps import radio_map

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


def open(tile: Tile, sites: tuple[Site, ...], tracing: Tracing | None = None) -> Sionna:
    """Open a tile in Sionna RT, transmitting from the cells of `sites`.

    Raises `UelError` for no site, several carriers, a missing LLVM, or an unknown version of Sionna.
    """
    return Sionna(rt.load_scene(str(tile.scene_file)), sites, tracing or Tracing(), tile)


def open_empty(sites: tuple[Site, ...], tracing: Tracing | None = None) -> Sionna:
    """Sionna RT in empty space, where `uel.FreeSpace` knows the answer."""
    return Sionna(rt.load_scene(None), sites, tracing or Tracing())


def _install(scene: rt.Scene, sites: tuple[Site, ...], tracing: Tracing) -> None:
    """Carrier, materials, arrays, transmitters and the receivers' places."""
    carrier = require_sites(sites)
    for material in scene.radio_materials.values():
        material.scattering_coefficient = tracing.scattering
    scene.frequency = carrier.frequency
    array = cells_of(sites)[0][1].array
    scene.tx_array = _planar(array.rows, array.columns, array.spacing, array.pattern, array.polarization)
    scene.rx_array = _planar(1, 1, 0.5, "iso", "VH")
    for index, (site, cell) in enumerate(cells_of(sites)):
        # Sionna's second angle turns the boresight from +x towards -z: a positive one is a downtilt.
        turn = mi.Point3f(math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg), 0.0)
        scene.add(rt.Transmitter(f"tx-{index}", position=mi.Point3f(*site.position), orientation=turn))
    adapter.reserve_receivers(scene, tracing.chunk)


def _planar(rows: int, columns: int, spacing: float, pattern: str, polarization: str) -> rt.PlanarArray:
    return rt.PlanarArray(
        num_rows=rows,
        num_cols=columns,
        vertical_spacing=spacing,
        horizontal_spacing=spacing,
        pattern=pattern,
        polarization=polarization,
    )


def _power(paths: rt.Paths) -> mi.TensorXf:
    """Power of each path, `receiver cell path`: transmit antennas in phase, receive antennas summed."""
    real, imag = paths.a
    receivers, _, cells, antennas, count = real.shape
    if count == 0:  # Dr.Jit does not scale an empty array: "incompatible shapes"
        return dr.zeros(mi.TensorXf, (receivers, cells, 0))
    real, imag = dr.sum(real, axis=3), dr.sum(imag, axis=3)
    return dr.sum(dr.square(real) + dr.square(imag), axis=1) / antennas


def _summary(power: Tensor, delay: Tensor, angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Total gain, first arrival and the strongest path's angle, each `receiver cell`."""
    if power.shape[-1] == 0:
        return (torch.zeros(power.shape[:2]),) * 3
    first = torch.where(delay >= 0, delay, torch.inf).amin(-1)
    strongest = angle.gather(-1, power.argmax(-1, keepdim=True)).squeeze(-1)
    return power.sum(-1), torch.where(first.isfinite(), first, 0.0), strongest


def _torch(values: mi.TensorXf) -> Tensor:
    return torch.from_numpy(values.numpy().copy())


def _only_once() -> Callable[[Tensor], None]:
    """A hook that refuses a second backward pass: Dr.Jit would repeat the first one's gradients, silently."""
    used = False

    def refuse(_: Tensor) -> None:
        nonlocal used
        if used:
            raise UelError(
                "a traced path gain can be differentiated once",
                got="a second backward pass through the same call",
                do="call path_gain again for each backward pass, without retain_graph",
            )
        used = True

    return refuse


def _pad(point: Tensor, count: int) -> Tensor:
    """Repeat the last position until the chunk is full."""
    missing = count - len(point)
    return torch.cat([point, point[-1:].detach().expand(missing, 3)]) if missing else point
