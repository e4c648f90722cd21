"""Files and folders that are complete or absent, and the folder of generated data."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def data_folder() -> Path:
    """Folder of generated data: the environment variable `UEL_DATA`, or `data` in the working directory."""
    return Path(os.environ.get("UEL_DATA", "data"))


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` at the end, delete it if the block fails.

    A process that is killed in between leaves the old file, or none. Missing parent folders are made.
    Raises `OSError` as the system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = _beside(path)
    try:
        yield staged
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_named_file(path: Path) -> Iterator[Path]:
    """As `staged_file`, but the yielded path has the name of `path`: some formats are known by their suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        yield Path(folder) / path.name
        os.replace(Path(folder) / path.name, path)


@contextmanager
def staged_folder(folder: Path, *, keep_existing: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `folder` to fill; rename it to `folder` at the end, delete it if the block fails.

    An existing `folder` is replaced, or with `keep_existing` kept: then another process has meanwhile made the same.
    Missing parent folders are made. Raises `OSError` as the system does.
    """
    staged = _beside(folder)
    shutil.rmtree(staged, ignore_errors=True)
    try:
        staged.mkdir(parents=True)
        yield staged
        if not (keep_existing and folder.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Hidden path in the same folder, so that a rename moves no bytes; its own for each process."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file with `staged_file`: a process that is killed leaves the old content, or no file."""
    with staged_file(path) as staged:
        staged.write_bytes(content)


def as_json(value: Any) -> bytes:
    """JSON text of a value as UTF-8; equal values give equal bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_whole_array(array: Any) -> "np.ndarray":
    """All values of a Zarr array, after a check that no chunk is missing (Zarr reads missing chunks as fill values).

    Raises `ValueError` where a chunk is missing, and the codecs' exceptions where one is damaged.
    """
    if array.nchunks_initialized != array.nchunks:
        raise ValueError(f"{array.nchunks - array.nchunks_initialized} chunks of {array.path!r} are missing")
    import numpy as np  # only here: configurations import this module, and must be light

    return np.asarray(array[...])
