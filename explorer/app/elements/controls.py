"""Controls whose values are in the address (`address.py`); each key is used once on a page."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from explorer.app.elements import address
from uel.deprecated_names import current_code

Number = int | float


def select_option(
    label: str,
    key: str,
    names: Sequence[str],
    form: Callable[[str], str] = str,
    **more: Any,
) -> str:
    """Ask for one of `names`, the first unless another is chosen; codes of older versions are understood.

    `more` goes to Streamlit's element.
    """

    def read(text: str) -> str | None:
        name = current_code(key, text)
        return name if name in names else None

    if address.restore(key, names[0], read) not in names:
        st.session_state[key] = names[0]
    chosen = st.selectbox(label, list(names), key=key, format_func=form, **more)
    address.keep(key, chosen, names[0])
    return chosen


def segments(label: str, key: str, names: Sequence[str], **more: Any) -> str:
    """Ask for one of a few names side by side, the first unless another is chosen."""
    address.restore(key, names[0], lambda text: text if text in names else None)
    chosen = st.segmented_control(label, list(names), key=key, required=True, **more) or names[0]
    address.keep(key, chosen, names[0])
    return chosen


def select_many(label: str, key: str, names: Sequence[str], default: Sequence[str], **more: Any) -> list[str]:
    """Ask for any of `names`; the address holds them with commas."""

    def read(text: str) -> list[str] | None:
        chosen = [name for name in text.split(",") if name in names]
        return chosen or None

    kept = address.restore(key, list(default), read)
    if not set(kept) <= set(names):
        st.session_state[key] = [name for name in kept if name in names]
    chosen = st.multiselect(label, list(names), key=key, **more)
    address.keep(key, ",".join(chosen), ",".join(default))
    return chosen


def integer(label: str, key: str, low: int, high: int, default: int, **more: Any) -> int:
    """Ask for a whole number."""
    _restore_number(key, low, high, default, int)
    value = int(st.number_input(label, low, high, step=1, key=key, **more))
    address.keep(key, value, default)
    return value


def optional_number(label: str, key: str, low: Number, high: Number, step: Number, **more: Any) -> Number | None:
    """Ask for a number, or none; whole numbers where `step` is one."""
    _restore_number(key, low, high, None, type(step))
    value = st.number_input(label, low, high, value=None, step=step, key=key, **more)
    address.keep(key, value, None)
    return value


def slider(label: str, key: str, low: int, high: int, default: int, step: int = 1, **more: Any) -> int:
    """Ask for a whole number by a slider."""
    _restore_number(key, low, high, default, int)
    value = int(st.slider(label, low, high, step=step, key=key, **more))
    address.keep(key, value, default)
    return value


def toggle(label: str, key: str, default: bool, **more: Any) -> bool:
    """Ask for yes or no."""
    address.restore(key, default, {"true": True, "false": False}.get)
    value = st.toggle(label, key=key, **more)
    address.keep(key, value, default)
    return value


def _restore_number(key: str, low: Number, high: Number, default: Number | None, kind: type) -> None:
    def read(text: str) -> Number | None:
        try:
            value = kind(text)
        except ValueError:
            return None
        return value if low <= value <= high else None

    value = address.restore(key, default, read)
    if value is not None and not low <= value <= high:  # of a page with other limits
        st.session_state[key] = default
