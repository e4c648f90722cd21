"""Names of version 0.1 that are accepted for one release: codes, methods, options and fields of configurations.

Every place that reads what a user or an older file may say calls one of the functions below, and nothing else knows an
old name. What an old name was replaced by is logged once. To be deleted in version 0.3.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

CONDITION_NAMES = {
    "M0": "exact",
    "M1": "few_rays",
    "M2": "wrong_materials",
    "M3": "wrong_buildings",
    "M4": "wrong_sites",
    "M5": "no_radio_map",
}
TIER_NAMES = {"T0": "rsrp", "T1": "rsrp_ta", "T2": "rsrp_ta_azimuth", "T3": "rsrp_toa", "T3a": "rsrp_toa_aoa"}
METHOD_NAMES = {
    "grid_mended": "grid_bayes_corrected",
    "grid_retraced": "grid_bayes_retraced",
    "locator+map": "locator_refined",
    "locator+rt": "locator_ray_rescored",
    "locator+retraced": "locator_retraced",
    "cell_ta": "cell_id_ta",
    "strongest_cell": "cell_id",
    "tile_centre": "prior_median",
}
# Last part of an option's name, by verb where the same word means something else elsewhere.
FIELD_NAMES: dict[str, dict[str, str]] = {
    "place": {"rows": "array_rows"},
    "eval": {"retrace": "fit_mast_heights", "rivals": "compare", "streams": "input_ablation"},
    "locate": {
        "retrace": "fit_mast_heights",
        "labelled": "labelled_reports",
        "power": "likelihood_exponent",
        "rays": "tracing",
        "depth": "max_depth",
    },
    "train": {
        "mended": "corrected_maps",
        "mending": "map_adaptation",
        "restoring": "map_restorer",
        "labelled": "labelled_reports",
        "counts": "site_counts",
        "traced_share": "traced_fraction",
        "told": "known_to_locator",
        **CONDITION_NAMES,
    },
    "demo": {"traced_share": "traced_fraction"},
    "ablate": {"traced_share": "traced_fraction", "alone": "single_features"},
    "calibrate": {
        "pretend": "synthetic",
        "share": "pixel_fraction",
        "least_dbm": "min_level_dbm",
        "judged": "test_positions",
        "beliefs": "priors",
        "learned": "fit_fraction",
    },
    "export": {},
}
_CODES = {**CONDITION_NAMES, **TIER_NAMES}
_CODED_FIELDS = {
    "tier",
    "tiers",
    "axis_tiers",
    "map_tiers",
    "conditions",
    "track_maps",
    "map",
}  # their values are codes


def current_field(verb: str, name: str) -> str:
    """The name today of a configuration's field, as a YAML file or `--option` gives it (with `_` or `-`)."""
    plain = name.replace("-", "_")
    new = FIELD_NAMES.get(verb, {}).get(plain)
    return _replaced(plain, new) if new else name


def current_code(field: str, value: Any) -> Any:
    """The value today of a field that holds map conditions or tiers; any other value as it is."""
    if field.replace("-", "_") in _CODED_FIELDS and isinstance(value, str) and value in _CODES:
        return _replaced(value, _CODES[value])
    return value


def current_arguments(verb: str, arguments: Sequence[str]) -> list[str]:
    """A command line in the names of today."""
    result, field = [], ""
    for argument in arguments:
        if not argument.startswith("--"):
            result.append(current_code(field, argument))
            continue
        option, equals, value = argument.removeprefix("--").partition("=")
        parts = [current_field(verb, part) for part in option.split(".")]
        field = parts[-1]
        result.append(f"--{'.'.join(parts)}{equals}{current_code(field, value)}")
    return result


def current_fields(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that an older checkpoint stored, in the names of today."""
    names = {name: current_field(verb, name) for name in values}
    return {names[name]: current_code(names[name], value) for name, value in values.items()}


@cache
def _replaced(old: str, new: str) -> str:
    log.warning("%s is now called %s; the old name is accepted until version 0.3", old, new)
    return new
