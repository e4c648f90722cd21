"""Schema of a survey's features: the one list of names, axes, units and sources."""

from dataclasses import dataclass
from typing import Literal

FeatureLayer = Literal["rt", "phy", "sys"]
FEATURE_LAYERS: tuple[FeatureLayer, ...] = (
    "rt",
    "phy",
    "sys",
)  # ray tracing, physical layer, system; each needs those before it


@dataclass(frozen=True)
class Feature:
    """One measured quantity. A value that is not known has mask False and value 0."""

    layer: FeatureLayer
    axes: tuple[str, ...]
    """after (track, report)"""
    unit: str
    """as in UDUNITS; 1 for numbers"""
    dtype: str
    """name that torch and numpy share"""
    description: str
    clause: str = ""
    """defining clause or publication"""
    mask: str = ""
    """name of the Boolean feature that is True where this one is known; its axes are the first of this one's"""
    history: bool = False
    """depends on earlier reports of the track"""


def _rt(
    unit: str, text: str, dtype: str = "float32", axes: tuple[str, ...] = ("cell",), mask: str = "known"
) -> Feature:
    return Feature("rt", axes, unit, dtype, text, mask=mask)


def _path(unit: str, text: str, dtype: str = "float32") -> Feature:
    return _rt(unit, f"{text} of the strongest paths", dtype, ("cell", "path"), "path_known")


def _phy(
    unit: str, text: str, clause: str, dtype: str = "float32", axes: tuple[str, ...] = ("cell",), mask: str = "known"
) -> Feature:
    return Feature("phy", axes, unit, dtype, text, clause, mask)


def _tap(unit: str, text: str) -> Feature:
    return _phy(unit, text, "", axes=("cell", "tap"), mask="tap_known")


def _sys(unit: str, text: str, clause: str, dtype: str = "float32") -> Feature:
    return Feature("sys", ("cell",), unit, dtype, text, clause, "known")


def _served(
    unit: str, text: str, clause: str, dtype: str = "float32", axes: tuple[str, ...] = (), mask: str = "serving_known"
) -> Feature:
    return Feature("sys", axes, unit, dtype, text, clause, mask, history=True)


_RT = {
    "position": _rt("m", "east and north of the tile's centre", axes=("xy",), mask=""),
    "known": _rt("1", "the link has a path", "bool", mask=""),
    "gain_db": _rt("dB", "path gain, summed over paths as powers"),
    "delay": _rt("s", "first arrival"),
    "azimuth_deg": _rt("degree", "compass azimuth of departure, strongest path"),
    "los": _rt("1", "the antenna is in sight", "bool", mask=""),
    "departure_elevation_deg": _rt("degree", "angle of departure above the horizon, strongest path"),
    "arrival_azimuth_deg": _rt("degree", "compass azimuth that the strongest path comes from"),
    "arrival_elevation_deg": _rt("degree", "angle above the horizon that the strongest path comes from"),
    "doppler": _rt("Hz", "Doppler shift of the strongest path"),
    "delay_spread": _rt("s", "RMS delay spread, weighted by power"),
    "path_count": _rt("1", "paths of the link", "int16", mask=""),
    "reflections": _rt("1", "reflections on the strongest path", "int16"),
    "refractions": _rt("1", "walls that the strongest path goes through", "int16"),
    "diffractions": _rt("1", "diffractions on the strongest path", "int16"),
    "path_known": _rt("1", "there are so many paths", "bool", ("cell", "path"), ""),
    "path_gain_db": _path("dB", "gain"),
    "path_delay": _path("s", "time of arrival"),
    "path_departure_azimuth_deg": _path("degree", "compass azimuth of departure"),
    "path_departure_elevation_deg": _path("degree", "elevation of departure"),
    "path_arrival_azimuth_deg": _path("degree", "compass azimuth of arrival"),
    "path_arrival_elevation_deg": _path("degree", "elevation of arrival"),
    "path_doppler": _path("Hz", "Doppler shift"),
    "path_interactions": _path("1", "number of interactions", "int16"),
}

_CSI = ("antenna", "port", "csi_tap", "part")

