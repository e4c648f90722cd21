"""Several carriers in one simulator: one search, and for each carrier what a simulator of its own answers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sim_bridge.backend import sionna_internals
from sim_bridge.simulator import Sionna
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, bundled
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.sites import Array, Cell, Site, split_by_carrier

LOW, HIGH = Carrier(frequency=1.8e9), Carrier(frequency=26e9)
SECTORS = Array(rows=4, columns=2, pattern="tr38901")
MAST = Site(
    position=(-30.0, 2.0, 12.0),
    cells=(
        Cell(carrier=HIGH, array=SECTORS, azimuth_deg=90.0),
        Cell(carrier=LOW, azimuth_deg=40.0),
        Cell(carrier=HIGH, array=SECTORS, azimuth_deg=200.0),
    ),
)
CELLS = {LOW: [1], HIGH: [0, 2]}
# Rays enough for all paths: a cell draws other ones as the second of three than alone.
TRACING = {"samples": 20_000, "max_depth": 1, "map_rays": 20_000, "map_batches": 2}
VELOCITY = torch.tensor([[3.0, -1.0, 0.0]]).expand(len(STREET_POSITIONS), 3)


def opened(sites: tuple[Site, ...]) -> Sionna:
    return bundled("simple_street_canyon", sites, **TRACING)


@pytest.fixture(scope="module")
def both() -> Sionna:
    return opened((MAST,))


@pytest.fixture(scope="module")
def alone() -> dict[Carrier, Sionna]:
    return {carrier: opened(sites) for carrier, sites in split_by_carrier((MAST,)).items()}


def values(sim: Sionna) -> dict[str, Tensor]:
    """Values of links, and the gradient of all gains of a cell with respect to the positions, (n, cell, …)."""
    position = STREET_POSITIONS.clone().requires_grad_()
    paths = sim.trace(position, ue_velocity=VELOCITY)
    gain = paths.gain()
    found = {
        "gain": gain.detach(),
        "delay": paths.mean_delay(),
        "doppler": paths.mean_doppler(),
        "count": paths.count(),
    }
    sums = [
        torch.autograd.grad(sim.path_gain(position)[:, cell].clamp(min=1e-20).log().sum(), position)[0]
        for cell in range(gain.shape[1])
    ]
    return {name: value.detach() for name, value in found.items()} | {"gradient": torch.stack(sums, 1)}


def test_each_carrier_is_as_in_a_simulator_of_its_own(both, alone) -> None:
    together = values(both)
    for carrier, cells in CELLS.items():
        for name, expected in values(alone[carrier]).items():
            torch.testing.assert_close(
                together[name][:, cells], expected, rtol=1e-5 if name == "gradient" else 1e-6, atol=1e-12
            )


def test_materials_and_frozen_paths_too(both, alone) -> None:
    name = next(name for name in both.parameters if name.endswith("relative_permittivity"))

    def learned(sim: Sionna) -> tuple[Tensor, Tensor]:
        material = torch.tensor(4.0, requires_grad=True)
        gain = sim.freeze(STREET_POSITIONS).trace(**{name: material}).gain()
        return gain.detach(), torch.autograd.grad(gain.clamp(min=1e-20).log().sum(), material)[0]

    (gain, gradient), parts = learned(both), {carrier: learned(sim) for carrier, sim in alone.items()}
    for carrier, cells in CELLS.items():
        torch.testing.assert_close(gain[:, cells], parts[carrier][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, sum(part[1] for part in parts.values()), rtol=1e-5, atol=0)


def test_the_scene_is_as_before_and_one_search_is_made(both, monkeypatch) -> None:
    searches, search = [], sionna_internals.search
    monkeypatch.setattr(sionna_internals, "search", lambda *args: searches.append(args) or search(*args))
    frequency = float(both.scene.frequency[0])
    both.path_gain(STREET_POSITIONS)
    assert len(searches) == 1
    assert float(both.scene.frequency[0]) == frequency == LOW.frequency


def test_maps_have_the_cells_of_all_carriers(both, alone) -> None:
    grid = Grid(size=128.0, pixel=16.0)
    together = both.radio_map(grid)
    assert together.sites == (MAST,)
    for carrier, cells in CELLS.items():
        torch.testing.assert_close(together.gain[cells], alone[carrier].radio_map(grid).gain, rtol=1e-5, atol=0)


def test_polarizations_of_one_carrier_must_agree() -> None:
    crossed = replace(MAST.cells[1], array=Array(polarization="cross"))
    with pytest.raises(UelError, match="one polarization"):
        opened((replace(MAST, cells=(*MAST.cells, crossed)),))
