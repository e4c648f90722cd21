"""What stands in the way of a write: full disks, folders without permission, names that cannot be."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uel.errors import UelError

SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PERMISSION_ERRORS = (errno.EROFS, errno.EACCES, errno.EPERM)
PATH_ERRORS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP)
KEPT_RESULTS_NOTE = "what is finished is kept, and the same command goes on"


def write_fault(error: OSError, what: str = "", where: object = None) -> UelError | None:
    """The fault in a user's words where an `OSError` is a full disk, a lack of permission or an unfit path, else None.

    Args:
        error: that came.
        what: could not be written, if that is known.
        where: its path, if the error does not know it.
    """
    if error.errno not in (*SPACE_ERRORS, *PERMISSION_ERRORS, *PATH_ERRORS):
        return None
    place = where if where is not None else error.filename or "the output"
    remedy = "check the path" if error.errno in PATH_ERRORS else "free disk space or choose another folder"
    fault = f"{what} cannot be written" if what else "a file cannot be read or written"
    return UelError(fault, got=f"{place}: {error.strerror}", do=f"{remedy}; {KEPT_RESULTS_NOTE}")


@contextmanager
def explain_write_errors(what: str, where: Path) -> Iterator[None]:
    """Turn such an `OSError` of the block into a `UelError`; others are raised as they are."""
    try:
        yield
    except OSError as error:
        fault = write_fault(error, what, where)
        if fault is None:
            raise
        raise fault from error


def require_writable(*paths: Path) -> None:
    """Raise `UelError` where a folder, or the folder of a file, cannot be written to: before the work, not after it.

    Nothing is left behind. A path that is not there is judged by the nearest folder above it that is.
    """
    for path in paths:
        with explain_write_errors("the output", path):
            with suppress(FileNotFoundError):
                os.lstat(path)  # raises where the name is too long, or a file is in the place of a folder
            nearest = next(at for at in (path, *path.absolute().parents) if at.exists())
            with tempfile.TemporaryFile(dir=nearest if nearest.is_dir() else nearest.parent):
                pass


def require_writable_file(*paths: Path) -> None:
    """As `require_writable`, and raise `UelError` where a folder has a file's name."""
    require_writable(*paths)
    for path in paths:
        if path.is_dir():
            raise UelError("the output is to be a file, and a folder has its name", got=path, do="give a file's name")
