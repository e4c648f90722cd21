"""Build an atlas: shoot rays and index their chains, search where no ray came, and compare with the full search."""

import time
from dataclasses import replace

import torch
from rich.progress import track

from sim_bridge.chains.atlas import Atlas, geometry_key
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.ray_launching import THROUGH, crossings
from sim_bridge.paths.atlas_audit import audit
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.scene.measurement_surface import measurement_surface
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.grid import Grid
from uel.radio.sites import cell_positions


def build_atlas(finder: PathFinder, config: AtlasConfig, grid: Grid) -> Atlas:
    """Shoot rays from every cell, attach the atlas that comes of them, and complete it as `config` asks.

    Returns the finder's atlas. Raises `UelError` where paths diffract or scatter.
    """
    finder.attach_atlas(shoot_atlas(finder.scene, config, grid))
    if config.settle:
        presearch(finder, config.settle)
    if config.audit:
        audit(finder, config.audit)
    assert finder.atlas is not None
    return finder.atlas


def shoot_atlas(scene: RadioScene, config: AtlasConfig, grid: Grid) -> Atlas:
    """Shoot `config.rays` branching rays from every cell of a scene and index where they go."""
    start = time.perf_counter()
    surface, _ = measurement_surface(scene, grid)
    links, chains = [], []
    positions = cell_positions(scene.sites).tolist()
    for cell, position in enumerate(track(positions, "atlas: cells", transient=True)):
        pixel, walls = crossings(
            scene.rt_scene.mi_scene,
            scene.facets,
            tuple(position),
            surface,
            grid,
            config.rays,
            config.depth,
            config.seed + cell,
        )
        reflected = (walls > THROUGH).any(1)  # chains that only go straight on are tried everywhere
        links.append(pixel[reflected] + cell * grid.count**2)
        chains.append(walls[reflected])
    atlas = Atlas.from_links(grid, config, scene.sites, torch.cat(links), torch.cat(chains))
    meta = {
        "walls": geometry_key(scene.facets.corner),
        "seconds": round(time.perf_counter() - start, 1),
        "chains": len(atlas.walls),
        "entries": len(atlas.chain),
    }
    return replace(atlas, meta=meta)


def presearch(finder: PathFinder, max_pixels: int) -> None:
    """Search once at the centres of a fresh atlas's uncovered pixels, `max_pixels` of them, so that no query has to.

    A search costs as much as a thousand queries of the atlas, and few pixels are uncovered: 41 of munich's 4096.
    """
    assert finder.atlas is not None
    centres = finder.scene.at_height(finder.atlas.grid.centres().reshape(-1, 2))
    uncovered = centres[finder.atlas.uncovered(centres)][:max_pixels]
    for part in track(uncovered.split(finder.scene.tracing.chunk), "atlas: uncovered pixels", transient=True):
        with torch.no_grad():
            if len(part):  # splitting an empty tensor gives one empty part
                finder.trace(part, {}, search=True)
    finder.atlas = replace(finder.atlas, meta={**finder.atlas.meta, "settled": len(uncovered)})
