"""The figures of ITU-R P.833-10, Table 1 and equation 2."""

import pytest

from uel.radio.vegetation_attenuation import max_attenuation, specific_attenuation


@pytest.mark.parametrize(
    ("frequency", "gamma", "most"),
    [
        (105.9e6, 0.04, 9.4),
        (466.475e6, 0.12, 18.0),
        (949e6, 0.17, 26.5),
        (1852.2e6, 0.30, 29.0),
        (2117.5e6, 0.34, 34.1),
    ],
)
def test_the_attenuations_are_those_of_table_1(frequency, gamma, most):
    assert specific_attenuation(frequency) == pytest.approx(gamma, rel=1e-9)
    assert max_attenuation(frequency) == pytest.approx(most, rel=0.12)  # equation 2 is a line through measured values


def test_between_its_values_the_table_is_interpolated_in_logarithms():
    assert specific_attenuation(1.3e9) == pytest.approx(0.2221, rel=1e-3)
    assert specific_attenuation(30e9) == pytest.approx(6.0)
    rising = [specific_attenuation(frequency) for frequency in (50e6, 105.9e6, 700e6, 3.5e9, 28e9, 60e9)]
    assert rising == sorted(rising)
