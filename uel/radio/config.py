"""A carrier, and when a phone changes its serving cell; no framework is imported here."""

from dataclasses import dataclass
from typing import Literal

from uel.errors import UelError


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
        if not (self.hysteresis_db >= 0 and self.time_to_trigger >= 0):
            got = f"hysteresis_db {self.hysteresis_db}, time_to_trigger {self.time_to_trigger}"
            raise UelError("hysteresis_db and time_to_trigger must not be negative", got=got, do="give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """One 5G NR carrier (TS 38.104).

    Raises:
        UelError: for a frequency outside 0.1 to 1000 GHz or an unknown subcarrier spacing.

    Example:
        >>> import uel
        >>> uel.Carrier(frequency=28e9, bandwidth=100e6, subcarrier_spacing=120e3).resource_elements
        816
    """

    frequency: float = 3.5e9
    """centre frequency in Hz"""
    bandwidth: float = 100e6
    """channel bandwidth in Hz"""
    subcarrier_spacing: float = 30e3
    """subcarrier spacing in Hz: 15, 30, 60 or 120 kHz"""

    def __post_init__(self) -> None:
        if not 1e8 <= self.frequency <= 1e12:
            raise UelError(
                "carrier frequency out of range",
                got=f"{self.frequency:g} Hz",
                do="give 1e8 to 1e12 Hz, for example 3.5e9",
            )
        if self.subcarrier_spacing not in (15e3, 30e3, 60e3, 120e3):
            raise UelError(
                "unknown subcarrier spacing",
                got=f"{self.subcarrier_spacing:g} Hz",
                do="choose 15e3, 30e3, 60e3 or 120e3",
            )

    @property
    def resource_elements(self) -> int:
        """Subcarriers that share the transmit power: 98 % of the channel, whole resource blocks of twelve.

        273 blocks = 3276 subcarriers for 100 MHz at 30 kHz, as in TS 38.101-1, table 5.3.2-1.
        """
        return 12 * int(0.983 * self.bandwidth / (12 * self.subcarrier_spacing))


Pattern = Literal["iso", "dipole", "tr38901"]
