"""Checks of a tile with the ray tracer (it opens, free lines of sight are exact), and a rendered picture."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mitsuba as mi
import sionna.rt as rt
import torch

from sim_bridge.simulator import Sionna, open_tile
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db
from uel.geo.scene_files import require_sound_scene
from uel.geo.tile import Tile
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Array, Cell, Site, cell_positions
from uel.radio.tracing_config import TracingConfig

MAX_DELAY_ERROR, MAX_GAIN_ERROR_DB = 1e-10, 0.01  # s and dB: how far a free line of sight may be from the closed form
MAX_POINTS = 64


def inspect_tile(tile: Tile) -> dict[str, Any]:
    """Open a tile in Sionna RT and compare free lines of sight from its sites with Friis' law.

    Returns the number of meshes, and the worst error of delay (s) and gain (dB) over up to 64 phones outdoors;
    `problems` is empty when all is well. A tile without sites is only opened.
    """
    sites = _isotropic(tile)
    if not sites:
        require_sound_scene(tile)
        return {"meshes": len(rt.load_scene(str(tile.scene_file)).mi_scene.shapes()), "points": 0, "problems": []}
    sim = open_tile(tile, sites, TracingConfig(max_depth=0, diffraction=False, samples=1000))
    report = {"meshes": len(sim.scene.mi_scene.shapes()), "points": 0} | _free_space(sim, tile)
    delay, gain = report.get("delay_error", 0.0), report.get("gain_error_db", 0.0)
    problems = {
        f"delay of a free line of sight off by {delay:.2g} s": delay > MAX_DELAY_ERROR,
        f"gain of a free line of sight off by {gain:.2g} dB": gain > MAX_GAIN_ERROR_DB,
        "no site sees a phone outdoors": not report["points"],
    }
    return report | {"problems": [text for text, present in problems.items() if present]}


def render_tile(tile: Tile, width: int = 720, samples: int = 8) -> bytes:
    """The tile seen from the south-west above, as PNG."""
    require_sound_scene(tile)
    scene = rt.load_scene(str(tile.scene_file))
    ground = float(tile.rasters["ground"].mean())
    distance = 1.05 * tile.size
    camera = rt.Camera(
        position=mi.Point3f(-0.75 * distance, -distance, ground + 0.75 * distance), look_at=mi.Point3f(0, 0, ground)
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "render.png"
        scene.render_to_file(
            camera=camera, filename=str(file), resolution=(width, round(0.66 * width)), num_samples=samples
        )
        return file.read_bytes()


def _isotropic(tile: Tile) -> tuple[Site, ...]:
    """The tile's sites with one isotropic antenna each, on their carrier."""
    sites = tile.sites if tile.has_sites else ()
    return tuple(replace(site, cells=(Cell(array=Array(), carrier=site.cells[0].carrier),)) for site in sites)


def _free_space(sim: Sionna, tile: Tile) -> dict[str, Any]:
    centres = tile.raster_grid.centres().reshape(-1, 2)
    outdoors = centres[tile.is_outdoor(centres)]
    order = torch.randperm(len(outdoors), generator=torch.Generator().manual_seed(0), device="cpu")[: 64 * MAX_POINTS]
    points = sim.at_height(outdoors[order])
    points = points[sim.line_of_sight(points).any(dim=1)][:MAX_POINTS]
    if not len(points):
        return {"points": 0}
    traced, exact = sim.paths(points), FreeSpace(sim.sites, size=tile.size).path_gain(points)
    distance = torch.cdist(points.double(), cell_positions(sim.sites).double())
    delay = (traced.delay.double() - distance / SPEED_OF_LIGHT).abs()[traced.los].max()
    gain = (traced.gain_db - to_db(exact)).abs()[traced.los].max()
    return {"points": len(points), "delay_error": float(delay), "gain_error_db": float(gain)}
