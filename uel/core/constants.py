"""Physical constants, and numbers of 5G NR that follow from them; no framework is imported here."""

import math

SPEED_OF_LIGHT = 299_792_458.0  # m/s, exact by definition of the metre
BOLTZMANN = 1.380649e-23  # J/K, exact by definition of the kelvin
ROOM_TEMPERATURE = 293.0  # K
MIN_DETECTION_SNR_DB = -6.0  # SNR per resource element of the weakest cell that a phone must detect: TS 38.133, B.2.2
NR_TIME_UNIT = 1.0 / (480e3 * 4096)  # s: Tc of TS 38.211, clause 4.1


def timing_advance_step(subcarrier_spacing: float) -> float:
    """One-way distance in metres of one timing-advance step, 16·64·Tc/2^µ (TS 38.213, clause 4.2).

    The advance compensates the round trip, so a step of time is half of it in distance: 39.0 m at 30 kHz.
    """
    numerology = math.log2(subcarrier_spacing / 15e3)
    return 16 * 64 * NR_TIME_UNIT / 2**numerology * SPEED_OF_LIGHT / 2


def noise_dbm(subcarrier_spacing: float, noise_figure_db: float = 7.0) -> float:
    """Thermal noise in dBm on one resource element at 293 K: k·T·Δf·F, -122.2 dBm at 30 kHz and 7 dB."""
    watt = BOLTZMANN * ROOM_TEMPERATURE * subcarrier_spacing
    return 10.0 * math.log10(watt * 1e3) + noise_figure_db
