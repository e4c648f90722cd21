"""JSON files that hold the hash of their own content, so that a value that changed is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uel.core.io import as_json
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError

CHECKSUM_NAME = "checksum"


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a JSON object with their checksum as the last one, in place of an older one.

    Example:
        >>> from uel.core.outside.checksums import require_checksum, with_checksum
        >>> sorted(with_checksum({"size": 512.0}))
        ['checksum', 'size']
    """
    plain = {name: value for name, value in values.items() if name != CHECKSUM_NAME}
    return {**plain, CHECKSUM_NAME: _digest(plain)}


def json_with_checksum(values: Mapping[str, Any]) -> bytes:
    """JSON text of an object with its checksum."""
    return as_json(with_checksum(values))


def require_checksum(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The values without their checksum. Raises `UelError` where they are not those that were written.

    Files of version 0.2 have no checksum: their values are returned as they are.
    """
    plain = {key: value for key, value in values.items() if key != CHECKSUM_NAME}
    if CHECKSUM_NAME in values and values[CHECKSUM_NAME] != _digest(plain):
        got = f"another checksum than {values[CHECKSUM_NAME]!r}"
        raise UelError(f"{name} has changed since it was written", got=got, do="copy it again, or make it again")
    return plain


def read_checked_json(file: Path) -> dict[str, Any]:
    """The object in a file of ours, without its checksum. Raises `UelError` as `read_json_object`, and for changes."""
    return require_checksum(read_json_object(file), str(file))


def _digest(values: Mapping[str, Any]) -> str:
    plain = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
