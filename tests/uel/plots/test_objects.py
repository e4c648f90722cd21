"""Objects draw themselves on the axes that they are given: in metres of the tile, north up, with units."""

from pathlib import Path

import pytest
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map, silent
from tests.helpers.measured_networks import toy_network
from tests.helpers.surveys import made
from tests.helpers.toy_city import SIZE, toy_tile
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.plots.axes import new_figure
from uel.radio.radio_map import RadioMap
from uel.radio.sites import reference_power_dbm
from uel.survey.dataset import Survey


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return toy_tile(tmp_path_factory.mktemp("plots") / "toy")


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("plots") / "survey")


@pytest.fixture
def ax() -> Axes:
    return new_figure(4.0, 3.5).add_subplot()


def drive(radio: RadioMap, count: int) -> tuple[Reports, torch.Tensor]:
    """Reports along a line to the east, and their positions."""
    position = torch.stack([torch.linspace(-100.0, 100.0, count), torch.full((count,), 20.0)], -1)
    power = reference_power_dbm(radio.sites)
    return ObservationModel().observe(radio.pixel_truth(position), power, torch.Generator().manual_seed(0)), position


def sharp_fix(x: float, y: float) -> Fix:
    """One fix of four patches, nearly all of it at (x, y)."""
    mean = torch.tensor([[[x, y], [32.0, -32.0], [-32.0, 32.0], [32.0, 32.0]]])
    return Fix(torch.tensor([[0.0, -40.0, -40.0, -40.0]]), mean, 25.0 * torch.eye(2).expand(1, 4, 2, 2))


def require_map(ax: Axes, size: float) -> None:
    """Axes in metres over a square, whose images have row 0 in the south."""
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("east in m", "north in m")
    assert ax.get_xlim() == ax.get_ylim() == (-size / 2, size / 2)
    for image in ax.images:
        assert image.origin == "lower"
        assert image.get_extent() == [-size / 2, size / 2, -size / 2, size / 2]
    assert any(text.get_text().endswith(" m") for text in ax.texts)  # of the scale bar


def test_a_tile_is_drawn_on_the_axes_that_are_given(tile: Tile, ax: Axes) -> None:
    assert tile.plot(ax) is ax
    require_map(ax, SIZE)
    assert ax.images[0].get_array()[3, 40] == float(tile.rasters["height"][3, 40] - tile.rasters["ground"][3, 40])
    assert ax.figure.axes[1].get_ylabel() == "height above ground in m"


def test_a_plot_without_axes_is_on_a_figure_that_notebooks_show(tile: Tile) -> None:
    ax = tile.plot()
    assert ax.figure.number in pyplot.get_fignums()
    pyplot.close(ax.figure)


def test_a_radio_map_shows_one_cell_or_the_strongest_of_each_pixel(ax: Axes) -> None:
    radio = rough_map()
    assert radio.plot(ax, cell=2) is ax
    require_map(ax, radio.grid.size)
    shown = torch.from_numpy(ax.images[0].get_array().filled(0.0))
    torch.testing.assert_close(shown, torch.where(radio.known[2], radio.rsrp_dbm[2], 0.0))
    assert ax.figure.axes[1].get_ylabel() == "RSRP in dBm"
    best = radio.plot(new_figure(4.0, 3.5).add_subplot()).images[0].get_array().filled(0.0)
    strongest = radio.rsrp_dbm.masked_fill(~radio.known, -torch.inf).amax(0)
    torch.testing.assert_close(torch.from_numpy(best), strongest.nan_to_num(neginf=0.0))


@pytest.mark.parametrize("channel", ["rsrp", "gain", "error", "sinr", "sight", "excess", "spread"])
def test_every_channel_of_a_map_is_drawn_with_its_unit(channel: str, ax: Axes) -> None:
    assert radio_map(masts(*CORNERS[:2])).plot(ax, channel=channel).figure.axes[1].get_ylabel().count(" in ") == 1


def test_what_a_map_does_not_have_is_refused_with_what_it_has(tile: Tile, ax: Axes) -> None:
    radio = radio_map(masts(*CORNERS[:2]))
    with pytest.raises(UelError, match=r"(?s)no such channel.*throughput.*rsrp"):
        radio.plot(ax, channel="throughput")
    with pytest.raises(UelError, match=r"(?s)no such cell.*got: 2.*0 to 1"):
        radio.plot(ax, cell=2)
    with pytest.raises(UelError, match="another tile"):
        radio_map(masts((0.0, 0.0)), size=128.0).plot(ax, tile=tile)


