"""Writes a DeepMIMO 4 scenario: the paths of a tile's cells to a grid of positions, its meshes and its materials."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sim_bridge.deepmimo.config import DeepMimoConfig
from sim_bridge.deepmimo.matrices import cell_matrices
from sim_bridge.registry import open_ray_tracer
from sim_bridge.scene.scene_parameters import material_values
from uel.core.files.own_folders import has_json_entry, require_own
from uel.core.io import array_bytes, as_json, fill_file, staged_folder
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.sites import cell_positions, cells_of, require_sites

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

FORMAT_VERSION = "4.0.5"  # of DeepMIMO whose loader reads this
TX_SET, RX_SET = 0, 1
DEGREES_PER_BOX = 4  # min and max of latitude and longitude
is_scenario = has_json_entry("params.json", "raw_params", "source", begins="uel ")
log = logging.getLogger(__name__)


def write_scenario(tile: Tile, folder: Path, config: DeepMimoConfig) -> int:
    """Trace the paths from the tile's own cells to outdoor positions on a grid, and write the scenario.

    `deepmimo.load(FOLDER)` reads it: transmitter set 0 holds the cells, receiver set 1 the positions, in metres of the
    tile. Returns the number of positions.

    Raises `UelError` for a tile without sites, a backend that traces no paths, a folder that holds something else, and
    when no position is outdoors.
    """
    require_own(folder, is_scenario, "scenario")
    if folder.name != folder.name.lower():
        do = f"name it {folder.name.lower()}"
        raise UelError("DeepMIMO reads folders of lower case only", got=str(folder), do=do)
    simulator = open_ray_tracer(tile, tile.sites, config.tracing, "a scenario of DeepMIMO")
    position = outdoor_grid(tile, config.spacing)
    points = simulator.rows(position)
    lines = simulator.trace_polylines(position)
    carrier, antennas = require_sites(tile.sites), cell_positions(tile.sites)
    active = 0
    with staged_folder(folder, is_scenario, "scenario") as staged:
        for cell, antenna in enumerate(antennas):
            matrices = cell_matrices(lines, cell, antenna, points, carrier, config.paths)
            active = max(active, int(np.isfinite(matrices["power"][:, 0]).sum()))
            for name, values in matrices.items():
                _save(staged / f"{name}_t{TX_SET:03}_tx{cell:03}_r{RX_SET:03}.npz", name, values)
        scene = _write_meshes(staged, simulator)
        params = _parameters(tile, simulator, config, len(position), active) | {"scene": scene}
        fill_file(staged / "params.json", as_json(params))
    log.info("deepmimo: %d cells, %d positions, at most %d paths", len(antennas), len(position), config.paths)
    return len(position)


def outdoor_grid(tile: Tile, spacing: float) -> Float[Tensor, "n 2"]:
    """Outdoor centres of squares of `spacing` metres on the tile. Raises `UelError` where there is none."""
    centres = tile.grid(spacing).centres().reshape(-1, 2)
    outdoors = centres[tile.is_outdoor(centres)]
    if not len(outdoors):
        do = "give a smaller --deepmimo.spacing"
        raise UelError("no position of the grid is outdoors", got=f"{tile.name}, {spacing:g} m", do=do)
    return outdoors


def _save(file: Path, name: str, values: np.ndarray) -> None:
    """One array in a compressed file, by the name that DeepMIMO reads it by."""
    fill_file(file, array_bytes({name: values}, compressed=True))


def _write_meshes(folder: Path, simulator: "Sionna") -> dict[str, Any]:
    """The scene as DeepMIMO's lossless triangles: `vertices`, `faces`, `materials` and `objects.json`."""
    corner = simulator.facets.corner.astype(np.float32)
    vertices, index = np.unique(corner.reshape(-1, 3), axis=0, return_inverse=True)
    faces = index.reshape(-1, 3).astype(np.int64)
    _save(folder / "vertices.npz", "vertices", vertices)
    _save(folder / "faces.npz", "0", faces)
    _save(folder / "materials.npz", "0", np.zeros(len(faces), np.int64))
    objects = [{"name": "scene", "label": "buildings", "id": 0, "mesh_key": "0"}]
    fill_file(folder / "objects.json", as_json(objects))
    counts = {"n_objects": 1, "n_vertices": len(vertices), "n_faces": len(faces), "n_triangular_faces": len(faces)}
    return {"num_scenes": 1, **counts, "representation": "mesh"}


def _parameters(tile: Tile, simulator: "Sionna", config: DeepMimoConfig, positions: int, active: int) -> dict[str, Any]:
    """The content of `params.json` without the scene."""
    cells, tracing = len(cells_of(tile.sites)), config.tracing
    tracer = {
        "raytracer_name": "Sionna Ray Tracing",
        "raytracer_version": version("sionna-rt"),
        "frequency": require_sites(tile.sites).frequency,
        "max_path_depth": tracing.max_depth,
        "max_reflections": tracing.max_depth,
        "max_diffractions": int(tracing.diffraction),
        "max_scattering": int(tracing.scattering > 0),
        "max_transmissions": tracing.max_depth,
        "num_rays": tracing.samples,
        "ray_casting_method": "fibonacci",
        "synthetic_array": True,
        "terrain_reflection": True,
        "gps_bbox": _gps_box(tile),
        "raw_params": {"tile": tile.name, "fingerprint": tile.fingerprint, "source": f"uel {version('uel')}"},
    }
    sets = {
        "txrx_set_0": _point_set("cells", TX_SET, cells, cells, True),
        "txrx_set_1": _point_set("positions", RX_SET, positions, active, False) | {"grid_spacing": config.spacing},
    }
    materials = {
        f"material_{n}": _material(n, *item) for n, item in enumerate(material_values(simulator.scene).items())
    }
    return {"version": FORMAT_VERSION, "rt_params": tracer, "txrx_sets": sets, "materials": materials}


def _gps_box(tile: Tile) -> Sequence[float]:
    """Least latitude, least longitude, greatest latitude and longitude in degrees; zeros without a georeference."""
    if not tile.meta.get("bbox"):
        return [0.0] * DEGREES_PER_BOX
    west, south, east, north = tile.meta["bbox"]
    return [south, west, north, east]


def _point_set(name: str, number: int, points: int, active: int, transmits: bool) -> dict[str, Any]:
    return {
        "name": name,
        "id_orig": number,
        "id": number,
        "is_tx": transmits,
        "is_rx": not transmits,
        "num_points": points,
        "num_active_points": active,
        "num_ant": 1,
        "dual_pol": False,
        "ant_rel_positions": [[0, 0, 0]],
        "array_orientation": [0, 0, 0],
    }


def _material(number: int, name: str, values: dict[str, float]) -> dict[str, Any]:
    scattering = values["scattering_coefficient"]
    return {
        "id": number,
        "name": name,
        "permittivity": values["relative_permittivity"],
        "conductivity": values["conductivity"],
        "scattering_model": "lambertian" if scattering else "none",
        "scattering_coefficient": scattering,
        "cross_polarization_coefficient": values["xpd_coefficient"],
        "thickness": values["thickness"],
    }
