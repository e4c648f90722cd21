"""The contract between PyTorch and Dr.Jit: what would abort, alias or answer wrongly, and does not."""

import gc
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from sim_bridge.backend.torch_drjit import call_drjit
from sim_bridge.simulator import Sionna
from tests.helpers.ray_traced_scenes import (
    OPEN_POSITIONS,
    STREET_POSITIONS,
    empty,
    gain_gradient,
    mast,
    street_canyon,
)
from uel.errors import UelError

import drjit as dr  # isort: skip  (after sim_bridge, which finds a usable LLVM)


@pytest.fixture(scope="module")
def sim() -> Sionna:
    """Two cells in empty space."""
    return empty(mast() + mast((-50.0, 60.0, 15.0)))


def test_the_gradient_of_a_gradient_is_refused(sim: Sionna) -> None:
    position = OPEN_POSITIONS.clone().requires_grad_()
    gain = sim.path_gain(position).log().sum()
    with pytest.raises(UelError, match=r"first derivatives only[\s\S]*create_graph"):
        torch.autograd.grad(gain, position, create_graph=True)


def test_writing_into_the_input_afterwards_changes_nothing(sim: Sionna) -> None:
    position, source = OPEN_POSITIONS.clone().requires_grad_(), OPEN_POSITIONS.clone()
    gain = sim.path_gain(position + 0 * source)
    with torch.no_grad():
        position.add_(100.0)
    gain.log().sum().backward()
    torch.testing.assert_close(position.grad, gain_gradient(sim, OPEN_POSITIONS), rtol=1e-6, atol=0)


def test_writing_into_the_output_changes_nothing(sim: Sionna) -> None:
    position = OPEN_POSITIONS.clone().requires_grad_()
    gain = sim.path_gain(position)
    kept = gain.detach().clone()
    gain.detach().mul_(0.0)
    torch.testing.assert_close(sim.path_gain(position), kept, rtol=0, atol=0)


def test_gradients_of_one_simulator_do_not_mix_between_threads_with_other_materials() -> None:
    sim = street_canyon()
    name = next(name for name in sim.parameters if name.endswith("relative_permittivity"))
    values = (2.0, 20.0)

    def gradient(permittivity: float) -> Tensor:
        position = STREET_POSITIONS.clone().requires_grad_()
        material = torch.tensor(permittivity, requires_grad=True)
        sim.trace(position, **{name: material}).gain().clamp(min=1e-15).log().sum().backward()
        assert position.grad is not None
        assert material.grad is not None
        return torch.cat([position.grad.flatten(), material.grad.view(1)])

    def plain_gradient(_: float) -> Tensor:
        return gain_gradient(sim, STREET_POSITIONS).flatten()

    calls = [(gradient, values[0]), (gradient, values[1]), (plain_gradient, 0.0)] * 20
    wanted = [call(value) for call, value in calls[:3]]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda pair: pair[0](pair[1]), calls))
    for number, result in enumerate(results):
        truth = wanted[number % 3]
        assert float((result - truth).norm() / truth.norm()) < 1e-5


def test_threads_and_two_simulators_do_not_mix(sim: Sionna) -> None:
    other = empty(mast((20.0, 20.0, 30.0)))
    wanted = [gain_gradient(which, OPEN_POSITIONS) for which in (sim, other)]

    def work(index: int) -> Tensor:
        return gain_gradient((sim, other)[index % 2], OPEN_POSITIONS)

    with ThreadPoolExecutor(4) as pool:
        for index, got in enumerate(pool.map(work, range(12))):
            torch.testing.assert_close(got, wanted[index % 2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("bad", [torch.zeros(0), torch.zeros(3, dtype=torch.long)])
def test_what_dr_jit_cannot_take_is_refused_and_no_abort(bad: Tensor) -> None:
    with pytest.raises(UelError, match="empty or not of floats"):
        call_drjit(lambda x: [x], [bad])


def test_an_exception_inside_leaves_the_bridge_whole(sim: Sionna) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        call_drjit(fail, [torch.ones(2)])
    (answer,) = call_drjit(lambda x: [x * 2], [torch.ones(2)])
    assert answer.tolist() == [2.0, 2.0]


def test_a_search_that_does_not_fit_is_halved_and_a_single_receiver_is_an_error() -> None:
    whole = street_canyon(chunk=4, scattering=0.4)
    tight = street_canyon(chunk=4, scattering=0.4, max_paths=1500)
    torch.testing.assert_close(tight.path_gain(STREET_POSITIONS) > 0, whole.path_gain(STREET_POSITIONS) > 0)
    with pytest.raises(UelError, match=r"more candidates than it may hold[\s\S]*do:  raise max_paths"):
        street_canyon(chunk=4, scattering=0.4, max_paths=50).path_gain(STREET_POSITIONS)


@pytest.mark.slow  # 60 s: kernels of many kinds of paths are compiled
def test_no_number_is_ever_lost_to_nan() -> None:
    """Inside walls, on edges, on the antenna, at the rim of the tile: values and gradients are finite."""
    sim = street_canyon(diffraction=True, samples=500, max_depth=2)  # paths of several lengths
    corners = torch.from_numpy(sim.facets.corner[::37, 0]).float()
    inside = torch.tensor([[0.4, 23.5, 20.0], [-46.5, -22.5, 5.0], [0.0, 0.0, -0.03]])
    antenna = torch.tensor(sim.sites[0].position)[None]
    rim = torch.tensor([[1e4, 0.0, 1.5], [-1e4, 1e4, 1.5]])
    position = torch.cat([corners, inside, antenna, antenna + 1e-4, rim]).requires_grad_()
    paths = sim.trace(position)
    asked = (paths.gain(), paths.first_arrival(), paths.mean_arrival(), paths.mean_departure(), paths.delay_spread())
    for value in asked:
        assert bool(value.isfinite().all())
    sum(1e6 * value.sum() for value in asked).backward()
    assert position.grad is not None
    assert bool(position.grad.isfinite().all())


@pytest.mark.slow
def test_thousands_of_calls_take_no_more_memory() -> None:
    sim, position = empty(mast()), OPEN_POSITIONS.clone().requires_grad_()

    def ask(count: int) -> tuple[int, int]:
        for _ in range(count):
            position.grad = None
            sim.path_gain(position).log().sum().backward()
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(dr.whos(as_string=True).splitlines())

    before, after = ask(300), ask(2700)
    assert after[0] - before[0] < 8_500  # kB, some 3 a call
    assert after[1] <= before[1] + 5  # variables of Dr.Jit


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_on_a_gpu_come_back_there(sim: Sionna) -> None:
    position = OPEN_POSITIONS.cuda().requires_grad_()
    gain = sim.path_gain(position)
    assert gain.device == position.device
    gain.log().sum().backward()
    torch.testing.assert_close(position.grad.cpu(), gain_gradient(sim, OPEN_POSITIONS), rtol=1e-5, atol=0)
