"""Removal of folders: only of those that hold a mark of this library."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uel.core.outside.json_text import read_json_object
from uel.errors import UelError

IsOwn = Callable[[Path], bool]
"""whether a folder is one that this library made"""


def has_json_entry(file: str, *entry: str, begins: str = "") -> IsOwn:
    """A mark: the folder holds a JSON file with such an entry, given by its names from outside to inside.

    Args:
        file: name of the JSON file.
        entry: names of the entry.
        begins: what a text there must begin with; any value will do without it.
    """

    def is_own(folder: Path) -> bool:
        try:
            value: Any = read_json_object(folder / file)
            for name in entry:
                value = value[name]
        except (UelError, KeyError, TypeError, IndexError):
            return False
        return not begins or (isinstance(value, str) and value.startswith(begins))

    return is_own


def require_own(folder: Path, is_own: IsOwn, what: str) -> None:
    """Raise `UelError` where a folder is there, is not empty, and is not one of this library's; `what` is expected.

    Example:
        >>> require_own(Path("no/such/folder"), has_json_entry("tile.json", "schema"), "tile")
    """
    if not folder.is_symlink() and (not folder.exists() or (folder.is_dir() and _is_free_or_own(folder, is_own))):
        return
    kind = "is a link" if folder.is_symlink() else "is a file" if not folder.is_dir() else "holds something"
    do = "choose another name or folder, or move it away: nothing is removed that this library did not make"
    raise UelError(f"the {what}'s folder {kind} that is not a {what}", got=str(folder), do=do)


def _is_free_or_own(folder: Path, is_own: IsOwn) -> bool:
    try:
        is_empty = not any(folder.iterdir())
    except FileNotFoundError:
        is_empty = True
    return is_own(folder) or is_empty or is_own(folder)  # twice: another process may just have put its own there


def remove_own_folder(folder: Path, is_own: IsOwn, what: str) -> None:
    """Remove a folder of this library's, if there is one; it vanishes at once, and is emptied afterwards.

    Raises `UelError` as `require_own`, and `OSError` as the system does.
    """
    require_own(folder, is_own, what)
    if folder.is_dir():
        aside = folder.with_name(f".{uuid.uuid4().hex[:8]}.part")
        folder.rename(aside)
        shutil.rmtree(aside)
