"""What the bridge does with what people really pass to it."""

import math

import pytest
import torch
from torch import nn

from sim_bridge.simulator import Sionna, TracingConfig
from tests.helpers.ray_traced_scenes import (
    OPEN_POSITIONS,
    STREET_POSITIONS,
    bundled,
    empty,
    gain_gradient,
    mast,
    street_canyon,
)
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.simulator import FreeSpace, PathGain, Simulator
from uel.radio.sites import Cell, Site

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def sim() -> Sionna:
    """Two cells in empty space."""
    return empty(mast() + mast((-50.0, 60.0, 15.0)))


def test_it_is_a_simulator(sim: Sionna) -> None:
    assert isinstance(sim, Simulator)
    assert isinstance(sim, PathGain)


# ---- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [(NAN, 0.0, 1.5), (0.0, INF, 1.5), (0.0, -INF, 1.5), (0.0, 0.0, NAN), (0.0, 0.0, INF)])
@pytest.mark.parametrize("ask", ["path_gain", "paths"])
def test_a_position_that_is_not_finite_is_refused(sim: Sionna, bad: tuple, ask: str) -> None:
    with pytest.raises(UelError, match=r"1 of 4 positions are not finite[\s\S]*do:  give x and y in metres"):
        getattr(sim, ask)(torch.cat([OPEN_POSITIONS, torch.tensor([bad])]))


def test_a_position_off_the_tile_is_refused(sim: Sionna) -> None:
    with pytest.raises(UelError, match=r"2 of 3 positions .* off the tile[\s\S]*1000000[\s\S]*within ±"):
        sim.path_gain(torch.tensor([[1e6, 0.0], [0.0, 0.0], [0.0, -1e6]]))


@pytest.mark.parametrize("shape", [(1,), (4,), (5, 4), (5, 0)])
def test_a_position_of_another_dimension_is_refused(sim: Sionna, shape: tuple) -> None:
    with pytest.raises(UelError, match="two or three coordinates"):
        sim.path_gain(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 2), (0, 3), (3, 0, 2)])
def test_an_empty_batch_gives_an_empty_answer(sim: Sionna, shape: tuple) -> None:
    position = torch.zeros(shape, requires_grad=True)
    gain = sim.path_gain(position)
    assert gain.shape == (*shape[:-1], 2)
    gain.sum().backward()
    assert position.grad is not None
    assert position.grad.shape == shape


@pytest.mark.parametrize("shape", [(2,), (3,), (1, 2, 3), (4, 1)])
def test_paths_take_one_position_a_row(sim: Sionna, shape: tuple) -> None:
    for simulator in (sim, FreeSpace(sim.sites)):
        with pytest.raises(UelError, match=r"shape \(n, 2\) or \(n, 3\)[\s\S]*do:[\s\S]*p\[None\]"):
            simulator.paths(torch.zeros(shape))


def test_an_empty_batch_has_no_paths(sim: Sionna) -> None:
    with pytest.raises(UelError, match="no positions to trace"):
        sim.paths(torch.zeros(0, 2))


def test_no_sites() -> None:
    with pytest.raises(UelError, match="there are no sites"):
        empty(())


def test_two_carriers_have_the_gains_of_their_frequencies() -> None:
    cells = (Cell(), Cell(carrier=Carrier(frequency=7e8)))
    gain = empty((Site(position=(0.0, 0.0, 20.0), cells=cells),)).path_gain(OPEN_POSITIONS)
    torch.testing.assert_close(gain[:, 1] / gain[:, 0], torch.full((3,), 25.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"samples": 0}, {"max_depth": -1}, {"map_batches": 1}])
def test_tracing_without_rays_is_refused(wrong: dict) -> None:
    with pytest.raises(UelError, match="tracing needs"):
        TracingConfig(**wrong)


NOT_FINITE = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("name", ["scattering", "map_target", "ue_height"])
def test_tracing_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(UelError, match=name):
        TracingConfig(**{name: value})


def test_a_scattering_coefficient_above_one_is_refused() -> None:
    with pytest.raises(UelError, match="from 0 to 1"):
        TracingConfig(scattering=1.5)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_sites_and_cells_that_are_not_finite_are_refused(value: float) -> None:
    for name in ("azimuth_deg", "tilt_deg", "power_dbm"):
        with pytest.raises(UelError, match=f"{name} is out of range"):
            Cell(**{name: value})
    with pytest.raises(UelError, match="position is out of range"):
        Site(position=(0.0, 0.0, value))


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize(
    ("name", "shape"),
    [("azimuth_deg", (2,)), ("cell_height", (2,)), ("cell_position", (2, 3)), ("ue_velocity", (1, 3))],
)
def test_parameters_that_are_not_finite_are_refused(sim: Sionna, name: str, shape: tuple, value: float) -> None:
    given = torch.zeros(shape)
    given.view(-1)[0] = value
    with pytest.raises(UelError, match=f"{name} has values that are not finite"):
        sim.trace(OPEN_POSITIONS[:1], **{name: given})


