"""Numbers from outside: every number of a configuration, a cell or a carrier is finite and in its range."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from uel.errors import UelError

Range = tuple[float | int, float | int]
"""least and greatest value"""
NUMBER_RANGE = (-1e15, 1e15)  # of any unit: frequencies reach 1e12 Hz
SEED_RANGE = (0, 2**32 - 1)  # what every library's generator takes
SEED_FIELDS = ("seed", "first_seed")


def require_numbers(values: Any, **ranges: Range) -> None:
    """Raise `UelError` for a number of a dataclass that is none, not finite, or out of its range.

    Args:
        values: an instance of a dataclass; fields whose type is made of int, float and None are looked at, tuples and
            mappings of them, too.
        **ranges: least and greatest value by field; without one 0 to 2³² - 1 for a seed, and ±1e15 for others.

    Example:
        >>> from uel.core.outside.number_ranges import require_numbers
        >>> from uel.radio.config import EventA3
        >>> require_numbers(EventA3(), offset_db=(-30.0, 30.0))
    """
    assert ranges.keys() <= {name for name, _ in number_fields(type(values))}, f"{type(values)} has not all of {ranges}"
    for name, default in number_fields(type(values)):
        low, high = ranges.get(name, default)
        for number in _flat(getattr(values, name)):
            is_number = isinstance(number, Real) and not isinstance(number, bool)
            if not is_number or not low <= number <= high:  # pyright: ignore[reportOperatorIssue]
                raise out_of_range(name, number, low, high)


def out_of_range(name: str, number: object, low: float | int, high: float | int) -> UelError:
    """The error of a number that is out of its range."""
    is_long = isinstance(number, int) and abs(number) >= 10**300  # Python writes out no integer of 5000 digits
    shown = "hundreds of digits" if is_long else f"{number:.6g}" if isinstance(number, float) else str(number)[:40]
    allowed = "a finite number" if (low, high) == NUMBER_RANGE else f"a number from {low:g} to {high:g}"
    return UelError(f"{name} is out of range", got=shown, do=f"give {name} {allowed}")


@cache
def number_fields(kind: type) -> tuple[tuple[str, Range], ...]:
    """Names of the fields that hold numbers, and the range of each that is given none."""
    found, hints = [], get_type_hints(kind)
    for field in fields(kind):
        leaves = set(_leaf_types(hints[field.name]))
        if leaves & {int, float} and leaves <= {int, float, NoneType}:
            found.append((field.name, SEED_RANGE if field.name in SEED_FIELDS else NUMBER_RANGE))
    return tuple(found)


def _leaf_types(hint: Any) -> Iterable[Any]:
    """The types that values of an annotation are made of; of a mapping those of its values."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        yield hint
    elif origin in (Union, UnionType, tuple, list):
        for part in args:
            yield from () if part is Ellipsis else _leaf_types(part)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _leaf_types(args[1])
    elif hasattr(hint, "__metadata__"):
        yield from _leaf_types(args[0])
    else:
        yield origin


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    elif value is not None:
        yield value
