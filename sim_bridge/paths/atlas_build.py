"""Build an atlas: shoot and index, then search where no ray came."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import mitsuba as mi
import torch
from rich.progress import track

from sim_bridge.chains.atlas import Atlas, AtlasConfig, geometry_key
from sim_bridge.chains.ray_launching import THROUGH, crossings
from sim_bridge.radio_maps.solver import surface_of
from uel.core.grid import Grid
from uel.radio.sites import cell_positions

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna


def build_atlas(sim: "Sionna", plan: AtlasConfig, grid: Grid) -> Atlas:
    """Shoot `plan.rays` branching rays from every cell of a simulator and index where they go."""
    start = time.perf_counter()
    surface = mi.load_dict({"type": "scene", "surface": surface_of(sim, grid)[0]})
    links, chains = [], []
    places = cell_positions(sim.sites).tolist()
    for cell, place in enumerate(track(places, "atlas: cells", transient=True)):
        pixel, walls = crossings(
            sim.scene.mi_scene, sim.facets, tuple(place), surface, grid, plan.rays, plan.depth, plan.seed + cell
        )
        turned = (walls > THROUGH).any(1)  # chains that only go straight on are tried everywhere
        links.append(pixel[turned] + cell * grid.count**2)
        chains.append(walls[turned])
    atlas = Atlas.of(grid, plan, sim.sites, torch.cat(links), torch.cat(chains))
    meta = {
        "walls": geometry_key(sim.facets.corner),
        "seconds": round(time.perf_counter() - start, 1),
        "chains": len(atlas.walls),
        "entries": len(atlas.chain),
    }
    return replace(atlas, meta=meta)


def presearch(sim: "Sionna", most: int) -> None:
    """Search once at the centres of a fresh atlas's thin pixels, `most` of them, so that no query has to.

    A search costs as much as a thousand answers from the atlas, and few pixels are thin: 41 of munich's 4096.
    """
    assert sim.atlas is not None
    centres = sim.at_height(sim.atlas.grid.centres().reshape(-1, 2))
    thin = centres[sim.atlas.thin(centres)][:most]
    for part in track(thin.split(sim.tracing.chunk), "atlas: thin places", transient=True):
        with torch.no_grad():
            if len(part):  # the parts of nothing are one, which is empty
                sim.search(part)
    sim.atlas = replace(sim.atlas, meta={**sim.atlas.meta, "settled": len(thin)})
