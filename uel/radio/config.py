"""A carrier, and when a phone changes its serving cell; no framework is imported here."""

from dataclasses import dataclass, replace
from typing import Literal

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.carriers.bands import TECHNOLOGIES, Technology
from uel.radio.carriers.channel_numbers import NUMBER_NAMES, channel_numbers, downlink_frequency
from uel.radio.carriers.resource_blocks import (
    FR2_START,
    NR_SPACINGS_KHZ,
    SUBCARRIERS_PER_BLOCK,
    resource_blocks,
)


@dataclass(frozen=True, kw_only=True)
class EventA3:
    """When a neighbour takes over (TS 38.331, clause 5.5.4.4), without offsets of single cells or frequencies."""

    offset_db: float = 3.0
    """how much better the neighbour must be"""
    hysteresis_db: float = 1.0
    """additional margin to enter the event"""
    time_to_trigger: float = 0.32
    """s for which the condition must hold at every report; 0: handover at once"""

    def __post_init__(self) -> None:
        require_numbers(self, offset_db=(-100.0, 100.0))
        if not (self.hysteresis_db >= 0 and self.time_to_trigger >= 0):
            got = f"hysteresis_db {self.hysteresis_db}, time_to_trigger {self.time_to_trigger}"
            raise UelError("hysteresis_db and time_to_trigger must not be negative", got=got, do="give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """One carrier of 5G NR (TS 38.104), LTE (TS 36.104), NB-IoT or GSM.

    A carrier is given by its frequency, or by its channel number (`Carrier.from_channel_number`), which then stays
    with it.

    Raises:
        UelError: for a frequency outside 0.1 to 1000 GHz, a subcarrier spacing or a bandwidth that the technology does
            not have, and a channel number of another frequency.

    Example:
        >>> import uel
        >>> uel.Carrier(frequency=28e9, bandwidth=100e6, subcarrier_spacing=120e3).resource_elements
        792
        >>> carrier = uel.Carrier.from_channel_number(1300, "lte", bandwidth=20e6)
        >>> carrier.frequency, carrier.resource_blocks
        (1815000000.0, 100)
    """

    frequency: float = 3.5e9
    """centre frequency in Hz"""
    bandwidth: float = 100e6
    """channel bandwidth in Hz: one of 3GPP's for the technology and the spacing"""
    subcarrier_spacing: float = 30e3
    """subcarrier spacing in Hz: 15, 30, 60, 120, 480 or 960 kHz for NR, 15 kHz for LTE and NB-IoT"""
    technology: Technology = "nr"
    """nr, lte, nb_iot, or gsm (levels alone)"""
    channel_number: int | None = None
    """EARFCN, NR-ARFCN or ARFCN of the downlink, where it is known"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 1e8 <= self.frequency <= 1e12:
            raise UelError(
                "carrier frequency out of range",
                got=f"{self.frequency:g} Hz",
                do="give 1e8 to 1e12 Hz, for example 3.5e9",
            )
        if self.technology not in TECHNOLOGIES:
            raise UelError("unknown technology", got=repr(self.technology), do=f"choose {', '.join(TECHNOLOGIES)}")
        if self.technology == "nr" and round(self.subcarrier_spacing / 1e3, 6) not in NR_SPACINGS_KHZ:
            raise UelError(
                "unknown subcarrier spacing",
                got=f"{self.subcarrier_spacing:g} Hz",
                do=f"choose {', '.join(f'{spacing}e3' for spacing in NR_SPACINGS_KHZ)}",
            )
        if self.technology in ("lte", "nb_iot") and self.subcarrier_spacing != 15e3:
            got = f"{self.subcarrier_spacing:g} Hz"
            raise UelError(f"{self.technology} has a subcarrier spacing of 15 kHz", got=got, do="give 15e3")
        self.resource_elements  # noqa: B018  (raises for an unknown bandwidth)
        self._require_number()

    def _require_number(self) -> None:
        """Raise `UelError` for a channel number of another frequency."""
        if self.channel_number is None:
            return
        known = set(channel_numbers(self.frequency, self.technology).values())
        if self.channel_number not in known:
            raise UelError(
                f"the frequency does not belong to this {NUMBER_NAMES[self.technology]}",
                got=f"{self.channel_number} and {self.frequency / 1e6:g} MHz ({sorted(known) or 'on no raster'})",
                do="give one of the two: Carrier.from_channel_number(...), or frequency",
            )

    @staticmethod
    def from_channel_number(
        number: int,
        technology: Technology = "nr",
        *,
        bandwidth: float | None = None,
        subcarrier_spacing: float | None = None,
        band: int | None = None,
    ) -> "Carrier":
        """The carrier of a downlink channel number.

        Args:
            number: EARFCN (LTE, NB-IoT), NR-ARFCN or ARFCN (GSM).
            technology: whose numbers are meant.
            bandwidth: channel bandwidth in Hz; default: 20 MHz (LTE), 200 kHz (NB-IoT, GSM), for NR 20 MHz below
                3 GHz and 100 MHz above.
            subcarrier_spacing: in Hz; default: 15 kHz, for NR 15 kHz below 3 GHz, 30 kHz below 24.25 GHz, 120 kHz
                above.
            band: 1800 or 1900 for GSM's numbers 512 to 810.

        Raises:
            UelError: for a number that the technology does not have, and as `Carrier` does.
        """
        frequency = downlink_frequency(number, technology, band)
        width, spacing = default_channel(technology, frequency)
        return Carrier(
            frequency=frequency,
            bandwidth=width if bandwidth is None else bandwidth,
            subcarrier_spacing=spacing if subcarrier_spacing is None else subcarrier_spacing,
            technology=technology,
            channel_number=number,
        )

    def at_frequency(self, frequency: float) -> "Carrier":
        """The carrier moved to another frequency in Hz; its channel number goes, unless the frequency is the same."""
        if frequency == self.frequency:
            return self
        return replace(self, frequency=frequency, channel_number=None)

    @property
    def label(self) -> str:
        """Technology and frequency in words: `lte 1815 MHz (EARFCN 1300)`."""
        number = "" if self.channel_number is None else f" ({NUMBER_NAMES[self.technology]} {self.channel_number})"
        return f"{self.technology} {self.frequency / 1e6:g} MHz{number}"

    @property
    def resource_blocks(self) -> int:
        """Resource blocks of the channel by 3GPP's tables, see `uel.radio.carriers.resource_blocks`; 0 for GSM."""
        if self.technology == "gsm":
            return 0
        return resource_blocks(self.technology, self.frequency, self.bandwidth, self.subcarrier_spacing)

    @property
    def resource_elements(self) -> int:
        """Subcarriers that share the transmit power: twelve a resource block; 1 for GSM, whose level is the carrier's.

        273 blocks = 3276 subcarriers for 100 MHz at 30 kHz (TS 38.101-1, table 5.3.2-1).
        """
        return SUBCARRIERS_PER_BLOCK * self.resource_blocks or 1


def default_channel(technology: Technology, frequency: float) -> tuple[float, float]:
    """Usual bandwidth and subcarrier spacing in Hz of a technology at a frequency in Hz, where none are given."""
    if technology == "gsm":
        return 200e3, 15e3
    if technology in ("lte", "nb_iot"):
        return (20e6 if technology == "lte" else 200e3), 15e3
    if frequency < 3e9:
        return 20e6, 15e3
    return 100e6, (30e3 if frequency < FR2_START else 120e3)


Pattern = Literal["iso", "dipole", "tr38901", "tr36814", "measured"]
PowerKind = Literal["total", "eirp", "reference"]
"""what a power is of: the whole carrier at the antenna; the same in the direction of the greatest gain; one resource
element (LTE referenceSignalPower, NR ss-PBCH-BlockPower)"""
