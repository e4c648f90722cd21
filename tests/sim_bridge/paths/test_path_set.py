"""Paths in torch: those of stock Sionna, each once; and what they make of a link, by hand."""

import math

import pytest
import torch

from sim_bridge.paths.path_set import PathSet
from sim_bridge.scene.endpoints import rotation
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, bundled, empty, friis, mast, mirror, sector
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.sites import Array

import mitsuba as mi  # isort: skip  (after tests.helpers.ray_traced_scenes, which finds a usable LLVM)
import sionna.rt as rt  # isort: skip


@pytest.mark.parametrize(("scattering", "diffraction"), [(0.0, False), (0.4, False), (0.0, True)])
def test_paths_are_those_of_stock_sionna(scattering: float, diffraction: bool) -> None:
    settings = {"samples": 3000, "max_depth": 2, "scattering": scattering, "diffraction": diffraction}
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), **settings)
    ours = sim.trace(STREET_POSITIONS)
    for index, position in enumerate(STREET_POSITIONS.tolist()):
        sim.scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(*position)))
    stock = rt.PathSolver(deterministic=True)(
        sim.scene, max_depth=2, samples_per_src=3000, diffuse_reflection=scattering > 0, diffraction=diffraction, seed=1
    )
    real, imag = (torch.from_numpy(part.numpy()) for part in stock.a)
    power, delay = (real.square() + imag.square()).sum((1, 3))[:, 0], torch.from_numpy(stock.tau.numpy())[:, 0]
    for receiver in range(len(STREET_POSITIONS)):
        mine = ours.target == receiver
        theirs = power[receiver] > 0
        # Every path of ours is one of theirs; theirs may hold one twice. Around an edge and a mirror stock Sionna
        # starts its rays a millimetre off the edge, so its mirror points are a millimetre off those of `unfold`,
        # which lie where Fermat has them (`test_unfold`). Around edges fields differ (`backend.utd`): ways alone count.
        pairs = [
            sorted(zip(t.tolist(), (p.log10() * (not diffraction)).tolist(), strict=True))
            for t, p in (
                (ours.delay[mine] * 1e9, ours.power[mine]),
                (delay[receiver][theirs] * 1e9, power[receiver][theirs]),
            )
        ]
        bent = (ours.interactions[mine, 2] > 0) & (ours.bounces[mine] > 1)
        order = ours.delay[mine].argsort()
        around = (ours.interactions[mine, 2] > 0)[order].tolist()
        for path, both, edge in zip(pairs[0], bent[order].tolist(), around, strict=True):
            within = pytest.approx(path, abs=3e-3 if both else 1e-3)
            assert edge or any(other == within for other in pairs[1])  # Sionna's rays miss most edges
        for path in pairs[1]:
            assert any(other == pytest.approx(path, abs=3e-3) for other in pairs[0])
        assert len(pairs[0]) >= len({(round(t, 2), round(p, 3)) for t, p in pairs[1]}) - 1
    assert bool((ours.power > 0).all())


def two_paths(**change: torch.Tensor) -> PathSet:
    """One link with powers 3 and 1, and one without a path."""
    values = {
        "target": torch.tensor([0, 0]),
        "source": torch.tensor([0, 0]),
        "power": torch.tensor([3.0, 1.0]),
        "delay": torch.tensor([1e-6, 2e-6], dtype=torch.float64),
        "departure": torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]),
        "arrival": torch.tensor([[-1.0, 0, 0], [0, -1.0, 0]]),
        "doppler": torch.tensor([10.0, -30.0]),
        "interactions": torch.tensor([[0, 0, 0, 0], [1, 0, 1, 0]]),
        "amplitude": torch.tensor([3.0, 1.0]).sqrt().to(torch.complex64)[:, None, None] * torch.tensor([[0.6], [0.8j]]),
    }
    return PathSet(1, 2, **{**values, **change})


def test_a_link_by_hand() -> None:
    link = two_paths()
    assert link.gain().tolist() == [[4.0, 0.0]]
    assert link.known().tolist() == link.has_direct_path().tolist() == [[True, False]]
    assert link.first_arrival()[0].tolist() == pytest.approx([1e-6, 0.0])
    assert link.mean_delay()[0].tolist() == pytest.approx([1.25e-6, 0.0])
    # sqrt(3/4·0.25² + 1/4·0.75²) µs
    assert link.delay_spread()[0].tolist() == pytest.approx([0.4330127e-6, 0.0], rel=1e-5)
    assert link.mean_departure()[0, 0].tolist() == pytest.approx([0.75, 0.25, 0.0])
    assert link.mean_arrival()[0, 0].tolist() == pytest.approx([-0.75, -0.25, 0.0])
    assert link.mean_doppler()[0].tolist() == pytest.approx([0.0, 0.0])
    assert link.strongest_row()[0, 0] == 0


