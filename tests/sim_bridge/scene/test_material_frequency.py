"""Materials beyond the bands of ITU-R P.2040: an error, or its formula by choice."""

import pytest

import sim_bridge.simulator  # noqa: F401  (first: it finds a usable LLVM before Dr.Jit is imported)
from tests.helpers.blocks import ridges
from tests.helpers.ray_traced_scenes import mast
from uel.errors import UelError

LOW = mast((0.0, 0.0, 30.0), frequency=0.7e9)


def test_a_carrier_below_the_band_is_an_error_that_says_so() -> None:
    with pytest.raises(
        UelError, match=r"(?s)does not define concrete.*0\.7 GHz.*1-100 GHz.*--tracing.material-extrapolation"
    ):
        ridges([(10.0, 5.0)], LOW)


def test_by_choice_the_formula_goes_on_beyond_the_band() -> None:
    sim = ridges([(10.0, 5.0)], LOW, material_extrapolation=True)
    (material,) = sim.scene.radio_materials.values()
    assert float(material.relative_permittivity[0]) == pytest.approx(5.24)
    assert float(material.conductivity[0]) == pytest.approx(0.0462 * 0.7**0.7822, rel=1e-6)


def test_within_the_band_nothing_is_extrapolated() -> None:
    within, asked = (ridges([(10.0, 5.0)], mast(), material_extrapolation=choice) for choice in (False, True))
    values = [next(iter(sim.scene.radio_materials.values())).conductivity[0] for sim in (within, asked)]
    assert float(values[0]) == float(values[1]) == pytest.approx(0.0462 * 3.5**0.7822, rel=1e-6)
