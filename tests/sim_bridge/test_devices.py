"""The bridge follows the device of the positions: on an emulated second device it answers as on the CPU."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features
from sim_bridge.scene.radio_scene import _require_float64
from sim_bridge.simulator import Sionna
from tests.helpers.emulated_device import EMULATED, EmulatedTensor, emulated_device
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, bundled, street_canyon
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.antennas.measured_pattern import MeasuredPattern
from uel.radio.sites import Array, Cell, Site

VELOCITY = torch.tensor([[3.0, -1.0, 0.0]]).expand(len(STREET_POSITIONS), 3)
CUT = tuple(-0.1 * min(d, 360 - d) for d in range(360))
PATTERN = MeasuredPattern("test", horizontal=CUT, vertical=CUT)
SECTORS = (
    Site(
        position=(-30.0, 2.0, 12.0),
        cells=(Cell(array=Array(pattern="measured", measured=PATTERN)), Cell(array=Array(rows=4), azimuth_deg=90.0)),
    ),
)


@pytest.fixture(scope="module")
def sim() -> Sionna:
    return street_canyon()


@pytest.fixture
def emulated() -> Iterator[None]:
    with emulated_device():
        yield


def on_cpu(value: Tensor) -> Tensor:
    """The values of a tensor that must be on the emulated device."""
    assert isinstance(value, EmulatedTensor), value.device
    return value.held


def gains(sim: Sionna, position: Tensor, material: Tensor) -> list[Tensor]:
    """Gains, and their gradients with respect to the positions and to a material."""
    name = next(name for name in sim.parameters if name.endswith("relative_permittivity"))
    position, material = position.clone().requires_grad_(), material.clone().requires_grad_()
    paths = sim.trace(position, **{name: material, "ue_velocity": VELOCITY.to(position.device)})
    gain = paths.gain()
    by_parts = torch.autograd.grad(gain.clamp(min=1e-20).log().sum() + paths.mean_delay().sum(), (position, material))
    links = sim.paths(position.detach())
    return [gain.detach(), *by_parts, links.gain_db, links.delay, links.azimuth_deg, links.los]


def test_paths_and_gradients_are_those_of_the_cpu(sim, emulated):
    material = torch.tensor(5.0, device="cpu")
    here = gains(sim, STREET_POSITIONS, material)
    there = gains(sim, STREET_POSITIONS.to(EMULATED), material.to(EMULATED))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(on_cpu(other), one, rtol=1e-6, atol=0)


def test_parameters_are_moved_to_the_positions(sim, emulated):
    heights = torch.tensor([13.0], device="cpu", requires_grad=True)
    gain = sim.trace(STREET_POSITIONS.to(EMULATED), cell_height=heights).gain()
    gain.clamp(min=1e-20).log().sum().backward()
    assert heights.grad is not None
    assert heights.grad.device.type == "cpu"
    assert heights.grad.isfinite().all()
    assert isinstance(gain, EmulatedTensor)


def test_frozen_paths_measured_patterns_and_features(emulated):
    sim = bundled("simple_street_canyon", SECTORS, samples=3000, max_depth=2)
    here, there = (sim.freeze(STREET_POSITIONS.to(device)).trace() for device in ("cpu", EMULATED))
    torch.testing.assert_close(on_cpu(there.gain()), here.gain(), rtol=1e-6, atol=0)
    config = FeatureConfig(layers=("rt",))
    features = [
        measure_features(sim, *(v.to(d) for v in (STREET_POSITIONS, VELOCITY)), config) for d in ("cpu", EMULATED)
    ]
    for name, value in features[0].items():
        torch.testing.assert_close(on_cpu(features[1][name]), value, rtol=1e-6, atol=0)


def test_an_atlas_answers_on_the_positions_device(emulated):
    sim = street_canyon(max_depth=1)
    sim.build_atlas(AtlasConfig(rays=20_000, depth=1, settle=1, audit=1), Grid(size=128.0, pixel=16.0))
    here, there = sim.path_gain(STREET_POSITIONS), sim.path_gain(STREET_POSITIONS.to(EMULATED))
    torch.testing.assert_close(on_cpu(there), here, rtol=1e-6, atol=0)


def test_a_map_is_made_without_a_default_device(sim, emulated):
    assert bool(street_canyon(map_rays=2000, map_batches=2).radio_map(Grid(size=128.0, pixel=16.0)).known.any())


def test_the_guard_sees_a_tensor_without_a_device(emulated):
    source = "import torch\ndef make():\n    return torch.zeros(3)\n"
    ours: dict = {"__name__": "uel.pretended"}
    exec(source, ours)
    with pytest.raises(AssertionError, match="zeros without device"):
        ours["make"]()


def test_positions_on_apples_gpu_are_refused():
    with pytest.raises(UelError, match=r"float64[\s\S]*position\.cpu"):
        _require_float64(torch.device("mps"))
