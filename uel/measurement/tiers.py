"""Feature tiers: the features that a phone reports beside RSRP; no framework is imported here."""

from typing import Literal, get_args

from uel.errors import UelError

FEATURE_MASKS = {
    "timing_advance": "has_timing_advance",
    "azimuth_deg": "has_azimuth",
    "toa": "has_toa",
    "aoa_deg": "has_aoa",
}


Tier = Literal["rsrp", "rsrp_ta", "rsrp_ta_azimuth", "rsrp_toa", "rsrp_toa_aoa"]
"""Each tier adds to the one before: rsrp RSRP, rsrp_ta the timing advance, rsrp_ta_azimuth the azimuth, rsrp_toa the
times of arrival of all reported cells, rsrp_toa_aoa their angles."""

TIERS = ("rsrp", "rsrp_ta", "rsrp_ta_azimuth")
"""Tiers that the demo is trained for and evaluated on."""


def features_of(tier: str) -> tuple[str, ...]:
    """Features that a tier has beside RSRP. Raises `UelError` for an unknown tier."""
    tiers = get_args(Tier)
    if tier not in tiers:
        raise UelError("no such feature tier", got=tier, do=f"choose one of {', '.join(tiers)}")
    return tuple(FEATURE_MASKS)[: tiers.index(tier)]


TruthSource = Literal["map", "paths"]
