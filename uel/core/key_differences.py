"""Why a result is made again: what differs between the key that it was made from and the key that is asked for."""

import json
from collections.abc import Iterable
from typing import Any

SHOWN_DIFFERENCES = 5
SHOWN_CHARACTERS = 40  # of a value


def key_differences(old: Any, new: Any) -> dict[str, tuple[str, str]]:
    """Entries that differ between two keys, as text: dotted name to (old, new); an absent entry is "nothing".

    Keys are compared as the JSON that they are stored as.

    Example:
        >>> key_differences({"tracing": {"map_rays": 1000, "depth": 3}}, {"tracing": {"map_rays": 2000, "depth": 3}})
        {'tracing.map_rays': ('1000', '2000')}
        >>> key_differences({"pixel": 4.0}, {"pixel": 4.0, "seed": 1})
        {'seed': ('nothing', '1')}
    """
    before, after = _flatten(_as_stored(old)), _flatten(_as_stored(new))
    return {
        name: (before.get(name, "nothing"), after.get(name, "nothing"))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    }


def difference_text(differences: dict[str, tuple[str, str]]) -> str:
    """Differences on one line, `SHOWN_DIFFERENCES` at most.

    Example:
        >>> difference_text({"tracing.map_rays": ("1000", "2000")})
        'tracing.map_rays 1000 → 2000'
    """
    shown = [f"{name} {_shorten(old)} → {_shorten(new)}".lstrip() for name, (old, new) in differences.items()]
    more = [f"and {len(shown) - SHOWN_DIFFERENCES} more"] if len(shown) > SHOWN_DIFFERENCES else []
    return ", ".join([*shown[:SHOWN_DIFFERENCES], *more])


def least_differences(old_keys: Iterable[Any], new: Any) -> dict[str, tuple[str, str]]:
    """Differences from the old key that differs in the fewest entries; empty where there is no old key."""
    return min((key_differences(old, new) for old in old_keys), key=len, default={})


def _as_stored(key: Any) -> Any:
    return json.loads(json.dumps(key, default=str))


def _flatten(value: Any, name: str = "") -> dict[str, str]:
    """Leaves of nested dictionaries and lists by dotted name."""
    if isinstance(value, dict | list) and value:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            leaf: text
            for key, part in entries
            for leaf, text in _flatten(part, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: json.dumps(value, ensure_ascii=False)}


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
