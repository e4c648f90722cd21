"""The deployment that a run's locator is used in: the run's own, or any tile with sites."""

import logging
from collections.abc import Callable
from pathlib import Path

from uel.core.io import data_folder
from uel.errors import UelError, quoted
from uel.geo.tile import Tile
from uel.inference.config import TileChoiceConfig
from uel.inference.deployment import Deployment, find_radio_map, nesting_pixel
from uel.inference.run_folder import Run
from uel.radio.sites import split_by_carrier
from uel.radio.tracing_config import TracingConfig

log = logging.getLogger(__name__)

RadioMapTracer = Callable[[Tile, float, str], Path]
"""traces the radio map of a tile's own sites with pixels of so many metres by a simulator, and returns its folder"""


def chosen_deployment(
    run: Run, choice: TileChoiceConfig, trace_radio_map: RadioMapTracer, backend: str = TracingConfig().backend
) -> Deployment:
    """The deployment of `--tile` and `--radio`, or the run's own where neither is given.

    For a tile without `--radio` this is the newest radio map of it and its sites in the data folder that the locator
    can use and the simulator `backend` made; without one, `trace_radio_map` makes it. Raises `UelError` for a tile
    without sites, a radio map of another tile, and a tile that the locator's patches do not divide.
    """
    if choice.tile is None and choice.radio is None:
        return run.deployment
    if choice.tile is None:
        assert choice.radio is not None
        return Deployment.open(run.deployment_folders[0], choice.radio)
    tile = Tile.open(choice.tile)
    return Deployment.open(tile.folder, choice.radio or _radio_map(run, tile, trace_radio_map, backend))


def _radio_map(run: Run, tile: Tile, trace_radio_map: RadioMapTracer, backend: str) -> Path:
    patches = run.locator.config.patches
    if not tile.sites:
        raise UelError("no sites on this tile", got=str(tile.folder), do=f"place some: uel place {quoted(tile.folder)}")
    carriers = split_by_carrier(tile.sites)
    if len(carriers) > 1:
        names = ", ".join(carrier.label for carrier in carriers)
        do = f"make one of each (uel map {quoted(tile.folder)}), and name that of the reports' carrier: --radio FOLDER"
        raise UelError("the tile's network has several carriers, and a radio map is of one", got=names, do=do)
    pixel = nesting_pixel(tile, patches)
    folder = find_radio_map(tile, patches, data_folder() / "maps", backend)
    if folder is None:
        log.info("no radio map of %s in %s: tracing one of %g m pixels", tile.name, data_folder() / "maps", pixel)
        folder = trace_radio_map(tile, pixel, backend)
    log.info("radio map: %s", folder)
    return folder