_PHY = {
    "tap_known": _phy("1", "the tap is within 40 dB of the strongest", "", "bool", ("cell", "tap"), ""),
    "tap_gain_db": _tap("dB", "gain of the strongest taps at the carrier's bandwidth"),
    "tap_delay": _tap("s", "delay of these taps after the first arrival"),
    "leakage_share": _phy("1", "share of the power beyond the cyclic prefix", "TS 38.211 5.3.1"),
    "snr_db": _phy("dB", "signal over noise at each of the phone's antennas", "", axes=("cell", "antenna")),
    "sinr_db": _phy("dB", "after LMMSE reception under the other cells, flat with the same rate", ""),
    "condition_db": _phy("dB", "greatest over least singular value of the channel, mean over frequency", ""),
    "rank_indicator": _phy("1", "layers of the greatest rate with the best precoders", "TS 38.214 5.2.2", "int16"),
    "cqi": _phy("1", "channel quality indicator, given that rank", "TS 38.214 5.2.2.1, table 5.2.2.1-2", "int16"),
    "rssi_dbm": _phy("dBm", "power received over the carrier, both antennas", "TS 38.215 5.1.3", axes=(), mask=""),
    "csi": Feature(
        "phy", _CSI, "1", "float32", "serving channel in angle and delay, cut to its first delays, energy 1 before",
        "Wen, Shih and Jin 2018, section II", "serving_known", history=True,
    ),
    "csi_energy": Feature(
        "phy", (), "1", "float32", "share of the energy that these delays keep", "", "serving_known", history=True,
    ),
    "serving": Feature(
        "phy", (), "1", "int16", "serving cell by event A3", "TS 38.331 5.5.4.4", "serving_known", history=True
    ),
    "serving_known": Feature("phy", (), "1", "bool", "a cell serves the phone", "", history=True),
}  # fmt: skip

_SYS = {
    "rsrp_dbm": _sys("dBm", "reference signal received power, both antennas", "TS 38.215 5.1.1"),
    "rsrq_db": _sys("dB", "reference signal received quality", "TS 38.215 5.1.3"),
    "ss_sinr_db": _sys("dB", "signal over noise and interference, before equalisation", "TS 38.215 5.1.5"),
    "timing_advance": _sys("1", "steps of 16·64·Tc/2^µ", "TS 38.213 4.2", "int16"),
    "handover": _served("1", "the serving cell has just taken over", "TS 38.331 5.5.4.4", "bool", mask=""),
    "link_failure": _served("1", "the cell before was lost", "", "bool", mask=""),
    "ping_pong": _served("1", "a handover back within a second", "TR 36.839", "bool", mask=""),
    "stable": _served("1", "same serving cell as at the report before", "", "bool", mask=""),
    "neighbour_known": _served("1", "there are so many neighbours", "", "bool", ("neighbour",), ""),
    "neighbour": _served("1", "strongest cells beside the serving one", "", "int16", ("neighbour",), "neighbour_known"),
    "effective_sinr_db": _served("dB", "effective SINR (EESM) of the scheme in use", "Brueninghaus et al. 2005"),
    "mcs": _served("1", "modulation and coding scheme in use", "TS 38.214 5.1.3, table 5.1.3.1-1", "int16"),
    "bler": _served("1", "error rate of transport blocks", ""),
    "throughput": _served("bit s-1", "delivered, alone in the cell, one layer", ""),
}  # fmt: skip

REPORT_FEATURES: dict[str, Feature] = {**_RT, **_PHY, **_SYS}

LINK_FEATURES = ("position", "gain_db", "known", "delay", "azimuth_deg", "los")
"""Features that every simulator answers: the fields of `uel.LinkTruth`."""

TRACK_FEATURES: dict[str, Feature] = {
    "time": Feature("rt", (), "s", "float32", "since the track's first report", mask="valid"),
    "valid": Feature("rt", (), "1", "bool", "the track goes on so long"),
    "velocity": Feature("rt", ("xyz",), "m s-1", "float32", "east, north and up", mask="valid"),
}
"""Features that every survey holds. Where a track is not `valid`, no feature is known."""
