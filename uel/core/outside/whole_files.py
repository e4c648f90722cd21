"""Small files from outside, read at once: their size is bounded before they are."""

from pathlib import Path

from uel.errors import UelError

MAX_METADATA_BYTES = 1 << 26  # of a file of ours; a network of 100 000 cells takes some 60 MB


def read_whole(file: Path, *, max_bytes: int = MAX_METADATA_BYTES) -> bytes:
    """All bytes of a file. Raises `UelError` for one that is missing or too large."""
    try:
        with file.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise UelError(f"{file} cannot be read", got=error, do="give a whole, readable file") from error
    if len(content) > max_bytes:
        got = f"more than {max_bytes / 1e6:.0f} MB"
        raise UelError(f"{file} is too large", got=got, do="give the file that was written, or a smaller one")
    return content


def read_text(file: Path, *, max_bytes: int = MAX_METADATA_BYTES) -> str:
    """Text of a file in UTF-8. Raises `UelError` as `read_whole`, and for one in another encoding."""
    try:
        return read_whole(file, max_bytes=max_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UelError(f"{file} cannot be read", got=error, do="give a whole, readable file in UTF-8") from error