# ---- shapes and kinds of tensors -------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (3,), (1, 3, 2)])
@pytest.mark.parametrize("dim", [2, 3])
def test_leading_axes(sim: Sionna, lead: tuple, dim: int) -> None:
    position = torch.rand(*lead, dim, generator=torch.Generator().manual_seed(0)) * 50
    gain = sim.path_gain(position)
    assert gain.shape == (*lead, 2)
    torch.testing.assert_close(gain.reshape(-1, 2), sim.path_gain(position.reshape(-1, dim)), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_other_kinds_of_numbers(sim: Sionna, kind: torch.dtype) -> None:
    position = OPEN_POSITIONS.round().to(kind)
    torch.testing.assert_close(sim.path_gain(position), sim.path_gain(OPEN_POSITIONS.round()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_the_gradient_has_the_kind_of_the_position(sim: Sionna, kind: torch.dtype) -> None:
    position = OPEN_POSITIONS.to(kind).requires_grad_()
    sim.path_gain(position).log().sum().backward()
    assert position.grad is not None
    assert position.grad.dtype == kind
    assert bool((position.grad != 0).any())


def test_autocast_is_left_outside(sim: Sionna) -> None:
    position = OPEN_POSITIONS.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gain = sim.path_gain(position)
        gain.log().sum().backward()
    assert gain.dtype == torch.float32
    torch.testing.assert_close(gain, sim.path_gain(OPEN_POSITIONS), rtol=0, atol=0)
    torch.testing.assert_close(position.grad, gain_gradient(sim, OPEN_POSITIONS), rtol=1e-6, atol=0)


def test_tensors_that_are_not_contiguous(sim: Sionna) -> None:
    torch.testing.assert_close(
        sim.path_gain(OPEN_POSITIONS.T.contiguous().T), sim.path_gain(OPEN_POSITIONS), rtol=0, atol=0
    )


def test_a_parameter_gets_a_gradient(sim: Sionna) -> None:
    parameter = nn.Parameter(OPEN_POSITIONS.clone())
    sim.path_gain(parameter).log().sum().backward()
    torch.testing.assert_close(parameter.grad, gain_gradient(sim, OPEN_POSITIONS), rtol=1e-6, atol=0)


def test_a_position_without_height_gets_a_gradient_in_the_plane(sim: Sionna) -> None:
    flat = OPEN_POSITIONS[:, :2]
    lifted = torch.cat([flat, torch.full((3, 1), 1.5)], -1)
    torch.testing.assert_close(gain_gradient(sim, flat), gain_gradient(sim, lifted)[:, :2], rtol=1e-6, atol=0)


def test_the_input_is_left_as_it_was(sim: Sionna) -> None:
    position = OPEN_POSITIONS.clone()
    sim.path_gain(position).add_(1.0)
    torch.testing.assert_close(position, OPEN_POSITIONS, rtol=0, atol=0)


# ---- chunks and seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_the_chunk_does_not_matter_in_empty_space(sim: Sionna, chunk: int) -> None:
    position = torch.cat([OPEN_POSITIONS, -OPEN_POSITIONS + torch.tensor([0.0, 0.0, 20.0])])[:5]
    other = empty(sim.sites, chunk=chunk)
    torch.testing.assert_close(other.path_gain(position), sim.path_gain(position), rtol=1e-6, atol=0)
    torch.testing.assert_close(gain_gradient(other, position), gain_gradient(sim, position), rtol=1e-5, atol=0)
    assert torch.equal(other.paths(position).known, sim.paths(position).known)


def test_the_chunk_does_not_matter_in_a_street() -> None:
    whole, parts = (street_canyon(chunk=chunk, samples=10_000).path_gain(STREET_POSITIONS) for chunk in (4, 3))
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=0)


def test_two_calls_are_equal_to_the_bit_and_a_seed_changes_them() -> None:
    sim = street_canyon(samples=300)
    first, second = sim.path_gain(STREET_POSITIONS), sim.path_gain(STREET_POSITIONS)
    assert torch.equal(first, second)
    others = []
    for seed in range(2, 6):
        sim.reseed(seed)
        others.append(sim.path_gain(STREET_POSITIONS))
    assert any(not torch.equal(first, other) for other in others)
    sim.reseed(sim.tracing.seed)
    assert torch.equal(first, sim.path_gain(STREET_POSITIONS))


def test_paths_and_path_gain_tell_the_same() -> None:
    sim = street_canyon()
    truth, gain = sim.paths(STREET_POSITIONS), sim.path_gain(STREET_POSITIONS)
    torch.testing.assert_close(truth.gain_db, 10 * torch.log10(gain), rtol=0, atol=1e-4)
    assert torch.equal(truth.position, STREET_POSITIONS[:, :2])


# ---- gradients -------------------------------------------------------------------------------------------


def test_backward_on_fresh_graphs_repeats(sim: Sionna) -> None:
    torch.testing.assert_close(gain_gradient(sim, OPEN_POSITIONS), gain_gradient(sim, OPEN_POSITIONS), rtol=0, atol=0)
    position = OPEN_POSITIONS.clone().requires_grad_()
    for _ in range(2):
        sim.path_gain(position).log().sum().backward()
    torch.testing.assert_close(position.grad, 2 * gain_gradient(sim, OPEN_POSITIONS), rtol=1e-6, atol=0)


def test_two_graphs_alive_at_once_do_not_mix(sim: Sionna) -> None:
    first, second = OPEN_POSITIONS.clone().requires_grad_(), (OPEN_POSITIONS + 7).requires_grad_()
    gains = sim.path_gain(first), sim.path_gain(second)
    gains[0].log().sum().backward()
    gains[1].log().sum().backward()
    torch.testing.assert_close(first.grad, gain_gradient(sim, OPEN_POSITIONS), rtol=1e-6, atol=0)
    torch.testing.assert_close(second.grad, gain_gradient(sim, OPEN_POSITIONS + 7), rtol=1e-6, atol=0)


def test_a_second_backward_through_one_call_is_refused(sim: Sionna) -> None:
    # Without the guard Dr.Jit answers with the first call's gradient, silently.
    position = OPEN_POSITIONS.clone().requires_grad_()
    gain = sim.path_gain(position)
    torch.autograd.grad(gain[0, 0], position, retain_graph=True)
    with pytest.raises(UelError, match="differentiated once"):
        torch.autograd.grad(gain[1, 1], position)


def test_no_grad_is_no_grad(sim: Sionna) -> None:
    assert not sim.path_gain(OPEN_POSITIONS).requires_grad
    with torch.no_grad():
        assert not sim.path_gain(OPEN_POSITIONS.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize("chunk", [1, 2], ids=["alone", "beside a link that has paths"])
def test_a_link_without_a_path_has_no_gain_and_no_gradient(chunk: int) -> None:
    sim = bundled("box", mast((40.0, 0.0, 3.0)), chunk=chunk, max_depth=2)
    position = torch.tensor([[0.0, 0.0, 2.0], [60.0, 0.0, 2.0]], requires_grad=True)  # inside metal, and outside
    gain = sim.path_gain(position)
    gain.sum().backward()
    assert gain[0].item() == 0
    assert gain[1].item() > 0
    assert position.grad is not None
    assert torch.equal(position.grad[0], torch.zeros(3))
    assert bool((position.grad[1] != 0).any())
    truth = sim.paths(position)
    assert truth.known.tolist() == truth.los.tolist() == [[False], [True]]
    assert [truth.gain_db[0].item(), truth.delay[0].item(), truth.azimuth_deg[0].item()] == [0, 0, 0]


def test_at_the_antenna_itself_nothing_is_infinite(sim: Sionna) -> None:
    position = torch.tensor([list(sim.sites[0].position)], requires_grad=True)
    gain = sim.path_gain(position)
    gain.sum().backward()
    assert bool(gain.isfinite().all())
    assert position.grad is not None
    assert bool(position.grad.isfinite().all())


def test_gradients_around_edges_agree_with_differences_where_paths_are_of_several_lengths() -> None:
    """Paths over an edge alone beside paths that a wall follows: the shorter ones' derivative was no number."""
    sim = street_canyon(diffraction=True, samples=1000, max_depth=2)
    frozen = sim.freeze(STREET_POSITIONS)

    def level(place: torch.Tensor) -> torch.Tensor:
        return frozen.trace(place).gain().sum(-1).log()

    position = STREET_POSITIONS.clone().requires_grad_()
    met = frozen.trace(position).interactions
    assert set(met[met[:, 2] > 0].sum(-1).tolist()) == {1, 2}  # around an edge alone, and off a wall, too
    level(position).sum().backward()
    assert position.grad is not None
    assert bool(position.grad.isfinite().all())
    for axis in range(3):
        step = 0.02 * torch.eye(3)[axis]
        with torch.no_grad():
            slope = (level(STREET_POSITIONS + step) - level(STREET_POSITIONS - step)) / 0.04
        torch.testing.assert_close(position.grad[:, axis], slope, rtol=0.02, atol=2e-3)
