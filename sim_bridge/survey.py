"""Trace the tracks of a survey through the path solver."""

from rich.progress import Progress

from sim_bridge.tracer import Sionna
from uel.reports import Truth
from uel.survey import Survey
from uel.tile import Tile
from uel.tracks import TrackPlan, draw_tracks


def trace_survey(sim: Sionna, tile: Tile, plan: TrackPlan, seed: int) -> Survey:
    """Draw tracks on a tile and trace every link of every report. The same seed gives the same bytes."""
    position, time, _, _ = draw_tracks(tile, sim.sites, plan, seed)
    flat = position.reshape(-1, 2)
    parts = []
    with Progress(transient=True) as progress:
        task = progress.add_task(f"survey of {tile.name}: reports traced", total=len(flat))
        for part in flat.split(sim.tracing.chunk):
            parts.append(sim.paths(part))
            progress.advance(task, len(part))
    truth = Truth.cat(parts)
    tracked = Truth(**{k: v.reshape(*time.shape, *v.shape[1:]) for k, v in vars(truth).items()})
    return Survey(tracked, time, sim.sites, {"tile": tile.name, "fingerprint": tile.fingerprint, "seed": seed})
