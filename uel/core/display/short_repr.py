"""Short texts of objects that hold tensors: shapes and facts instead of values."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

MAX_TEXT = 60  # characters of a field's own text


class ShortRepr:
    """A dataclass whose `repr` names the shapes of its tensors and the lengths of its long fields.

    The dataclass is declared with `repr=False`, so that it keeps this one.

    Example:
        >>> import torch
        >>> from uel.radio.link_truth import LinkTruth
        >>> one, two = torch.zeros(5), torch.zeros(5, 3)
        >>> LinkTruth(torch.zeros(5, 2), two, two > 0, two, two, two > 0)
        LinkTruth(position=float32[5, 2], gain_db=float32[5, 3], known=bool[5, 3], ...)
    """

    def __repr__(self) -> str:
        parts = [f"{field.name}={value_text(getattr(self, field.name))}" for field in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(parts)})"


def value_text(value: Any) -> str:
    """A value in a few words: the shape of an array, the length of a long collection, else its own `repr`."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = str(value.dtype).removeprefix("torch.")
        return f"{kind}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, tuple | list | dict | set) and len(text := repr(value)) > MAX_TEXT:
        return f"<{type(value).__name__} of {len(value)}>"
    text = repr(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def range_text(values: Any, unit: str) -> str:
    """The least and the greatest of some numbers, in whole units."""
    return f"{float(values.min()):.0f} to {float(values.max()):.0f} {unit}" if len(values) else "none"


def facts_text(name: str, facts: Mapping[str, str]) -> str:
    """The line of an object: its class and what is known of it."""
    return f"<{name}: {', '.join(f'{key} {value}' for key, value in facts.items())}>"
