"""What a level can be: ranges of reported quantities, values that stand for "not available", and reporting indices."""

import re

import numpy as np
import pandas as pd

from uel.measurement.logs.config import LevelUnit

RSRP_LIMITS_DBM = (-156.0, -31.0)  # SS-RSRP and LTE's extended range: TS 38.133, 10.1.6.1; TS 36.133, 9.1.4
LIMITS_BY_QUANTITY = {
    "rsrq": (-43.5, 20.0),  # dB: TS 38.133, table 10.1.11.1-1
    "sinr": (-40.0, 50.0),  # dB: -23 to 40 is reported (TS 38.133, table 10.1.16.1-1), chip sets say more
    "rssi": (-140.0, 10.0),  # dBm: TS 36.214, clause 5.1.3, -100 to -25 is reported
}
LEVEL_LIMITS_DBM = {
    "gsm": (-115.0, -10.0),  # RXLEV 0 to 63 is -110 to -48 dBm: TS 45.008, clause 8.1.4
    "umts": (-125.0, -20.0),  # CPICH RSCP: TS 25.133, clause 9.1.1.3
}
"""of technologies whose level is no RSRP"""
# Numbers that stand for "not available" in the levels of Android, modems and export programs.
SENTINEL_LEVELS = (
    2147483647, 2147483646, -2147483648, 9223372036854775807, 65535, 32767, -32768, -9999, -999, 999, 255, 0, -1,
)  # fmt: skip
INDEX_OFFSETS: dict[LevelUnit, tuple[float, int]] = {
    "nr_index": (-157.0, 127),  # TS 38.133, table 10.1.6.1-1: index n is n - 157 dBm and up to 1 dB more
    "lte_index": (-141.0, 97),  # TS 36.133, table 9.1.4-1: n - 141 dBm and up to 1 dB more
}
MAX_INDEX = 127
FREQUENCY_PATTERN = re.compile(r"(\d+)(?:[.,](\d+))?(?:e\+?(\d{1,2}))?\s*([gmk]?hz)?$", re.IGNORECASE)
FREQUENCY_UNITS = {"ghz": 1e9, "mhz": 1e6, "khz": 1e3, "hz": 1.0}
UNITS_BY_SIZE = ((100.0, 1e9), (1e5, 1e6), (1e8, 1e3))
FREQUENCY_LIMITS = (1e8, 1e12)  # Hz, as of `uel.radio.config.Carrier`
UNIT_PATTERN = r"\s*(?:dBm|dB|m|°)$"
NUMBER_PATTERN = rf"^[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?(?:{UNIT_PATTERN[:-1]})?$"


def to_numbers(texts: pd.Series) -> np.ndarray:
    """Numbers from texts with a decimal point or comma and perhaps a unit; NaN where there is none.

    `1.234,5` and `1,234.5` are no numbers here: which sign groups thousands is not known. Where some numbers of a
    column have points, those with commas are none, too.

    Example:
        >>> import pandas as pd
        >>> from uel.measurement.logs.rules.quantities import to_numbers
        >>> to_numbers(pd.Series(["-84,5", "-97 dBm", "loud", None])).tolist()
        [-84.5, -97.0, nan, nan]
    """
    texts = texts.astype("str")
    plain = texts.where(texts.str.match(NUMBER_PATTERN, na=False))
    if plain.str.contains(".", regex=False, na=False).any():
        plain = plain.where(~plain.str.contains(",", regex=False, na=False))
    digits = plain.str.replace(",", ".", regex=False).str.replace(UNIT_PATTERN, "", regex=True)
    return np.array(pd.to_numeric(digits, errors="coerce").to_numpy(dtype=float, na_value=np.nan))


def to_hertz(text: str) -> tuple[float, float] | None:
    """A carrier's frequency in Hz, and half a unit of the last digit in Hz; None for a text that is no frequency.

    Without a unit the size of the number tells it: GHz below 100, MHz below 100 000, kHz below 10⁸, then Hz.

    Example:
        >>> from uel.measurement.logs.rules.quantities import to_hertz
        >>> to_hertz("1815"), to_hertz("1.815 GHz"), to_hertz("-1")
        ((1815000000.0, 500000.0), (1815000000.0, 500000.0), None)
    """
    matched = FREQUENCY_PATTERN.match(text.strip())
    if matched is None:
        return None
    whole, decimals, exponent, unit = (part or "" for part in matched.groups())
    value, step = float(f"{whole}.{decimals or 0}e{exponent or 0}"), 10.0 ** (int(exponent or 0) - len(decimals))
    scale = FREQUENCY_UNITS[unit.lower()] if unit else next((s for limit, s in UNITS_BY_SIZE if value < limit), 1.0)
    hertz = round(value * scale, 3)
    return (hertz, scale * step / 2) if FREQUENCY_LIMITS[0] <= hertz <= FREQUENCY_LIMITS[1] else None


def level_limits(technology: str) -> tuple[float, float]:
    """The range of a level in dBm."""
    return LEVEL_LIMITS_DBM.get(technology, RSRP_LIMITS_DBM)


def range_in_words(technology: str) -> str:
    """The range of a level, for messages."""
    low, high = level_limits(technology)
    return f"{'RSRP' if technology not in LEVEL_LIMITS_DBM else 'its level'} is from {low:g} to {high:g} dBm"


def indices_to_dbm(values: np.ndarray, unit: LevelUnit) -> np.ndarray:
    """Levels in dBm of reporting indices; NaN for what is no index of the table.

    Index 0 says "below the range" and the last one "above it": both are no levels.
    """
    offset, last = INDEX_OFFSETS[unit]
    is_index = (values == np.round(values)) & (values > 0) & (values < last + (unit == "lte_index"))
    return np.where(is_index, values + offset, np.nan)
