"""Files that are whole or absent, and where generated data lives."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def data_folder() -> Path:
    """Where generated data lives: `UEL_DATA`, or `data` in the working directory."""
    return Path(os.environ.get("UEL_DATA", "data"))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file aside and rename it: whoever is killed in between leaves the old one, or none.

    Folders are made where they are missing. Raises `OSError` as the system does and leaves nothing aside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def as_json(value: Any) -> bytes:
    """As our files hold it: the same value, the same bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def whole(array: Any) -> np.ndarray:
    """All values of a Zarr array. Zarr takes an absent chunk for fill values, so the chunks are counted first.

    Raises `ValueError` where one is missing, and what the codecs raise where one is damaged.
    """
    if array.nchunks_initialized != array.nchunks:
        raise ValueError(f"{array.nchunks - array.nchunks_initialized} chunks of {array.path!r} are missing")
    return np.asarray(array[...])
