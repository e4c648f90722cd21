"""Progress bars by tqdm: on stderr where it is a terminal, as a widget in a notebook, gone when the work is done."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], text: str, *, total: int | None = None, shown: bool = True) -> Iterable[Item]:
    """The same items, with a bar that tells how many of them are done.

    Args:
        items: to iterate over.
        text: what is done, before the bar.
        total: number of items; None: their length, if they have one.
        shown: False: no bar at all.

    Example:
        >>> list(with_progress(range(3), "squares"))
        [0, 1, 2]
    """
    return _bar(items, text, len(items) if total is None and isinstance(items, Sequence) else total, shown)


def progress_bar(total: int, text: str, *, shown: bool = True) -> Any:
    """A bar of `total` steps as a context manager: `update(count)` moves it, `set_postfix_str(text)` adds a text."""
    return _bar(None, text, total, shown)


def _bar(items: Any, text: str, total: int | None, shown: bool) -> Any:
    from tqdm.auto import tqdm

    # None hides a bar where stderr is no terminal. A notebook's streams never are, and its bar, a widget, does not look
    # at tqdm's variables of the environment by itself.
    is_widget = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    hidden = os.environ.get("TQDM_DISABLE", "") not in ("", "0") if is_widget else None
    return tqdm(items, desc=text, total=total, leave=False, dynamic_ncols=True, disable=hidden if shown else True)
