"""Names that become folders: the one check of them, and the one function that makes a path of a name.

A name comes from a command line, a configuration or a file of somebody else. It is a word: it names one entry of one
folder, on every system, and nothing else.
"""

import re
import unicodedata
from pathlib import Path

from uel.errors import UelError

LETTERS_PER_NAME = 100
BYTES_PER_NAME = 200  # file systems allow 255, and suffixes are added
ALLOWED_PUNCTUATION = " .,()+-_=@"
DEVICE_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # a device on Windows, whatever its suffix
NAME_ADVICE = "use letters, digits, spaces and . , ( ) + - _ = @, at most 100 of them, a letter or digit first"


def is_folder_name(name: object) -> bool:
    """Whether a name is a word: it can be a file's or a folder's on every system.

    Example:
        >>> [is_folder_name(name) for name in ("paris_9e", "München+0-150", "..", "/abs", "a/b", "a\\nb", "50%", "")]
        [True, True, False, False, False, False, False, False]
    """
    if not isinstance(name, str) or not 0 < len(name) <= LETTERS_PER_NAME:
        return False
    has_unfit_letter = any(
        letter not in ALLOWED_PUNCTUATION and unicodedata.category(letter)[0] not in "LMN" for letter in name
    )
    if has_unfit_letter or len(name.encode()) > BYTES_PER_NAME:
        return False
    is_begun_well = name[0] == "_" or unicodedata.category(name[0])[0] in "LN"
    return is_begun_well and name[-1] not in " ." and not DEVICE_NAME.fullmatch(name)


def require_folder_name(name: object, what: str) -> str:
    """The name. Raises `UelError` where it is no word (`is_folder_name`); `what` says whose name it is.

    Example:
        >>> require_folder_name("..", "--run")
        Traceback (most recent call last):
            ...
        uel.errors.UelError: --run is not fit for a folder's name
          got: '..'
          do:  use letters, digits, spaces and . , ( ) + - _ = @, at most 100 of them, a letter or digit first
    """
    if not is_folder_name(name):
        raise UelError(f"{what} is not fit for a folder's name", got=ascii(name)[:120], do=NAME_ADVICE)
    return str(name)


def folder_in(root: Path, name: str, what: str) -> Path:
    """The folder below `root` that a name stands for; a run of a sweep has two words with `/` between them.

    Raises `UelError` where a part of the name is no word, so that the folder is below `root` for certain.

    Example:
        >>> folder_in(Path("runs"), "rates/learning_rate=1e-3", "--run").as_posix()
        'runs/rates/learning_rate=1e-3'
    """
    for part in name.split("/"):
        if not is_folder_name(part):
            raise UelError(f"{what} is not fit for a folder's name", got=ascii(name)[:120], do=NAME_ADVICE)
    return root.joinpath(*name.split("/"))


def run_folder(name: str) -> Path:
    """The folder of a run, below `runs` in the working directory. Raises `UelError` as `folder_in`."""
    return folder_in(Path("runs"), name, "--run")


def fit_for_name(text: str) -> str:
    """A text with `_` for whatever a name cannot hold, shortened to a name's length.

    Example:
        >>> fit_for_name("map=data/50% of it")
        'map=data_50_ of it'
    """
    letters = (c if c in ALLOWED_PUNCTUATION or unicodedata.category(c)[0] in "LMN" else "_" for c in text)
    cut = "".join(letters)[: LETTERS_PER_NAME - 1].encode()[: BYTES_PER_NAME - 1].decode(errors="ignore").rstrip(" .")
    return cut if is_folder_name(cut) else f"_{cut}"
