"""Feature tiers: what a phone reports beside levels. No framework is imported here."""

from typing import Literal, get_args

from uel.errors import UelError

FEATURE_MASKS = {
    "timing_advance": "has_timing_advance",
    "azimuth_deg": "has_azimuth",
    "toa": "has_toa",
    "aoa_deg": "has_aoa",
}


Tier = Literal["rsrp", "rsrp_ta", "rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa"]
"""rsrp levels, rsrp_ta and timing advance, rsrp_ta_azimuth and azimuth, rsrp_toa and times of arrival of all
reported cells, rsrp_toa_aoa and angles."""

TIERS = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
"""Tiers that the demo is trained for and judged by."""


def features_of(tier: str) -> tuple[str, ...]:
    """What a tier reports beside levels. Raises `UelError` for an unknown one."""
    tiers = get_args(Tier)
    if tier not in tiers:
        raise UelError("no such feature tier", got=tier, do=f"choose one of {', '.join(tiers)}")
    return tuple(FEATURE_MASKS)[: tiers.index(tier)]


TruthSource = Literal["map", "paths"]
