"""Verbs that use a trained locator, and the one that shows everything."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uel.geo.tile import Tile


def locate(args: Sequence[str]) -> int:
    """Locate the phone that sent some reports, by a run's locator; --geojson writes candidates and regions, too."""
    from uel.config import load
    from uel.inference.config import LocateConfig

    config = load(LocateConfig, "locate", args)
    from sim_bridge import registry
    from uel.inference.locate import locate as run

    registry.find_backend(config.tracing.backend)  # before any work
    for line in run(config, registry.open, _trace_radio_map):
        print(line)
    return 0


def export(args: Sequence[str]) -> int:
    """Write a run's locator on a tile as a file that PyTorch runs without this library (torch.export)."""
    from uel.config import load
    from uel.inference.config import ExportConfig

    config = load(ExportConfig, "export", args)
    from uel.inference.torch_export import export as run

    print(run(config, _trace_radio_map))
    return 0


def _trace_radio_map(tile: "Tile", pixel: float, backend: str) -> Path:
    from sim_bridge.commands.radio_map import trace_radio_map

    return trace_radio_map(tile, pixel, backend)


def explore(args: Sequence[str]) -> int:
    """Show runs, tiles, maps and surveys in a browser, with no network."""
    from explorer.app.config import ExploreConfig
    from explorer.app.serve import serve
    from uel.config import load

    serve(load(ExploreConfig, "explore", args))
    return 0
