"""Bands of LTE, NR and GSM by 3GPP's tables: downlink frequencies in MHz and channel numbers."""

from typing import Literal, NamedTuple

Technology = Literal["nr", "lte", "nb_iot", "gsm"]
TECHNOLOGIES: tuple[Technology, ...] = ("nr", "lte", "nb_iot", "gsm")


class NumberedBand(NamedTuple):
    """A band whose channels are numbered on its own: frequency = low + raster · (number - first)."""

    low_mhz: float
    """downlink frequency of the first number"""
    first: int
    last: int


# TS 36.101, table 5.7.3-1: F_DL_low, N_Offs-DL and the range of N_DL. The raster is 0.1 MHz.
LTE_BANDS = {
    1: NumberedBand(2110.0, 0, 599),
    2: NumberedBand(1930.0, 600, 1199),
    3: NumberedBand(1805.0, 1200, 1949),
    4: NumberedBand(2110.0, 1950, 2399),
    5: NumberedBand(869.0, 2400, 2649),
    6: NumberedBand(875.0, 2650, 2749),
    7: NumberedBand(2620.0, 2750, 3449),
    8: NumberedBand(925.0, 3450, 3799),
    9: NumberedBand(1844.9, 3800, 4149),
    10: NumberedBand(2110.0, 4150, 4749),
    11: NumberedBand(1475.9, 4750, 4949),
    12: NumberedBand(729.0, 5010, 5179),
    13: NumberedBand(746.0, 5180, 5279),
    14: NumberedBand(758.0, 5280, 5379),
    17: NumberedBand(734.0, 5730, 5849),
    18: NumberedBand(860.0, 5850, 5999),
    19: NumberedBand(875.0, 6000, 6149),
    20: NumberedBand(791.0, 6150, 6449),
    21: NumberedBand(1495.9, 6450, 6599),
    22: NumberedBand(3510.0, 6600, 7399),
    23: NumberedBand(2180.0, 7500, 7699),
    24: NumberedBand(1525.0, 7700, 8039),
    25: NumberedBand(1930.0, 8040, 8689),
    26: NumberedBand(859.0, 8690, 9039),
    27: NumberedBand(852.0, 9040, 9209),
    28: NumberedBand(758.0, 9210, 9659),
    29: NumberedBand(717.0, 9660, 9769),
    30: NumberedBand(2350.0, 9770, 9869),
    31: NumberedBand(462.5, 9870, 9919),
    32: NumberedBand(1452.0, 9920, 10359),
    33: NumberedBand(1900.0, 36000, 36199),
    34: NumberedBand(2010.0, 36200, 36349),
    35: NumberedBand(1850.0, 36350, 36949),
    36: NumberedBand(1930.0, 36950, 37549),
    37: NumberedBand(1910.0, 37550, 37749),
    38: NumberedBand(2570.0, 37750, 38249),
    39: NumberedBand(1880.0, 38250, 38649),
    40: NumberedBand(2300.0, 38650, 39649),
    41: NumberedBand(2496.0, 39650, 41589),
    42: NumberedBand(3400.0, 41590, 43589),
    43: NumberedBand(3600.0, 43590, 45589),
    44: NumberedBand(703.0, 45590, 46589),
    45: NumberedBand(1447.0, 46590, 46789),
    46: NumberedBand(5150.0, 46790, 54539),
    47: NumberedBand(5855.0, 54540, 55239),
    48: NumberedBand(3550.0, 55240, 56739),
    49: NumberedBand(3550.0, 56740, 58239),
    50: NumberedBand(1432.0, 58240, 59089),
    51: NumberedBand(1427.0, 59090, 59139),
    52: NumberedBand(3300.0, 59140, 60139),
    53: NumberedBand(2483.5, 60140, 60254),
    65: NumberedBand(2110.0, 65536, 66435),
    66: NumberedBand(2110.0, 66436, 67335),
    67: NumberedBand(738.0, 67336, 67535),
    68: NumberedBand(753.0, 67536, 67835),
    69: NumberedBand(2570.0, 67836, 68335),
    70: NumberedBand(1995.0, 68336, 68585),
    71: NumberedBand(617.0, 68586, 68935),
    72: NumberedBand(461.0, 68936, 68985),
    73: NumberedBand(460.0, 68986, 69035),
    74: NumberedBand(1475.0, 69036, 69465),
    75: NumberedBand(1432.0, 69466, 70315),
    76: NumberedBand(1427.0, 70316, 70365),
    85: NumberedBand(728.0, 70366, 70545),
    87: NumberedBand(420.0, 70546, 70595),
    88: NumberedBand(422.0, 70596, 70645),
}
LTE_RASTER_MHZ = 0.1
LTE_UPLINK_NUMBERS = ((18000, 35999), (131072, 134291))  # ranges of N_UL in the same table


