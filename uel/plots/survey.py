"""Tracks of a survey on their tile."""

from matplotlib.axes import Axes

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.plots.axes import axes_or_new
from uel.plots.points import draw_levels
from uel.survey.dataset import Survey
from uel.survey.sample import TileSample, draw_sample

DRAWN_REPORTS = 5000  # of a plot, about


def plot_survey(survey: Survey, ax: Axes | None = None, tile: str | None = None, ground: Tile | None = None) -> Axes:
    """Draw reports of one tile, coloured by the level of the serving cell; grey without one.

    Args:
        survey: finished on the tile.
        ax: to draw on; None: those of a new figure.
        tile: its name in the survey; None: the first one.
        ground: the tile itself, for its buildings.

    Raises:
        UelError: for a tile that the survey does not have or has not finished, and for another ground than the
            survey's.
    """
    name = survey.tiles[0] if tile is None else tile
    survey.require(name)
    if ground is not None and ground.fingerprint != survey.manifest.tiles[name].fingerprint:
        got = f"{ground.reference}, the survey was made on {name} ({survey.manifest.tiles[name].fingerprint})"
        raise UelError("this survey was made on another tile", got=got, do="give the tile that it was made on")
    (sample,) = draw_sample(survey, DRAWN_REPORTS, tiles=(name,))
    ax = axes_or_new(ax)
    size = 2.0 * float(sample.truth.position.abs().max()) if ground is None else ground.size
    draw_sample_levels(ax, sample, ground, size)
    return ax


def draw_sample_levels(ax: Axes, sample: TileSample, tile: Tile | None, size: float) -> None:
    """Draw a sample's reports on a square of `size` m, with its cells."""
    cell, served = sample.serving_cell()
    level = sample.rsrp_dbm().gather(-1, cell.unsqueeze(-1))[:, 0]
    title = f"{sample.tile}: {len(sample):,} reports"
    draw_levels(ax, size, sample.truth.position, level, served, title=title, tile=tile, sites=sample.sites)
