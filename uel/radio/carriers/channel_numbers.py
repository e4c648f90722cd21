"""Channel numbers ↔ downlink frequencies: EARFCN (LTE, NB-IoT), NR-ARFCN, ARFCN (GSM). No framework is imported."""

from uel.errors import UelError
from uel.radio.carriers.bands import (
    GSM_BANDS,
    GSM_RASTER_MHZ,
    LTE_BANDS,
    LTE_RASTER_MHZ,
    LTE_UPLINK_NUMBERS,
    NR_BANDS,
    NR_RASTER,
    Technology,
)

NUMBER_NAMES: dict[Technology, str] = {"nr": "NR-ARFCN", "lte": "EARFCN", "nb_iot": "EARFCN", "gsm": "ARFCN"}


def downlink_frequency(number: int, technology: Technology, band: int | None = None) -> float:
    """Centre frequency in Hz of a downlink channel number.

    LTE and NB-IoT: F_DL = F_DL_low + 0.1 (N_DL - N_Offs-DL) MHz (TS 36.101, clause 5.7.3). NR: F_REF = F_REF-Offs +
    ΔF_Global (N_REF - N_REF-Offs) (TS 38.104, clause 5.4.2.1). GSM: TS 45.005, clause 2.

    Args:
        number: EARFCN, NR-ARFCN or ARFCN.
        technology: whose numbers are meant.
        band: 1800 or 1900 for GSM's numbers 512 to 810, which both bands have; not needed otherwise.

    Raises:
        UelError: for a number that no band of the technology has, an uplink number, and a GSM number of two bands.

    Example:
        >>> from uel.radio.carriers.channel_numbers import downlink_frequency
        >>> downlink_frequency(1300, "lte"), downlink_frequency(632628, "nr"), downlink_frequency(62, "gsm")
        (1815000000.0, 3489420000.0, 947400000.0)
    """
    mhz = {"nr": _nr_mhz, "lte": _lte_mhz, "nb_iot": _lte_mhz}.get(technology, lambda n: _gsm_mhz(n, band))(number)
    if mhz is None:
        uplink = technology in ("lte", "nb_iot") and any(low <= number <= high for low, high in LTE_UPLINK_NUMBERS)
        raise UelError(
            f"no downlink channel of {technology} has this {NUMBER_NAMES[technology]}",
            got=f"{number}, which is an uplink number" if uplink else number,
            do="give the downlink's number, or the frequency and no number",
        )
    return round(mhz * 1e6, 0)


def channel_numbers(frequency: float, technology: Technology) -> dict[int, int]:
    """The channel number of a downlink frequency in Hz in each band that has it: {band: number}.

    Bands overlap: one frequency has several EARFCN, and one NR-ARFCN belongs to several bands. Empty where no band has
    it, or where the frequency does not lie on the band's raster (within 1 kHz).

    Example:
        >>> from uel.radio.carriers.channel_numbers import channel_numbers
        >>> channel_numbers(2120e6, "lte")
        {1: 100, 4: 2050, 10: 4250, 65: 65636, 66: 66536}
        >>> channel_numbers(3489.42e6, "nr")
        {77: 632628, 78: 632628}
    """
    mhz = frequency / 1e6
    if technology == "nr":
        number = _nr_number(mhz)
        return {} if number is None else {band: number for band, (low, high) in NR_BANDS.items() if low <= mhz <= high}
    if technology == "gsm":
        parts = [(band, part) for band, ranges in GSM_BANDS.items() for part in ranges]
        step = GSM_RASTER_MHZ
    else:
        parts, step = list(LTE_BANDS.items()), LTE_RASTER_MHZ
    numbers = [(band, _number_on_raster(mhz, part.low_mhz, step, part.first, part.last)) for band, part in parts]
    return {band: number for band, number in numbers if number is not None}


def channel_number(frequency: float, technology: Technology, band: int | None = None) -> int:
    """The channel number of a downlink frequency in Hz: in `band`, or in the lowest band that has the frequency.

    Raises:
        UelError: for a frequency that no band (or not this one) has on its raster.

    Example:
        >>> from uel.radio.carriers.channel_numbers import channel_number
        >>> channel_number(1815e6, "lte"), channel_number(2120e6, "lte", band=66)
        (1300, 66536)
    """
    numbers = channel_numbers(frequency, technology)
    chosen = band if band is not None else min(numbers, default=None)
    if chosen is None or chosen not in numbers:
        raise UelError(
            f"no {NUMBER_NAMES[technology]} has this frequency" + (f" in band {band}" if band is not None else ""),
            got=f"{frequency / 1e6:g} MHz",
            do="give a downlink frequency on the raster of one of 3GPP's bands",
        )
    return numbers[chosen]


def band_of(number: int, technology: Technology) -> int | None:
    """The band of a channel number; None where none has it. For NR and GSM the lowest of several."""
    if technology in ("lte", "nb_iot"):
        return next((band for band, part in LTE_BANDS.items() if part.first <= number <= part.last), None)
    if technology == "nr":
        mhz = _nr_mhz(number)
        return next((b for b, (low, high) in NR_BANDS.items() if mhz is not None and low <= mhz <= high), None)
    return next((b for b, parts in GSM_BANDS.items() if any(p.first <= number <= p.last for p in parts)), None)


def _lte_mhz(number: int) -> float | None:
    part = next((part for part in LTE_BANDS.values() if part.first <= number <= part.last), None)
    return None if part is None else part.low_mhz + LTE_RASTER_MHZ * (number - part.first)


def _nr_mhz(number: int) -> float | None:
    part = next((part for part in NR_RASTER if part.first <= number <= part.last), None)
    return None if part is None else part.offset_mhz + part.step_mhz * (number - part.first)


def _gsm_mhz(number: int, band: int | None) -> float | None:
    parts = {
        name: part.low_mhz + GSM_RASTER_MHZ * (number - part.first)
        for name, ranges in GSM_BANDS.items()
        for part in ranges
        if part.first <= number <= part.last and band in (None, name)
    }
    if len(parts) > 1:
        raise UelError(
            "this ARFCN belongs to two bands of GSM",
            got=f"{number}: {' and '.join(f'{name} ({mhz:g} MHz)' for name, mhz in parts.items())}",
            do="name the band (1800 or 1900), or give the frequency",
        )
    return next(iter(parts.values()), None)


def _nr_number(mhz: float) -> int | None:
    for part in NR_RASTER:
        number = _number_on_raster(mhz, part.offset_mhz, part.step_mhz, part.first, part.last)
        if number is not None:
            return number
    return None


def _number_on_raster(mhz: float, low: float, step: float, first: int, last: int) -> int | None:
    steps = round((mhz - low) / step)
    on_raster = abs(low + steps * step - mhz) <= 1e-3
    return first + steps if on_raster and 0 <= steps <= last - first else None