class RasterRange(NamedTuple):
    """A range of NR's global frequency raster: frequency = offset + step · (number - first)."""

    step_mhz: float
    offset_mhz: float
    first: int
    last: int


# TS 38.104, table 5.4.2.1-1.
NR_RASTER = (
    RasterRange(0.005, 0.0, 0, 599_999),
    RasterRange(0.015, 3000.0, 600_000, 2_016_666),
    RasterRange(0.06, 24_250.08, 2_016_667, 3_279_165),
)

# Downlink of NR's bands in MHz: TS 38.104, tables 5.2-1 and 5.2-2. Two bands may hold one frequency.
NR_BANDS = {
    1: (2110.0, 2170.0), 2: (1930.0, 1990.0), 3: (1805.0, 1880.0), 5: (869.0, 894.0), 7: (2620.0, 2690.0),
    8: (925.0, 960.0), 12: (729.0, 746.0), 13: (746.0, 756.0), 14: (758.0, 768.0), 18: (860.0, 875.0),
    20: (791.0, 821.0), 24: (1525.0, 1559.0), 25: (1930.0, 1995.0), 26: (859.0, 894.0), 28: (758.0, 803.0),
    29: (717.0, 728.0), 30: (2350.0, 2360.0), 34: (2010.0, 2025.0), 38: (2570.0, 2620.0), 39: (1880.0, 1920.0),
    40: (2300.0, 2400.0), 41: (2496.0, 2690.0), 46: (5150.0, 5925.0), 48: (3550.0, 3700.0), 50: (1432.0, 1517.0),
    51: (1427.0, 1432.0), 53: (2483.5, 2495.0), 65: (2110.0, 2200.0), 66: (2110.0, 2200.0), 67: (738.0, 758.0),
    70: (1995.0, 2020.0), 71: (617.0, 652.0), 74: (1475.0, 1518.0), 75: (1432.0, 1517.0), 76: (1427.0, 1432.0),
    77: (3300.0, 4200.0), 78: (3300.0, 3800.0), 79: (4400.0, 5000.0), 85: (728.0, 746.0), 90: (2496.0, 2690.0),
    96: (5925.0, 7125.0), 100: (919.4, 925.0), 101: (1900.0, 1910.0), 102: (5925.0, 6425.0), 104: (6425.0, 7125.0),
    257: (26_500.0, 29_500.0), 258: (24_250.0, 27_500.0), 259: (39_500.0, 43_500.0), 260: (37_000.0, 40_000.0),
    261: (27_500.0, 28_350.0), 262: (47_200.0, 48_200.0), 263: (57_000.0, 71_000.0),
}  # fmt: skip

# TS 45.005, clause 2: downlink of GSM's bands by ARFCN; the raster is 0.2 MHz. DCS 1800 and PCS 1900 share numbers.
GSM_BANDS = {
    450: (NumberedBand(460.6, 259, 293),),
    480: (NumberedBand(489.0, 306, 340),),
    850: (NumberedBand(869.2, 128, 251),),
    900: (NumberedBand(935.0, 0, 124), NumberedBand(921.2, 955, 1023)),
    1800: (NumberedBand(1805.2, 512, 885),),
    1900: (NumberedBand(1930.2, 512, 810),),
}
GSM_RASTER_MHZ = 0.2


def band_limits(band: int, technology: Technology) -> tuple[float, float] | None:
    """Lowest and highest downlink frequency in Hz of a band; None for a number that no band of the technology has.

    Example:
        >>> from uel.radio.carriers.bands import band_limits
        >>> band_limits(3, "lte"), band_limits(78, "nr"), band_limits(78, "lte")
        ((1805000000.0, 1879900000.0), (3300000000.0, 3800000000.0), None)
    """
    if technology == "nr" and band in NR_BANDS:
        low, high = NR_BANDS[band]
        return low * 1e6, high * 1e6
    if technology in ("lte", "nb_iot") and band in LTE_BANDS:
        own = LTE_BANDS[band]
        return own.low_mhz * 1e6, round((own.low_mhz + LTE_RASTER_MHZ * (own.last - own.first)) * 1e6, 0)
    return None
