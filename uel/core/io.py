"""Files and folders that are complete or absent, and the folder of generated data. No other module writes."""

import csv
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uel.core.files.own_folders import IsOwn, require_own

if TYPE_CHECKING:
    import numpy as np

STAGE_SUFFIX = ".part"  # how the hidden folder ends in which something is written
STAGE_MARK = "uel-stage"  # the file in it that says whose it is; its lock says whether its process lives
BYTES_OF_SHORT_NAME = 100


def data_folder() -> Path:
    """Folder of generated data: the environment variable `UEL_DATA`, or `data` in the working directory."""
    return Path(os.environ.get("UEL_DATA", "data"))


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; put it on the disk and in the place of `path` at the end, delete it if
    the block fails.

    A process that is killed in between, or a machine that loses its power, leaves the old file, or none. Of two writers
    the last one wins. Missing parent folders are made. Raises `OSError` as the system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(_hidden_name(path))
    try:
        yield staged
        _put_on_disk(staged)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_named_file(path: Path) -> Iterator[Path]:
    """As `staged_file`, but the yielded path has the name of `path`: some formats are known by their suffix."""
    with _stage(path) as stage:
        yield stage / path.name
        _put_on_disk(stage / path.name)
        os.replace(stage / path.name, path)


@contextmanager
def staged_folder(folder: Path, is_own: IsOwn | None = None, what: str = "result") -> Iterator[Path]:
    """Yield an empty folder to fill; put it in the place of `folder` at the end, delete it if the block fails.

    Missing parent folders are made. A power failure may leave files of it empty: whoever needs to know keeps hashes.

    Args:
        folder: that is made. Of two makers the last one wins.
        is_own: says whether an older folder is one of this library's, and is to be replaced; without it an older folder
            is kept: then another process has meanwhile made the same.
        what: the folder is, for messages.

    Raises:
        UelError: where `folder` holds something that `is_own` does not accept; nothing is removed then.
        OSError: as the system does.
    """
    if is_own is not None:
        require_own(folder, is_own, what)
    with _stage(folder) as stage:
        (stage / "new").mkdir()
        yield stage / "new"
        if is_own is None and folder.exists():
            return
        if is_own is not None:
            require_own(folder, is_own, what)  # once more: the work may have taken long
        _swap(stage / "new", folder, stage)


@contextmanager
def _stage(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, with a mark of this library and a lock on it while this process lives.

    Those of processes that were killed are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead_stages(path)
    stage = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{_short(path.name)}-"))
    with _marked(stage):
        stage = stage.rename(stage.with_name(stage.name + STAGE_SUFFIX))  # now that it is locked, others may see it
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _remove_dead_stages(path: Path) -> None:
    for stage in path.parent.glob(f".{glob.escape(_short(path.name))}-????????{STAGE_SUFFIX}"):
        with suppress(OSError):  # its process lives, or it has no mark
            if (stage / STAGE_MARK).is_file():
                with _marked(stage):
                    if (stage / "old").exists() and not path.exists():  # killed between two renames
                        (stage / "old").rename(path)
                    shutil.rmtree(stage)


@contextmanager
def _marked(stage: Path) -> Iterator[None]:
    """Hold the lock of a stage's mark, which ends with the process at the latest.

    Raises `OSError` when somebody else has it.
    """
    with (stage / STAGE_MARK).open("a") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _swap(new: Path, folder: Path, stage: Path) -> None:
    """Rename `new` to `folder`; what was there goes to `stage`, and comes back when that fails."""
    old = stage / "old"
    while True:
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.rename(old)
        try:
            new.rename(folder)
            return
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another process came between the two renames
            if old.exists():
                old.rename(folder)
            raise


def _hidden_name(path: Path) -> str:
    """A name beside a path, so that a rename moves no bytes; another one at each call."""
    return f".{_short(path.name)}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"


def _short(name: str) -> str:
    """The beginning of a name: what is added to it must not make it too long."""
    return name.encode()[:BYTES_OF_SHORT_NAME].decode(errors="ignore")


def _put_on_disk(path: Path) -> None:
    """Wait until a file's bytes are on the disk: else a rename could get there before them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file with `staged_file`: a process that is killed leaves the old content, or no file."""
    with staged_file(path) as staged:
        staged.write_bytes(content)


def fill_file(path: Path, content: bytes) -> None:
    """Write a file of a folder that is not in its place yet (`staged_folder`, a stage): it need not be whole by
    itself. Missing parent folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def csv_bytes(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table as CSV with a header; equal rows give equal bytes."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def array_bytes(arrays: Mapping[str, Any], compressed: bool = False) -> bytes:
    """Arrays as a file of numpy (`.npz`); equal arrays give equal bytes."""
    import numpy as np  # only here: configurations import this module, and must be light

    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def replace_torch_file(path: Path, content: Any) -> None:
    """Write what `torch.load` reads, with `staged_file`. Made in memory: PyTorch tells no `OSError` of a full disk."""
    import torch  # only here: configurations import this module, and must be light

    stream = io.BytesIO()
    torch.save(content, stream)
    replace_file(path, stream.getvalue())


def as_json(value: Any) -> bytes:
    """JSON text of a value as UTF-8; equal values give equal bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_whole_array(array: Any) -> "np.ndarray":
    """All values of a Zarr array, after a check that no chunk is missing (Zarr reads missing chunks as fill values).

    Raises `ValueError` where a chunk is missing, and the codecs' exceptions where one is damaged.
    """
    if array.nchunks_initialized != array.nchunks:
        raise ValueError(f"{array.nchunks - array.nchunks_initialized} chunks of {array.path!r} are missing")
    import numpy as np  # only here: configurations import this module, and must be light

    return np.asarray(array[...])
