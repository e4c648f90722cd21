"""Antennas of several kinds in one network: traced direct paths have the gain of the patterns."""

import torch

import sim_bridge
from sim_bridge import TracingConfig
from sim_bridge.radio_maps.ray_launches import CELLS_PER_LAUNCH
from uel.core.grid import Grid
from uel.radio.antennas.measured_pattern import MeasuredPattern
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Array, Cell, Site


def cut(width: float, centre: int) -> tuple[float, ...]:
    turns = [min((a - centre) % 360, (centre - a) % 360) for a in range(360)]
    return tuple(15.0 - min(12 * (turn / width) ** 2, 25.0) for turn in turns)


MEASURED = Array(pattern="measured", measured=MeasuredPattern("K", horizontal=cut(65, 0), vertical=cut(12, 6)))
SITES = (
    Site(
        position=(0.0, 0.0, 30.0),
        cells=(
            Cell(azimuth_deg=30.0, array=MEASURED),
            Cell(azimuth_deg=120.0, tilt_deg=4.0, array=Array(pattern="tr36814", electrical_tilt_deg=6.0)),
            Cell(azimuth_deg=240.0, tilt_deg=2.0, array=Array(rows=8, pattern="tr38901", electrical_tilt_deg=5.0)),
        ),
    ),
    Site(position=(50.0, 20.0, 12.0)),
)
TRACING = TracingConfig(max_depth=0, diffraction=False, map_rays=200_000)
POSITION = torch.tensor([[100.0, 50.0], [-80.0, 30.0], [20.0, -200.0], [300.0, 10.0], [30.0, 52.0]])


def test_traced_gains_and_their_gradients_are_those_of_the_patterns() -> None:
    simulator, closed_form = sim_bridge.open_empty(SITES, TRACING), FreeSpace(SITES, size=2e4, patterns=True)
    gradients = []
    for model in (simulator, closed_form):
        position = POSITION.clone().requires_grad_()
        gain = model.path_gain(position)
        gain.log().sum().backward()
        gradients.append(position.grad)
    torch.testing.assert_close(simulator.path_gain(POSITION), closed_form.path_gain(POSITION), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_maps_have_the_gain_of_the_patterns() -> None:
    grid = Grid(size=400.0, pixel=20.0)
    traced = sim_bridge.open_empty(SITES, TRACING).radio_map(grid)
    exact = FreeSpace(SITES, size=2e4, patterns=True).radio_map(grid)
    difference = (10 * (traced.gain / exact.gain).log10()).flatten(1)
    assert difference.median(1).values.abs().max() < 0.1


def test_fields_of_ports_have_the_gain_too() -> None:
    paths = sim_bridge.open_empty(SITES, TRACING).trace(POSITION)
    field = paths.amplitude.sum(-1).abs().square().sum(-1)
    torch.testing.assert_close(field, paths.power, rtol=1e-4, atol=0.0)


def test_a_network_of_more_cells_than_are_shot_at_once_has_the_maps_of_its_parts() -> None:
    """In empty space a cell's rays do not depend on the cells beside it."""
    cells = tuple(Cell(azimuth_deg=azimuth, array=Array(pattern="tr38901")) for azimuth in (0.0, 120.0, 240.0))
    sites = tuple(Site(position=(40.0 * k - 160.0, 10.0, 25.0), cells=cells) for k in range(9))
    grid = Grid(size=400.0, pixel=50.0)
    whole = sim_bridge.open_empty(sites, TRACING).radio_map(grid)
    assert len(whole.gain) == 27 > CELLS_PER_LAUNCH
    for part in (sites[:1], sites[-1:]):
        alone = sim_bridge.open_empty(part, TRACING).radio_map(grid)
        own = slice(0, 3) if part == sites[:1] else slice(24, 27)
        torch.testing.assert_close(whole.gain[own], alone.gain, rtol=1e-5, atol=0.0)
