"""Empty space and the lookup in its map answer one question with one signature."""

import inspect
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from tests.helpers.free_space import CORNERS, masts, radio_map, rough_map
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace, PathGain, Simulator

WORLD = FreeSpace(masts(*CORNERS[:3]), size=256.0)


def shape(*leading: int, dim: int = 2) -> torch.Tensor:
    return (torch.rand(*leading, dim, generator=torch.Generator().manual_seed(0)) - 0.5) * 200


def test_one_signature() -> None:
    signatures = {str(inspect.signature(kind.path_gain)) for kind in (RadioMap, FreeSpace, PathGain, Simulator)}
    assert len(signatures) == 1
    assert isinstance(WORLD, Simulator)
    assert isinstance(rough_map(), PathGain)


def test_friis_at_one_place() -> None:
    gain = FreeSpace(masts((0.0, 0.0), height=31.5)).path_gain(torch.tensor([40.0, 0.0]))
    distance, wavelength = 50.0, 299_792_458.0 / 3.5e9
    assert gain.tolist() == pytest.approx([(wavelength / (4 * math.pi * distance)) ** 2], rel=1e-6)


@pytest.mark.parametrize("leading", [(), (7,), (2, 3)])
def test_map_and_simulator_agree_in_shape_and_value(leading: tuple[int, ...]) -> None:
    radio, position = WORLD.radio_map(Grid(size=256.0, pixel=2.0)), shape(*leading)
    slow, fast = WORLD.path_gain(position), radio.path_gain(position)
    assert slow.shape == fast.shape == (*leading, 3)
    assert (10 * (fast / slow).log10()).abs().max() < 0.1


def test_map_is_exact_in_its_pixel_centres() -> None:
    radio = radio_map(masts(*CORNERS[:3]))
    torch.testing.assert_close(radio.path_gain(radio.grid.centres()), WORLD.path_gain(radio.grid.centres()))


def test_two_dimensions_are_three_at_ue_height() -> None:
    flat, radio = shape(20), radio_map(masts(*CORNERS[:3]))
    lifted = torch.cat([flat, torch.full((20, 1), 1.5)], -1)
    torch.testing.assert_close(WORLD.path_gain(flat), WORLD.path_gain(lifted))
    torch.testing.assert_close(radio.path_gain(flat), radio.path_gain(lifted))
    assert (WORLD.path_gain(lifted + torch.tensor([0.0, 0.0, 10.0])) != WORLD.path_gain(flat)).all()
    torch.testing.assert_close(WORLD.paths(lifted).position, flat)


def test_gradients_agree() -> None:
    radio, position = WORLD.radio_map(Grid(size=256.0, pixel=2.0)), shape(50)
    slow, fast = (
        torch.autograd.grad(world.path_gain(p).log().sum(), p)[0]
        for world in (WORLD, radio)
        for p in [position.clone().requires_grad_()]
    )
    assert float((fast - slow).norm() / slow.norm()) < 0.1


def test_unknown_pixels_are_censored_and_their_gradient_is_finite() -> None:
    radio, position = rough_map(), shape(500).requires_grad_()
    gain = radio.path_gain(position)
    gain.sum().backward()
    assert gain.isfinite().all()
    assert position.grad.isfinite().all()


@pytest.mark.parametrize("bad", [[float("nan"), 0.0], [0.0, 200.0]])
def test_both_refuse_positions_off_the_tile(bad: list[float]) -> None:
    for world in (WORLD, rough_map()):
        with pytest.raises(UelError, match="not finite or off the tile"):
            world.path_gain(torch.tensor([bad]))


def test_no_site_is_refused() -> None:
    with pytest.raises(UelError, match="there are no sites"):
        FreeSpace(()).path_gain(torch.zeros(1, 2))


def test_the_maps_truth_is_that_of_the_pixels_centre() -> None:
    radio, position = WORLD.radio_map(Grid(size=256.0, pixel=2.0)), shape(40)
    centre = radio.grid.centres()[radio.grid.pixel_of(position)]
    slow, fast = WORLD.paths(centre), radio.pixel_truth(position)
    torch.testing.assert_close(fast.gain_db, slow.gain_db, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast.delay, slow.delay)
    torch.testing.assert_close(fast.azimuth_deg, slow.azimuth_deg)
    assert fast.known.all()
    assert fast.los.all()


def test_radio_map_round_trip(tmp_path: Path) -> None:
    radio = rough_map()
    radio_map_io.save(radio, tmp_path / "map")
    back = radio_map_io.load(tmp_path / "map")
    plain = ("grid", "sites", "made_on", "backend")
    assert [getattr(back, name) for name in plain] == [getattr(radio, name) for name in plain]
    for name in [f.name for f in fields(RadioMap) if f.name not in (*plain, "channels")]:
        assert torch.equal(getattr(back, name), getattr(radio, name))
    for name, values in vars(radio.channels).items():
        assert torch.equal(getattr(back.channels, name), values)
    radio_map_io.save(replace(radio, channels=None), tmp_path / "gain")
    with pytest.raises(UelError, match="no delays and directions"):
        radio_map_io.load(tmp_path / "gain").lookup(torch.zeros(1, 2))


def test_xarray_opens_a_radio_map(tmp_path: Path) -> None:
    radio = rough_map()
    radio_map_io.save(radio, tmp_path, {"snr_db": radio.gain + 1}, {"tile": "here"})
    with xarray.open_zarr(tmp_path / radio_map_io.FOLDER_NAME, consolidated=False) as opened:
        assert opened.gain.dims == ("cell", "row", "column")
        assert opened.first_arrival.units == "s"
        assert (opened.attrs["tile"], opened.x.dims) == ("here", ("column",))
        np.testing.assert_array_equal(opened.gain.values, radio.gain.numpy())
    assert torch.equal(radio_map_io.read_service(tmp_path)["snr_db"], radio.gain + 1)


@pytest.mark.parametrize("damage", ["gone", "cut", "not json", "other schema"])
def test_damaged_radio_map_is_refused(tmp_path: Path, damage: str) -> None:
    radio_map_io.save(rough_map(), tmp_path)
    store = tmp_path / "radiomap.zarr"
    chunk = store / "gain" / "c" / "0" / "0" / "0"
    if damage == "gone":
        chunk.unlink()
    elif damage == "cut":
        chunk.write_bytes(chunk.read_bytes()[:50])
    else:
        text = (store / "zarr.json").read_text()
        (store / "zarr.json").write_text("{" if damage == "not json" else text.replace(radio_map_io.SCHEMA, "other"))
    with pytest.raises(UelError, match=r"do:[\s\S]*again"):
        radio_map_io.load(tmp_path)