def test_gradients_of_a_single_path_are_finite() -> None:
    delay = torch.tensor([1e-6, 1e-6], dtype=torch.float64, requires_grad=True)
    two_paths(delay=delay).delay_spread().sum().backward()
    assert delay.grad is not None
    assert bool(delay.grad.isfinite().all())


def test_batches_follow_one_another() -> None:
    both = PathSet.cat([two_paths(), two_paths()])
    assert (both.receivers, both.target.tolist()) == (2, [0, 0, 1, 1])
    assert both.gain().tolist() == [[4.0, 0.0], [4.0, 0.0]]


def test_doppler_of_a_moving_phone() -> None:
    """Along the line of sight: v / λ, positive when the phone comes nearer (Molisch 2011, section 5.2)."""
    sim, position = empty(mast()), torch.tensor([[43.0, -2.0, 20.0]])
    towards = torch.tensor([[-10.0, 0.0, 0.0]])
    shift = sim.trace(position, ue_velocity=towards).mean_doppler()
    assert float(shift) == pytest.approx(10.0 * 3.5e9 / SPEED_OF_LIGHT, rel=1e-5)


def test_doppler_of_a_moving_mast() -> None:
    sim, position = empty(mast()), torch.tensor([[43.0, -2.0, 20.0]])
    shift = sim.trace(position, cell_velocity=torch.tensor([[10.0, 3.0, 0.0]])).mean_doppler()
    assert float(shift) == pytest.approx(10.0 * 3.5e9 / SPEED_OF_LIGHT, rel=1e-5)


def test_doppler_of_a_moving_mirror() -> None:
    """−dL / dt / λ of the reflected path's length L, and its derivative by the velocity."""
    slab = {"relative_permittivity": 5.0, "conductivity": 0.1, "thickness": 0.1}
    sim = mirror(mast((-30.0, 5.0, 12.0)), slab)
    (name,) = sim.scene.objects
    velocity = torch.tensor([4.0, -7.0, 3.0], requires_grad=True)
    paths = sim.trace(torch.tensor([[20.0, -10.0, 4.0]]), **{f"object/{name}/velocity": velocity})
    assert paths.bounces.tolist() == [0, 1]
    length = math.hypot(50.0, 15.0, 16.0)
    closed_form = 2 * 16.0 / length * 3.5e9 / SPEED_OF_LIGHT  # for each m/s along the normal
    assert paths.doppler.tolist() == pytest.approx([0.0, 3.0 * closed_form], rel=1e-5, abs=1e-6)
    paths.doppler.sum().backward()
    assert velocity.grad is not None
    assert velocity.grad.tolist() == pytest.approx([0.0, 0.0, closed_form], rel=1e-5, abs=1e-4)


def test_a_phone_with_a_dipole_hears_what_its_pattern_lets_in() -> None:
    """A short dipole has 1.5 sin² θ of its axis, which `ue_orientation` turns; an upright wave has no other part."""
    phone = torch.tensor([[43.0, -2.0, 20.0], [43.0, -2.0, -20.0]])
    sim, isotropic = (empty(mast(), ue_pattern=pattern, ue_polarization="V") for pattern in ("dipole", "iso"))
    upright = (sim.path_gain(phone) / isotropic.path_gain(phone))[:, 0]
    assert upright.tolist() == pytest.approx([1.5, 0.75], rel=1e-4)
    across = torch.tensor([[0.0, 0.0, torch.pi / 2]]).expand(2, 3)  # rolled about the line to the mast
    assert float(sim.trace(phone[:1], ue_orientation=across[:1]).gain()) < 1e-6 * float(sim.path_gain(phone[:1]))
    turned = torch.tensor([[0.0, 0.5, 0.0]], requires_grad=True)
    gain = sim.trace(phone[:1], ue_orientation=turned).gain()
    assert float((gain / isotropic.path_gain(phone[:1])).detach()) == pytest.approx(1.5 * math.cos(0.5) ** 2, rel=1e-4)
    (slope,) = torch.autograd.grad(gain.log().sum(), turned)
    assert float(slope[0, 1]) == pytest.approx(-2 * math.tan(0.5), rel=1e-3)
    with pytest.raises(UelError, match="ue_pattern dipole"):
        sim.radio_map(Grid(size=64.0, pixel=8.0))


