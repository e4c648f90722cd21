"""A scene with the cells of some sites in it, which does not change while paths are found."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.scatterers import Scatterers
from sim_bridge.chains.wedges import NO_COHERENCE
from sim_bridge.scene import cell_antennas, scene_parameters
from sim_bridge.scene.endpoints import Endpoints, rotation
from sim_bridge.scene.foliage import Foliage
from sim_bridge.scene.material_frequency import set_frequency
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.core.precision import full_precision
from uel.core.units import math_angle
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.simulator import require_position_rows
from uel.radio.sites import Site, cell_positions, cells_of, require_sites, split_by_carrier
from uel.radio.tracing_config import TracingConfig


@dataclass(frozen=True, eq=False)
class RadioScene:
    """A Sionna scene, the sites that transmit in it, and how it is traced."""

    rt_scene: rt.Scene
    """with the sites' transmitters in it"""
    sites: tuple[Site, ...]
    tracing: TracingConfig
    tile: Tile | None
    """None: the ground is z = 0"""
    bounds: Grid
    """the square that positions must lie in"""
    wavelength: float
    """m; of several carriers that of the lowest, see `carriers`"""
    facets: Facets

    @staticmethod
    def from_sionna(
        rt_scene: rt.Scene, sites: tuple[Site, ...], tracing: TracingConfig, tile: Tile | None, size: float
    ) -> "RadioScene":
        """Put carrier, arrays and transmitters into a scene; `size` is the side of its square (m) without a tile."""
        bounds = tile.raster_grid if tile else Grid(size=size, pixel=size)
        wavelength = SPEED_OF_LIGHT / _add_transmitters(rt_scene, sites, tracing)
        return RadioScene(rt_scene, sites, tracing, tile, bounds, wavelength, Facets.from_scene(rt_scene.mi_scene))

    @cached_property
    def carriers(self) -> "list[tuple[Int[Tensor, ' cell'], RadioScene]]":
        """The cells of each carrier, and the scene with these cells alone: they share paths, and not fields."""
        networks = split_by_carrier(self.sites)
        if len(networks) == 1:
            return [(torch.arange(self.cell_count, device="cpu"), self)]
        of_cell = [cell.carrier for _, cell in cells_of(self.sites)]
        scenes = []
        for carrier, sites in networks.items():
            cells = torch.tensor([number for number, own in enumerate(of_cell) if own == carrier], device="cpu")
            part = replace(self, sites=sites, wavelength=SPEED_OF_LIGHT / carrier.frequency)
            if self.tracing.diffraction:
                vars(part)["edges"] = self.edges
            scenes.append((cells, part))
        return scenes

    @contextmanager
    def on_its_carrier(self) -> Iterator[None]:
        """Frequency, materials and array of Sionna's scene are those of this scene's carrier, until the block is left.

        Of a scene with several carriers, they are those of the lowest frequency otherwise. The caller holds the lock.
        """
        scene, before = self.rt_scene, (self.rt_scene.frequency, self.rt_scene.tx_array)
        formulas = [(material, material.frequency_update_callback) for material in scene.radio_materials.values()]
        try:
            set_frequency(scene, require_sites(self.sites).frequency, self.tracing.material_extrapolation)
            scene.tx_array = _transmit_array(self.sites)
            yield
        finally:
            for material, formula in formulas:
                material.frequency_update_callback = formula
            scene.frequency, scene.tx_array = before

    @cached_property
    def edges(self) -> DiffractionEdges:
        """Where waves diffract, as the scene was opened."""
        return DiffractionEdges.from_facets(self.facets)

    @property
    def boundary_detour(self) -> float:
        """Detour (m) around an edge up to which a diffracted field interferes with the wave that the edge cuts off."""
        return NO_COHERENCE * self.wavelength

    @cached_property
    def scatterers(self) -> Scatterers:
        """What scatters waves, as the scene was opened."""
        return Scatterers.from_facets(self.facets)

    @cached_property
    def foliage(self) -> Foliage | None:
        """What attenuates waves in the tile's trees, on this scene's carrier; None without any."""
        if self.tile is None or not self.tracing.foliage:
            return None
        return Foliage.of_tile(self.tile, SPEED_OF_LIGHT / self.wavelength)

    @property
    def cell_count(self) -> int:
        return len(cell_positions(self.sites))

    # ---- positions -----------------------------------------------------------------------------------

    def rows(self, position: Tensor) -> Float[Tensor, "n 3"]:
        """Positions, one a row, checked, at UE height where they have none, in float32."""
        require_position_rows(position)
        if not len(position):
            raise UelError("no positions to trace", got="an empty batch", do="give at least one position")
        return self.checked(position)

    def checked(self, position: Tensor) -> Tensor:
        """Positions (x, y, z) of any leading axes in float32, on their device.

        Raises `UelError` for another number of coordinates, and for positions that are not finite or off the tile.
        """
        if position.shape[-1] not in (2, 3):
            raise UelError(
                "a position has two or three coordinates",
                got=f"shape {tuple(position.shape)}",
                do="give (x, y) or (x, y, z) in metres along the last axis",
            )
        _require_float64(position.device)
        self.bounds.require(position)
        return self.at_height(position.to(torch.float32)).view(*position.shape[:-1], 3)

    def at_height(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n 3"]:
        """(x, y) at UE height above the ground; (x, y, z) as it is."""
        if self.tile:
            return self.tile.at_height(position, self.tracing.ue_height)
        if position.shape[-1] == 2:
            return torch.cat([position, torch.full_like(position[..., :1], self.tracing.ue_height)], -1)
        return position

    # ---- parameters ----------------------------------------------------------------------------------

    def checked_parameters(self, given: Mapping[str, Tensor], points: Float[Tensor, "receiver 3"]) -> dict[str, Tensor]:
        """Parameters on the device of the receivers.

        Raises `UelError` for a parameter that is unknown, has another shape or a value that it cannot have, or cannot
        be learned.
        """
        scene_parameters.require_known(self.rt_scene, given, self.cell_count, len(points), self.foliage is not None)
        if "beam_weights" in given and self.has_own_gains:
            raise UelError(
                "beams need an array of Sionna's, the same for all cells: these cells' antennas are one port each",
                got="beam_weights",
                do="leave beam_weights out, or give all cells one array without measured pattern and electrical tilt",
            )
        learned = [n for n, value in given.items() if n.endswith("scattering_coefficient") and value.requires_grad]
        if learned and self.tracing.scattering > 0:
            raise UelError(
                "scattered paths are drawn by the scattering coefficient, which no derivative sees",
                got=learned[0],
                do="switch scattering off (TracingConfig.scattering = 0): what reflections lose to it can be learned",
            )
        return {name: value.to(points.device) for name, value in given.items()}

    def endpoints_of(self, points: Float[Tensor, "n 3"], given: Mapping[str, Tensor]) -> Endpoints:
        """Endpoints of the paths to `points`, on their device: those of the sites, unless a parameter is given."""
        cells = [cell for _, cell in cells_of(self.sites)]
        source = given.get("cell_position", cell_positions(self.sites, points.device))
        if "cell_height" in given:
            source = torch.cat([source[:, :2], given["cell_height"].unsqueeze(-1)], -1)
        azimuth = given.get("azimuth_deg", torch.tensor([cell.azimuth_deg for cell in cells], device=points.device))
        tilt = given.get("tilt_deg", torch.tensor([cell.tilt_deg for cell in cells], device=points.device))
        # Sionna's first angle is `uel.core.units.math_angle` of the azimuth; its second turns the boresight from +x
        # towards
        # -z: a positive one is a downtilt.
        orientation = torch.stack([(90.0 - azimuth) * math.pi / 180, tilt * math.pi / 180, torch.zeros_like(tilt)], -1)
        return Endpoints(points, given.get("ue_orientation", torch.zeros_like(points)), source, orientation)

    def batch_of(
        self, points: Float[Tensor, "n 3"], index: Int[Tensor, " _"], given: Mapping[str, Tensor]
    ) -> tuple[Endpoints, dict[str, Tensor]]:
        """Endpoints and parameters of some of the receivers."""
        parameters = {
            name: value[index] if name in scene_parameters.UE_PARAMETERS else value for name, value in given.items()
        }
        return self.endpoints_of(points[index], parameters), parameters

    @cached_property
    def has_own_gains(self) -> bool:
        """Whether the cells' gains are put in beside Sionna's patterns, see `sim_bridge.scene.cell_antennas`."""
        return cell_antennas.has_own_gains(self.sites)

    def own_gains(
        self, endpoints: Endpoints, cell: Int[Tensor, " row"], departure: Float[Tensor, "row 3"]
    ) -> Float[Tensor, " row"]:
        """Linear gain of the cells beside Sionna's, towards unit vectors `departure`."""
        if not self.has_own_gains:
            return torch.ones_like(departure[:, 0])
        return cell_antennas.path_gains(self.sites, endpoints.source_orientation, cell, departure)

    @full_precision()
    def antenna_offsets(self, endpoints: Endpoints) -> Float[Tensor, "cell antenna 3"]:
        """Offsets of every cell's antennas from its position in metres."""
        turn = rotation(endpoints.source_orientation)
        offset = torch.from_numpy(self.rt_scene.tx_array.normalized_positions.numpy()).T.float() * self.wavelength
        return torch.einsum("cij,aj->cai", turn, offset.to(turn.device))

    # ---- line of sight -------------------------------------------------------------------------------

    def line_of_sight(self, point: Float[Tensor, "n 3"]) -> Bool[Tensor, "n cell"]:
        """Whether nothing blocks the line between each position (m, three coordinates) and each antenna."""
        target = mi.Point3f(*(mi.Float(c) for c in point.cpu().T.contiguous().numpy()))
        return torch.stack([self._sees(site, target) for site, _ in cells_of(self.sites)], dim=-1).to(point.device)

    def _sees(self, site: Site, target: mi.Point3f) -> Bool[Tensor, " n"]:
        line = mi.Point3f(*site.position) - target
        distance = dr.norm(line)
        ray = mi.Ray3f(o=target, d=line / distance, maxt=distance - 1e-3, time=0.0, wavelengths=mi.Color0f())
        return ~torch.from_numpy(self.rt_scene.mi_scene.ray_test(ray).numpy().astype(bool))


def _require_float64(device: torch.device) -> None:
    """Raise `UelError` for positions on a device without float64, which path lengths are in."""
    if device.type == "mps":
        do = "move them to the CPU: position.cpu()"
        raise UelError("PyTorch has no float64 on Apple's GPUs, which path lengths need", got="positions on mps", do=do)


def _add_transmitters(scene: rt.Scene, sites: tuple[Site, ...], tracing: TracingConfig) -> float:
    """Set carrier, materials, arrays and transmitters of a scene; returns its frequency (Hz), the lowest of several."""
    carrier, lowest = next(iter(split_by_carrier(sites).items()))
    for network in split_by_carrier(sites).values():
        require_sites(network)
    for material in scene.radio_materials.values():
        if isinstance(material, rt.ITURadioMaterial):  # others have values of their own
            material.scattering_coefficient = tracing.scattering
    set_frequency(scene, carrier.frequency, tracing.material_extrapolation)
    scene.tx_array = _transmit_array(lowest)
    scene.rx_array = _planar_array(1, 1, 0.5, tracing.ue_pattern, tracing.ue_polarization)
    for index, (site, cell) in enumerate(cells_of(sites)):
        orientation = mi.Point3f(math_angle(cell.azimuth_deg), math.radians(cell.tilt_deg), 0.0)
        scene.add(rt.Transmitter(f"tx-{index}", position=mi.Point3f(*site.position), orientation=orientation))
    return carrier.frequency


def _transmit_array(sites: tuple[Site, ...]) -> rt.PlanarArray:
    array = cell_antennas.sionna_array(sites)
    return _planar_array(array.rows, array.columns, array.spacing, array.pattern, array.polarization)


def _planar_array(rows: int, columns: int, spacing: float, pattern: str, polarization: str) -> rt.PlanarArray:
    return rt.PlanarArray(
        num_rows=rows,
        num_cols=columns,
        vertical_spacing=spacing,
        horizontal_spacing=spacing,
        pattern=pattern,
        polarization=polarization,
    )
