"""The structure of JSON from outside: names and types of values, compared with a typed dictionary."""

from functools import cache
from typing import Any

from uel.errors import UelError


def require_structure(value: Any, schema: Any, name: str) -> Any:
    """The value, unless a name is missing, or a value is of another type or out of its range.

    Args:
        value: parsed JSON.
        schema: a `TypedDict` whose fields may have pydantic's constraints; names that it lacks are allowed.
        name: of the file in messages.

    Raises:
        UelError: with the place of the first fault.

    Example:
        >>> from typing_extensions import TypedDict
        >>> from uel.core.outside.structure import require_structure
        >>> require_structure({"size": 512.0}, TypedDict("Metadata", {"size": float}), "tile.json")
        {'size': 512.0}
    """
    from pydantic import ValidationError

    try:
        _adapter(schema).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        got = f"{where}: {first['msg'].lower()}, {str(first['input'])[:80]!r}"
        raise UelError(f"{name} is damaged", got=got, do="copy it again, or make it again") from error
    return value


@cache
def _adapter(schema: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(schema)