def test_a_beam_has_the_gain_of_its_weights() -> None:
    """Conjugate weights send the power of all four antennas to the phone; a row of them has a null 30° off there."""
    sim = empty(sector((0.0, 0.0, 20.0), Array(rows=1, columns=4), azimuth_deg=90.0))
    phones = torch.tensor([[40.0, 30.0, 20.0], [60.0, 0.0, 20.0]])
    direction = torch.nn.functional.normalize(phones - torch.tensor([0.0, 0.0, 20.0]), dim=-1)
    offset = sim.radio_scene.antenna_offsets(sim.radio_scene.endpoints_of(phones, {}))[0]
    phase = 2 * torch.pi / sim.radio_scene.wavelength * (offset @ direction[0])
    weights = (torch.polar(torch.ones(4), -phase) / 2)[None].requires_grad_()
    gain = sim.trace(phones, beam_weights=weights).gain()[:, 0]
    line = friis(phones.double().sub(torch.tensor([0.0, 0.0, 20.0])).norm(dim=-1))
    above_one_antenna = (gain.detach() / line).tolist()
    assert above_one_antenna[0] == pytest.approx(4.0, rel=1e-4)
    steps = torch.arange(4) * torch.pi * (0.6 - 0.0)  # half a wave apart, sin of the angle from the boresight
    assert above_one_antenna[1] == pytest.approx(
        float(torch.polar(torch.ones(4), steps).sum().abs() ** 2) / 4, rel=1e-3
    )
    broad = sim.trace(phones, beam_weights=torch.full((1, 4), 0.5 + 0j)).gain()
    torch.testing.assert_close(broad, sim.path_gain(phones))
    (gradient,) = torch.autograd.grad(gain[1], weights)
    shift = 1e-2 * torch.tensor([[1j, 0, 0, 0]])
    ahead, behind = (sim.trace(phones, beam_weights=weights.detach() + sign * shift).gain()[1, 0] for sign in (1, -1))
    assert float(gradient[0, 0].imag) == pytest.approx(float(ahead - behind) / 2e-2, rel=1e-3)


def test_rotation_turns_the_boresight() -> None:
    quarter = rotation(torch.tensor([[torch.pi / 2, 0.0, 0.0], [0.0, torch.pi / 2, 0.0]]))
    turned = quarter @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]), atol=1e-6, rtol=0)


def test_paths_in_order_of_their_power() -> None:
    link = two_paths(power=torch.tensor([1.0, 3.0]))
    assert link.strongest_rows(3).tolist() == [[[1, 0, -1], [-1, -1, -1]]]
    assert link.count().tolist() == [[2, 0]]
    assert link.values_at(link.delay, link.strongest_rows(3))[0, 0].tolist() == pytest.approx([2e-6, 1e-6, 0.0])
    assert link.bounces.tolist() == [0, 2]


def test_a_part_is_what_was_put_together() -> None:
    both = PathSet.cat([two_paths(), two_paths(power=torch.tensor([5.0, 2.0]))])
    part = both.of_receivers(1, 1)
    assert (part.receivers, part.gain().tolist()) == (1, [[7.0, 0.0]])


def test_kinds_of_interactions_in_a_street() -> None:
    """Stock Sionna's kinds: a count of each on every path, as often as it has them."""
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), samples=3000, max_depth=2)
    ours = sim.trace(STREET_POSITIONS[:1])
    sim.scene.add(rt.Receiver("rx", position=mi.Point3f(*STREET_POSITIONS[0].tolist())))
    stock = rt.PathSolver(deterministic=True)(sim.scene, max_depth=2, samples_per_src=3000, seed=1)
    kind = torch.from_numpy(stock.interactions.numpy().astype(int))[:, 0, 0]
    valid = torch.from_numpy(stock.valid.numpy())[0, 0]
    theirs = {tuple((kind[:, path] == which).sum().item() for which in (1, 4, 8, 2)) for path in valid.nonzero()[:, 0]}
    assert {tuple(row) for row in ours.interactions.tolist()} == theirs
    assert len(theirs) > 2


@pytest.mark.parametrize("polarization", ["V", "VH"])
def test_amplitudes_make_the_power(polarization: str) -> None:
    """One antenna position: the sum of the patterns' fields, at both polarisations, sharing the power of one."""
    sim = empty(sector((3.0, -2.0, 20.0), Array(polarization=polarization)))
    found = sim.trace(torch.tensor([[43.0, 20.0, 1.5]]))
    power = found.amplitude.sum(-1).abs().square().sum(-1) / found.amplitude.shape[-1]
    torch.testing.assert_close(power, found.power)
