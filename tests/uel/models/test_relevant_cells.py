"""A network of 64 sites and 192 cells: the fix is that of the cells that matter, and no others are computed."""

import pytest
import torch

from uel.core.grid import Grid
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.inputs import BUILDING_CHANNELS
from uel.models.locator import Locator
from uel.models.relevant_cells import CELLS_TAKEN_WHOLE, relevant_cells, restrict_to_cells
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Array, Cell, Site, cells_of, select_cells

SIZE = 1024.0
SECTORS = tuple(
    Cell(azimuth_deg=azimuth, tilt_deg=4.0, power_dbm=23.0, array=Array(pattern="tr36814"))
    for azimuth in (0.0, 120.0, 240.0)
)
NETWORK = tuple(
    Site(position=(x * 128.0 - 448.0, y * 128.0 - 448.0, 25.0), cells=SECTORS) for x in range(8) for y in range(8)
)
MODEL = ObservationModel(sensitivity_dbm=-95.0, shadowing_db=4.0)


def with_gain(radio: RadioMap, gain: torch.Tensor) -> RadioMap:
    return RadioMap(radio.grid, radio.sites, gain, radio.relative_error, radio.known, radio.los, radio.elevation)


@pytest.fixture(scope="module")
def maps() -> TileMaps:
    """Power falls with the fourth power of the distance, so that most of the network is not heard."""
    radio = FreeSpace(NETWORK, size=SIZE, patterns=True).radio_map(Grid(size=SIZE, pixel=16.0))
    loss = (radio.distance / 50.0).clamp(min=1.0) ** -2
    street = RadioMap(
        radio.grid, radio.sites, radio.gain * loss, radio.relative_error, radio.known, radio.los, radio.elevation
    )
    shape = radio.grid.shape
    return TileMaps(street, torch.zeros(BUILDING_CHANNELS, *shape), torch.ones(shape))


def observed(maps: TileMaps, position: torch.Tensor, seed: int = 0):
    truth = maps.radio.pixel_truth(position)
    return MODEL.observe(truth, maps.power_dbm, torch.Generator().manual_seed(seed))


def test_a_fix_among_192_cells_is_computed_from_those_that_matter(
    maps: TileMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, counts = ObservationModel.log_likelihood, list[int]()

    def counted(self: ObservationModel, reports, radio, *more, **options) -> torch.Tensor:
        counts.append(len(radio.gain))
        return whole(self, reports, radio, *more, **options)

    monkeypatch.setattr(ObservationModel, "log_likelihood", counted)
    position = torch.tensor([[100.0, 40.0], [-300.0, -50.0], [8.0, -420.0]])
    locator = Locator(LocatorConfig(patches=16, width=16, pixel_width=4, depth=1, radio_depth=1), MODEL).eval()
    assert len(cells_of(maps.radio.sites)) == 192 > CELLS_TAKEN_WHOLE
    weak = (maps.radio.cell_position[:, 1] > 300.0)[:, None, None]  # the two northern rows of sites are off
    quiet = with_gain(maps.radio, torch.where(weak, maps.radio.gain * 1e-9, maps.radio.gain))
    maps = TileMaps(quiet, maps.buildings, maps.prior)
    with torch.no_grad():
        fix = locator(observed(maps, position), maps)
    assert counts == [144]
    assert (fix.position - position).norm(dim=-1).median() < 60.0


def test_cells_that_nobody_hears_change_no_answer(maps: TileMaps) -> None:
    """A silent network beside the first one: the restricted fix is that of all cells."""
    weak = torch.arange(192) % 3 == 2
    gain = torch.where(weak[:, None, None], maps.radio.gain * 1e-9, maps.radio.gain)
    radio = maps.radio
    quiet = with_gain(radio, gain)
    beside = TileMaps(quiet, maps.buildings, maps.prior)
    reports = MODEL.observe(
        quiet.pixel_truth(torch.tensor([[100.0, 40.0]])), beside.power_dbm, torch.Generator().manual_seed(1)
    )
    cells = relevant_cells(reports, beside, MODEL)
    assert set(range(192)) - set(cells.tolist()) == set(range(2, 192, 3))
    some, small = restrict_to_cells(reports, beside, cells)
    whole = MODEL.log_likelihood(reports, quiet, beside.power_dbm).sum(1)
    part = MODEL.log_likelihood(some, small.radio, small.power_dbm).sum(1)
    torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-2)


def test_a_heard_cell_is_kept_whatever_the_map_says(maps: TileMaps) -> None:
    silent = TileMaps(maps.radio.without_measurements, maps.buildings, maps.prior)
    reports = observed(maps, torch.tensor([[100.0, 40.0]]))
    assert relevant_cells(reports, silent, MODEL).tolist() == reports.heard[0].nonzero()[:, 0].tolist()


def test_cells_are_selected_with_their_sites() -> None:
    few = select_cells(NETWORK, [1, 2, 191])
    assert [(site.position, len(site.cells)) for site in few] == [(NETWORK[0].position, 2), (NETWORK[63].position, 1)]
    assert [cell.azimuth_deg for _, cell in cells_of(few)] == [120.0, 240.0, 240.0]
