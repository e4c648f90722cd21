"""Resource blocks of a carrier by 3GPP's tables; no framework is imported here."""

from uel.errors import UelError
from uel.radio.carriers.bands import Technology

SUBCARRIERS_PER_BLOCK = 12  # TS 38.211, clause 4.4.4.1; TS 36.211, clause 6.2.3
FR2_START = 24.25e9  # Hz: frequency range 2 (TS 38.104, table 5.1-1)

BlocksByWidth = dict[int | float, int]  # resource blocks by channel bandwidth in MHz

LTE_BLOCKS: BlocksByWidth = {1.4: 6, 3: 15, 5: 25, 10: 50, 15: 75, 20: 100}  # TS 36.101, table 5.6-1
NB_IOT_BLOCKS: BlocksByWidth = {0.2: 1}  # TS 36.101, table 5.6F-1

# By subcarrier spacing in kHz, then channel bandwidth in MHz: TS 38.101-1, table 5.3.2-1.
FR1_BLOCKS: dict[int, BlocksByWidth] = {
    15: {3: 15, 5: 25, 10: 52, 15: 79, 20: 106, 25: 133, 30: 160, 35: 188, 40: 216, 45: 242, 50: 270},
    30: {5: 11, 10: 24, 15: 38, 20: 51, 25: 65, 30: 78, 35: 92, 40: 106, 45: 119, 50: 133, 60: 162, 70: 189, 80: 217,
         90: 245, 100: 273},
    60: {10: 11, 15: 18, 20: 24, 25: 31, 30: 38, 35: 44, 40: 51, 45: 58, 50: 65, 60: 79, 70: 93, 80: 107, 90: 121,
         100: 135},
}  # fmt: skip
# TS 38.101-2, table 5.3.2-1.
FR2_BLOCKS: dict[int, BlocksByWidth] = {
    60: {50: 66, 100: 132, 200: 264},
    120: {50: 32, 100: 66, 200: 132, 400: 264},
    480: {400: 66, 800: 124, 1600: 248},
    960: {400: 33, 800: 62, 1600: 124, 2000: 148},
}
NR_SPACINGS_KHZ = tuple(sorted({*FR1_BLOCKS, *FR2_BLOCKS}))


def resource_blocks(technology: Technology, frequency: float, bandwidth: float, spacing: float) -> int:
    """Resource blocks of a carrier: the transmission bandwidth configuration N_RB.

    LTE: TS 36.101, table 5.6-1. NB-IoT: one block. NR: TS 38.101-1 (frequency range 1) and TS 38.101-2 (range 2),
    tables 5.3.2-1. Where both of NR's tables have a pair of bandwidth and spacing (50 and 100 MHz at 60 kHz), the
    frequency decides; a pair that one of them has is taken from it at any frequency, so that carriers between and above
    3GPP's ranges can be simulated. GSM has no resource blocks: its one carrier counts as one element, see
    `Carrier.resource_elements`.

    Args:
        technology: of the carrier.
        frequency: centre frequency in Hz.
        bandwidth: channel bandwidth in Hz.
        spacing: subcarrier spacing in Hz.

    Raises:
        UelError: for a bandwidth that the technology does not have at this spacing.

    Example:
        >>> from uel.radio.carriers.resource_blocks import resource_blocks
        >>> resource_blocks("nr", 3.5e9, 100e6, 30e3), resource_blocks("lte", 1.8e9, 20e6, 15e3)
        (273, 100)
    """
    tables = {"lte": [LTE_BLOCKS], "nb_iot": [NB_IOT_BLOCKS]}.get(technology) or _nr_tables(frequency, spacing)
    mhz = round(bandwidth / 1e6, 6)
    for table in tables:
        if mhz in table:
            return table[mhz]
    widths = sorted({width for table in tables for width in table})
    name = {"lte": "LTE", "nb_iot": "NB-IoT", "nr": "NR"}[technology]
    raise UelError(
        f"{name} has no channel of this bandwidth at a subcarrier spacing of {spacing / 1e3:g} kHz",
        got=f"{bandwidth:g} Hz",
        do=f"give one of {', '.join(f'{width:g}' for width in widths)} MHz, in Hz: {widths[-1] * 1e6:g}",
    )


def _nr_tables(frequency: float, spacing: float) -> list[BlocksByWidth]:
    """Tables of bandwidths at a spacing, that of the frequency's range first."""
    ranges = (FR2_BLOCKS, FR1_BLOCKS) if frequency >= FR2_START else (FR1_BLOCKS, FR2_BLOCKS)
    return [table[round(spacing / 1e3)] for table in ranges if round(spacing / 1e3) in table]
