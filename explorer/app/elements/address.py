"""The address of a page: what the visitor chose, in links, over pages, and with the browser's Back.

Every control of a page has a key in the address. A control shows what a followed link says, else what it showed when
the page was left. What the address names and the page lacks is told above the page.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlencode

import streamlit as st

from explorer.app.plain_text import plain
from uel.errors import UelError

T = TypeVar("T")
STATE_KEY = "address"
SHARED_KEYS = ("place", "run")  # of all pages


@dataclass
class Address:
    """The address of one visitor."""

    page: str = ""
    """that was shown last"""
    written: dict[str, str] | None = None
    """by the last run of a page; None before the first"""
    shared: dict[str, str] = field(default_factory=dict)
    """values of `SHARED_KEYS`"""
    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    """values of the other keys, by page"""
    left: dict[str, dict[str, str]] = field(default_factory=dict)
    """what was written last, by page"""
    unread: dict[str, str] = field(default_factory=dict)
    """of a followed link, what no control has read yet"""
    shown: set[str] = field(default_factory=set)
    """keys of controls that were shown in this run"""
    faults: list[str] = field(default_factory=list)
    """what the followed link names and the page lacks"""
    is_followed: bool = False
    """the page is shown by a link, by Back, or after another page"""
    defaults: dict[str, Any] = field(default_factory=dict)
    """of controls, as they were shown last"""

    def of(self, page: str) -> dict[str, str]:
        """The query of a link to a page as it was left."""
        return self.left.get(page, {}) | self.shared

    def begin(self, asked: Mapping[str, str], **first: str) -> None:
        """Take the shared values of an address, and `first` where nothing was chosen yet: links to pages have them."""
        self.shared = {**first, **self.shared, **{key: asked[key] for key in SHARED_KEYS if key in asked}}

    def values(self, key: str) -> dict[str, str]:
        """Where the value of a key is."""
        return self.shared if key in SHARED_KEYS else self.kept.setdefault(self.page, {})

    def follow(self, page: str, asked: Mapping[str, str]) -> None:
        """Take what an address says before a page is shown."""
        is_link = bool(asked) and asked != self.written
        is_own = dict(asked) == self.of(page)
        self.is_followed = is_link or page != self.page
        self.page, self.shown = page, set()
        if self.is_followed:
            self.faults, self.unread = [], {}
        if is_link:
            self.shared |= {key: asked[key] for key in SHARED_KEYS if key in asked}
            self.kept[page] = {key: value for key, value in asked.items() if key not in SHARED_KEYS}
            self.unread = {} if is_own else dict(asked)

    def finish(self) -> None:
        """End the run of a page: what no control has read is none of its."""
        unknown = [f'"{key}={value}", which this page does not know' for key, value in self.unread.items()]
        self.faults += [text for text in unknown if text not in self.faults]
        self.unread, self.is_followed = {}, False
        self.write()

    def write(self) -> None:
        """Write what is shown into the address; the browser's Back returns to what was there before."""
        values = self.kept.get(self.page, {}) | self.shared
        query = {key: value for key, value in values.items() if key in self.shown}
        if query != st.query_params.to_dict():
            st.query_params.from_dict(query)
        self.written = self.left[self.page] = query


def visitor() -> Address:
    """The address of the visitor whose page runs."""
    if STATE_KEY not in st.session_state:
        st.session_state[STATE_KEY] = Address()
    return st.session_state[STATE_KEY]


def addressed(page: Callable[[], None]) -> Callable[[], None]:
    """A page whose controls are in the address."""
    name = page.__module__.rpartition(".")[2]

    @wraps(page)
    def shown() -> None:
        address = visitor()
        address.follow(name, st.query_params.to_dict())
        above = st.container()
        try:
            page()
        except (UelError, OSError):
            _end(address, above)
            raise
        _end(address, above)  # a run that is interrupted by the next one writes nothing

    return shown


def _end(address: Address, above: Any) -> None:
    address.finish()
    if address.faults:
        above.warning("  \n".join(f"The address names {plain(text)}." for text in address.faults))


def link_to(page: str, **values: object) -> str:
    """A link to a page on the same place and run, with values of its controls."""
    return f"{page}?{urlencode(visitor().shared | {key: str(value) for key, value in values.items()})}"


def restore(key: str, default: T, read: Callable[[str], T | None]) -> T:
    """Put the value of a control into the session before it is made, and return it.

    `read` makes a value of the address's text, or None of one that is not to be had.
    """
    address = visitor()
    address.shown.add(key)
    text = address.values(key).get(key)
    is_named = address.unread.pop(key, None) is not None
    is_old = address.is_followed and (text is not None or address.written is not None)
    # A default may depend on other controls: who left it alone gets the new one.
    is_default = text is None and st.session_state.get(key) == address.defaults.get(key, default)
    address.defaults[key] = default
    if key not in st.session_state or is_old or is_default:
        value = default if text is None else read(text)
        if value is None and is_named:
            instead = "" if default is None else f"; {default} is shown"
            address.faults.append(f'{key} "{text}", which is not here{instead}')
        st.session_state[key] = default if value is None else value
    return st.session_state[key]


def keep(key: str, value: Any, default: Any) -> None:
    """Keep the value of a control for the address; defaults of a page are not written."""
    values = visitor().values(key)
    if value is None or (value == default and key not in SHARED_KEYS):
        values.pop(key, None)
    elif isinstance(value, bool):
        values[key] = "true" if value else "false"
    else:
        values[key] = f"{value:g}" if isinstance(value, float) else str(value)
