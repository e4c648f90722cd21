"""Attenuation by vegetation: ITU-R P.833-10, section 2.1.

Equation 1: a way of d metres through vegetation loses A = A_m (1 − exp(−γ d / A_m)) dB. The specific attenuation γ is
that of short ways (and of a single tree, section 3.1: A = γ d); A_m stands for what goes around and above the trees on
long ones. γ is Table 1's, and that of Figure 2 at 30 GHz, interpolated in logarithms of both; A_m is equation 2 with
the figures of the same forest (mixed, near St. Petersburg, 16 m high). γ is uncertain by a factor of two between
species and seasons. The figures are those that public programs quote of the Recommendation; its own text was not at
hand (docs/log/bridge.md).
"""

import math

# (Hz, dB/m): Table 1, and the end of Figure 2.
SPECIFIC_ATTENUATIONS = (
    (105.9e6, 0.04),
    (466.475e6, 0.12),
    (949e6, 0.17),
    (1852.2e6, 0.30),
    (2117.5e6, 0.34),
    (30e9, 6.0),
)
MAX_ATTENUATION_FACTOR, MAX_ATTENUATION_EXPONENT = 1.37, 0.42  # A_1 (dB) and α of equation 2, for MHz


def specific_attenuation(frequency: float) -> float:
    """γ in dB/m at a frequency in Hz; beyond the table along its first or its last two values.

    Example:
        >>> from uel.radio.vegetation_attenuation import specific_attenuation
        >>> round(specific_attenuation(949e6), 3), round(specific_attenuation(3.5e9), 2)
        (0.17, 0.59)
    """
    first = sum(known < frequency for known, _ in SPECIFIC_ATTENUATIONS[1:-1])
    (low, at_low), (high, at_high) = SPECIFIC_ATTENUATIONS[first : first + 2]
    return at_low * (frequency / low) ** (math.log(at_high / at_low) / math.log(high / low))


def max_attenuation(frequency: float) -> float:
    """A_m in dB at a frequency in Hz.

    Example:
        >>> from uel.radio.vegetation_attenuation import max_attenuation
        >>> round(max_attenuation(2117.5e6), 1)  # Table 1: 34.1
        34.2
    """
    return MAX_ATTENUATION_FACTOR * (frequency / 1e6) ** MAX_ATTENUATION_EXPONENT
