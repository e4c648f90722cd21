"""Whatever is asked, the bridge answers as the closed form or refuses: no zero and no NaN that looks like an answer."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim_bridge.simulator import Sionna
from tests.helpers.emulated_device import EMULATED, EmulatedTensor, emulated_device
from tests.helpers.ray_traced_scenes import STREET_POSITIONS, empty, mast, street_canyon
from uel.errors import UelError
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site

SITES = mast() + mast((-50.0, 60.0, 15.0))
SIZE = 2e4  # m, of empty space
COORDINATES = st.one_of(
    st.floats(-200.0, 200.0, width=32), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e6, 0.0])
)
POINTS = st.integers(2, 3).flatmap(
    lambda dim: st.lists(st.lists(COORDINATES, min_size=dim, max_size=dim), min_size=1, max_size=4)
)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@cache
def simulators() -> tuple[Sionna, FreeSpace]:
    return empty(SITES), FreeSpace(SITES, size=SIZE)


@QUICK
@given(POINTS, st.sampled_from([torch.float16, torch.float32, torch.float64]), st.booleans(), st.booleans())
def test_a_position_has_its_gain_and_gradient_or_is_refused(points, dtype, elsewhere, threaded):
    traced, exact = simulators()
    position = torch.tensor(points, dtype=dtype)
    sensible = bool(position.isfinite().all() and (position[:, :2].abs() <= SIZE / 2).all())

    def ask() -> tuple[torch.Tensor, torch.Tensor]:
        with emulated_device() if elsewhere else nullcontext():
            asked = (position.to(EMULATED) if elsewhere else position).requires_grad_()
            gain = traced.path_gain(asked)
            (gradient,) = torch.autograd.grad(gain.log().sum(), asked)
        return tuple(v.detach().held if isinstance(v, EmulatedTensor) else v.detach() for v in (gain, gradient))

    if not sensible:
        with pytest.raises(UelError, match="not finite or off the tile"):
            ask()
        return
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(), range(2))) if threaded and not elsewhere else [ask()]
    for gain, gradient in answers:
        torch.testing.assert_close(gain, exact.path_gain(position.detach().float()), rtol=2e-4, atol=0)
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


@QUICK
@given(st.sampled_from(["azimuth_deg", "height", "velocity", "site", "permittivity", "scattering"]), st.booleans())
def test_a_value_that_nothing_has_is_refused(name, infinite):
    wrong, sim = float("inf") if infinite else float("nan"), canyon()
    material = next(n for n in sim.parameters if n.endswith("relative_permittivity")).rsplit("/", 1)[0]
    attempts = {
        "azimuth_deg": lambda: Cell(azimuth_deg=wrong),
        "site": lambda: Site(position=(0.0, wrong, 10.0)),
        "height": lambda: sim.trace(STREET_POSITIONS, cell_height=torch.tensor([wrong])),
        "velocity": lambda: sim.trace(STREET_POSITIONS, ue_velocity=torch.full((4, 3), wrong)),
        "permittivity": lambda: sim.trace(
            STREET_POSITIONS, **{f"{material}/relative_permittivity": torch.tensor(0.5 if infinite else wrong)}
        ),
        "scattering": lambda: sim.trace(
            STREET_POSITIONS, **{f"{material}/scattering_coefficient": torch.tensor(1.5 if infinite else -0.1)}
        ),
    }
    with pytest.raises(UelError):
        attempts[name]()


@cache
def canyon() -> Sionna:
    return street_canyon(max_depth=1)