def test_reports_are_columns_of_levels_and_blank_where_a_cell_is_not_heard(ax: Axes) -> None:
    reports, _ = drive(rough_map(), 40)
    assert reports.plot(ax) is ax
    image = ax.images[0].get_array()
    assert image.shape == (int(reports.heard.any(0).sum()), 40)
    assert int((~image.mask).sum()) == int(reports.heard.sum())
    assert (ax.get_xlabel(), ax.figure.axes[1].get_ylabel()) == (
        "number of the report",
        "RSRP in dBm (blank: not heard)",
    )


def test_reports_with_positions_are_drawn_on_their_tile(tile: Tile, ax: Axes) -> None:
    radio = rough_map()
    reports, position = drive(radio, 40)
    reports.plot(ax, position=position, tile=tile, sites=radio.sites)
    require_map(ax, SIZE)
    served = reports.heard.any(-1)
    drawn = torch.from_numpy(ax.collections[-1].get_offsets().data).float()
    torch.testing.assert_close(drawn, position[served])
    level = torch.from_numpy(ax.collections[-1].get_array().data)
    torch.testing.assert_close(level, reports.at_serving(reports.rsrp_dbm)[served], check_dtype=False)


def test_reports_that_cannot_be_drawn_say_why(tile: Tile, ax: Axes) -> None:
    reports, position = drive(rough_map(), 4)
    with pytest.raises(UelError, match="at least one"):
        reports[:0].plot(ax)
    with pytest.raises(UelError, match="no positions"):
        reports.plot(ax, tile=tile)
    with pytest.raises(UelError, match="2 positions, 4 reports"):
        reports.plot(ax, position=position[:2])
    silent(3, 5).plot(ax)  # phones that hear nothing are drawn: as blanks


def test_a_fix_is_drawn_where_it_is(tile: Tile, ax: Axes) -> None:
    fix = sharp_fix(-40.0, 60.0)
    assert fix.plot(ax, tile=tile, truth=(-40.0, 90.0)) is ax
    require_map(ax, SIZE)
    density = ax.images[0].get_array()
    row, column = divmod(int(density.argmax()), len(density))
    place = [(index + 0.5) * SIZE / len(density) - SIZE / 2 for index in (column, row)]
    assert place == pytest.approx([-40.0, 60.0], abs=SIZE / len(density))
    assert "30 m from the truth" in ax.get_title()
    assert {"fix", "truth", "region of 50%", "region of 90%"} <= {t.get_text() for t in ax.get_legend().get_texts()}
    with pytest.raises(UelError, match="1 of 1 fixes"):
        fix.plot(ax, number=1)


def test_a_fix_without_a_tile_is_drawn_on_a_square_that_holds_it(ax: Axes) -> None:
    sharp_fix(-40.0, 60.0).plot(ax)
    require_map(ax, 2 * (60.0 + 2 * 5.0))


def test_a_survey_is_drawn_by_the_levels_of_its_reports(survey: Survey, ax: Axes) -> None:
    name = survey.tiles[0]
    assert survey.plot(ax, tile=name) is ax
    tracks = survey[name]
    assert len(ax.collections[0].get_offsets()) + len(ax.collections[1].get_offsets()) == int(tracks.valid.sum())
    with pytest.raises(UelError, match="no such tile"):
        survey.plot(ax, tile="atlantis")


def test_a_survey_is_not_drawn_on_another_tile(survey: Survey, tmp_path: Path, ax: Axes) -> None:
    with pytest.raises(UelError, match="another tile"):
        survey.plot(ax, ground=toy_tile(tmp_path / "elsewhere", "elsewhere"))


def test_a_network_is_drawn_with_the_levels_of_its_squares(ax: Axes) -> None:
    network = toy_network(30)
    assert network.plot(ax) is ax
    require_map(ax, network.grid.size)
    level = torch.from_numpy(ax.collections[-1].get_array().data)
    torch.testing.assert_close(level, network.level_dbm.amax(1), check_dtype=False)
    other = network.plot(new_figure(4.0, 3.5).add_subplot(), cell=1)
    level = torch.from_numpy(other.collections[-1].get_array().data)
    torch.testing.assert_close(level, network.level_dbm[:, 1], check_dtype=False)
    with pytest.raises(UelError, match="4 of 4 cells"):
        network.plot(ax, cell=4)
