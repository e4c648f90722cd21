"""JSON from outside: bounded in size and depth, each name once, every number finite; in linear time."""

import json
import re
from pathlib import Path
from typing import Any

from uel.core.outside.whole_files import MAX_METADATA_BYTES, read_text
from uel.errors import UelError

MAX_NESTING = 64  # brackets in one another; GeoJSON needs ten
MAX_NUMBER_DIGITS = 300  # of one number: a longer one is no double
_STRING_PATTERN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_PLAIN_PATTERN = re.compile(r"[^\[\]{}]++")
_HUGE_PATTERN = re.compile(rf"\d{{{MAX_NUMBER_DIGITS},}}|[\d.][eE]\+?0*[3-9]\d\d|[\d.][eE]\+?0*\d{{4}}")
_SURROGATE_PATTERN = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str, name: str, *, max_nesting: int = MAX_NESTING, is_finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: the JSON; its length is for the caller to bound (`read_json` does).
        name: of the text in messages.
        max_nesting: brackets in one another.
        is_finite: refuse NaN, infinities and numbers of more than 300 digits; without it they are for the caller to
            find, who sets aside the record that holds them.

    Raises:
        UelError: for a text that is no JSON, is nested too deeply, gives a name twice in one object, holds half of a
            surrogate pair, or a number that is not finite.

    Example:
        >>> from uel.core.outside.json_text import parse_json
        >>> parse_json('{"size": 512.0}', "tile.json")
        {'size': 512.0}
    """
    _require_bounded(text, name, max_nesting, is_finite)
    constant = _refuse_constant if is_finite else float
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=constant)
        if _SURROGATE_PATTERN.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # raises for half of a pair, which no file can hold
        return value
    except json.JSONDecodeError as error:
        got = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise UelError(f"{name} is no JSON", got=got, do="correct it, or copy it again") from error
    except RecursionError as error:
        raise _too_deep(name, max_nesting) from error
    except UnicodeEncodeError as error:
        raise UelError(f"{name} holds half a character", got=error.reason, do="write the text as UTF-8") from error
    except UelError as error:
        what, *rest = str(error).splitlines()
        raise UelError(f"{what} in {name}", got=rest[0].partition(": ")[2].strip(), do="correct the file") from error
    except ValueError as error:  # Python reads no integer of 5000 digits
        raise UelError(f"a number in {name} is too large", got=error, do="correct the file") from error


def read_json(file: Path, *, max_bytes: int = MAX_METADATA_BYTES) -> Any:
    """The value of a JSON file in UTF-8. Raises `UelError` as `parse_json`, and for a file that cannot be read."""
    return parse_json(read_text(file, max_bytes=max_bytes), str(file))


def read_json_object(file: Path, *, max_bytes: int = MAX_METADATA_BYTES) -> dict[str, Any]:
    """The object in a JSON file. Raises `UelError` as `read_json`, and for a value of another kind."""
    value = read_json(file, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise UelError(f"{file} is not a JSON object", got=type(value).__name__, do="copy the file again")
    return value


def _require_bounded(text: str, name: str, max_nesting: int, is_finite: bool) -> None:
    """Raise `UelError` for brackets in too many others, and for numbers that no double holds."""
    structure = _STRING_PATTERN.sub('""', text)
    if is_finite and (match := _HUGE_PATTERN.search(structure)):
        got = structure[max(match.start() - 20, 0) : match.start() + 20]
        raise UelError(f"a number in {name} is too large", got=got, do="give a number that a double can hold")
    brackets = _PLAIN_PATTERN.sub("", structure).translate({ord("{"): "[", ord("}"): "]"})
    levels = 0
    while "[]" in brackets and levels <= max_nesting:  # one level of brackets a round
        brackets, levels = brackets.replace("[]", ""), levels + 1
    if levels + len(brackets) > max_nesting:
        raise _too_deep(name, max_nesting)


def _too_deep(name: str, max_nesting: int) -> UelError:
    return UelError(f"{name} is nested too deeply", got=f"more than {max_nesting} levels", do="give a flatter file")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set[str]()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise UelError("a name is given twice", got=repr(repeated[:40]), do="give it once")
    return values


def _refuse_constant(text: str) -> Any:
    raise UelError("a number is not finite", got=text, do="leave out what is not known")
