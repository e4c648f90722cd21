"""Matrices of DeepMIMO: order, units, conventions and absent paths, of paths that are written down."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import scenes
from scenes.tiles.sionna_cities import city_scene_file
from scenes.tiles.writer import write_sites
from sim_bridge.deepmimo.config import DeepMimoConfig
from sim_bridge.deepmimo.matrices import MATRIX_NAMES, cell_matrices
from sim_bridge.paths.path_set import PathSet
from sim_bridge.paths.polylines import PathPolylines
from uel.core.constants import SPEED_OF_LIGHT
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

POINTS = torch.tensor([[30.0, 0.0, 1.5], [0.0, 40.0, 1.5], [9.0, 9.0, 1.5]])
ANTENNA = torch.tensor([0.0, 0.0, 1.5])


def hand_made() -> PathPolylines:
    """Two cells, three receivers: to the first a direct path and a stronger reflection, to the second a path that is
    reflected and scattered, to the third none of cell 0; one path of cell 1."""
    amplitude = torch.tensor([1e-4, 2e-4, 1e-5, 1e-3])
    length = torch.tensor([30.0, 50.0, 70.0, 10.0])
    departure = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    arrival = torch.tensor([[-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    paths = PathSet(
        receivers=3,
        cells=2,
        target=torch.tensor([0, 0, 1, 2]),
        source=torch.tensor([0, 0, 0, 1]),
        power=amplitude.square(),
        delay=length.double() / SPEED_OF_LIGHT,
        departure=departure,
        arrival=arrival,
        doppler=torch.zeros(4),
        interactions=torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]),
        amplitude=amplitude.to(torch.complex64)[:, None, None].expand(4, 2, 1),
    )
    kind = torch.tensor([[0, 0], [1, 0], [1, 2], [0, 0]])
    corner = torch.arange(4 * 4 * 3, dtype=torch.float32).view(4, 4, 3)
    real = torch.cat([torch.ones(4, 1, dtype=torch.bool), kind > 0, torch.ones(4, 1, dtype=torch.bool)], 1)
    return PathPolylines(paths, corner, real, kind)


def test_paths_are_sorted_and_absent_ones_are_not_numbers() -> None:
    matrices = cell_matrices(hand_made(), 0, ANTENNA, POINTS, Carrier(frequency=3e9), 25)
    assert set(matrices) == set(MATRIX_NAMES)
    assert all(values.dtype == np.float32 for values in matrices.values())
    expected = 20 * np.log10([[2e-4, 1e-4], [1e-5, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(matrices["power"], expected, atol=1e-4)
    np.testing.assert_array_equal(matrices["inter"], [[1, 0], [13, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(matrices["delay"][0] * SPEED_OF_LIGHT, [50, 30], rtol=1e-6)
    assert matrices["inter_pos"].shape == (3, 2, 2, 3)
    np.testing.assert_array_equal(matrices["inter_pos"][1, 0], hand_made().corner[2, 1:3].numpy())
    assert np.isnan(matrices["inter_pos"][0, 1]).all()  # the direct path turns nowhere
    np.testing.assert_array_equal(matrices["rx_pos"], POINTS.numpy())
    np.testing.assert_array_equal(matrices["tx_pos"], ANTENNA[None].numpy())


def test_angles_are_counter_clockwise_from_east_and_from_the_zenith() -> None:
    matrices = cell_matrices(hand_made(), 0, ANTENNA, POINTS, Carrier(frequency=3e9), 25)
    np.testing.assert_allclose(matrices["aod_az"][0], [90, 0], atol=1e-4)
    np.testing.assert_allclose(matrices["aoa_az"][0], [90, 180], atol=1e-4)
    np.testing.assert_allclose(matrices["aod_az"][1, 0], math.degrees(math.atan2(0.8, 0.6)), atol=1e-4)
    of_other = cell_matrices(hand_made(), 1, ANTENNA, POINTS, Carrier(frequency=3e9), 25)
    np.testing.assert_allclose((of_other["aod_el"][2, 0], of_other["aoa_el"][2, 0]), (0, 180), atol=1e-4)


def test_the_phase_is_that_of_the_path_s_length() -> None:
    carrier = Carrier(frequency=3e9)
    matrices = cell_matrices(hand_made(), 0, ANTENNA, POINTS, carrier, 25)
    cycles = torch.tensor([50.0, 30.0]).double() / SPEED_OF_LIGHT * 3e9
    turned = np.exp(1j * np.deg2rad(matrices["phase"][0]))
    np.testing.assert_allclose(turned, np.exp(-2j * np.pi * cycles.numpy()), atol=2e-3)


def test_the_strongest_paths_are_kept() -> None:
    matrices = cell_matrices(hand_made(), 0, ANTENNA, POINTS, Carrier(frequency=3e9), 1)
    assert matrices["power"].shape == (3, 1)
    assert matrices["inter"][0, 0] == 1


@pytest.mark.parametrize(("options", "expected"), [({"spacing": 0.0}, "spacing"), ({"paths": 0}, "paths")])
def test_options_that_cannot_be_are_refused(options: dict, expected: str) -> None:
    with pytest.raises(UelError, match=expected):
        DeepMimoConfig(**options)


@pytest.mark.slow
def test_a_scenario_has_the_gains_and_delays_of_the_ray_tracer(tmp_path: Path) -> None:
    import sim_bridge
    from sim_bridge.deepmimo.scenario import outdoor_grid, write_scenario

    file = city_scene_file("etoile").parents[1] / "simple_street_canyon" / "simple_street_canyon.xml"
    tile = scenes.build(file, tmp_path / "tile", origin=(48.0, 9.0), margin=0.0)
    tile = write_sites(tile, (Site(position=(0.0, 0.0, 10.0)), Site(position=(-45.0, 3.0, 12.0))))
    config = DeepMimoConfig(spacing=16.0, tracing=TracingConfig(max_depth=2, samples=5000, diffraction=False))
    folder = tmp_path / "canyon"
    count = write_scenario(tile, folder, config)
    position = outdoor_grid(tile, 16.0)
    truth = sim_bridge.open(tile, tile.sites, config.tracing, backend="sionna").paths(position)
    params = json.loads((folder / "params.json").read_text())
    assert params["txrx_sets"]["txrx_set_1"]["num_points"] == count == len(position)
    assert params["rt_params"]["gps_bbox"][0] == pytest.approx(48.0, abs=0.001)
    for cell in range(2):
        power = np.load(folder / f"power_t000_tx{cell:03}_r001.npz")["power"].astype(float)
        delay = np.load(folder / f"delay_t000_tx{cell:03}_r001.npz")["delay"]
        known = truth.known[:, cell].numpy()
        np.testing.assert_array_equal(np.isfinite(power).any(1), known)
        gain_db = 10 * np.log10(np.nansum(10 ** (power[known] / 10), axis=1))
        # The vertical polarization alone, which is not that of the field right below a mast.
        mast = torch.tensor(tile.sites[cell].position[:2])
        aside = ((position[:, :2] - mast).norm(dim=-1) > 10.0).numpy()[known]
        np.testing.assert_allclose(gain_db[aside], truth.gain_db[known, cell].numpy()[aside], atol=0.5)
        np.testing.assert_allclose(np.nanmin(delay[known], axis=1), truth.delay[known, cell].numpy(), rtol=1e-6)
    with pytest.raises(UelError, match="not a scenario"):
        write_scenario(tile, tmp_path / "tile", config)
