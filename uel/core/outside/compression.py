"""Compressed files from outside, unpacked as a stream that ends where no honest file would go on."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uel.errors import UelError

MAX_UNPACKED_BYTES = 1 << 34  # of one file: some continents' maps
MAX_EXPANSION_RATIO = 200  # of packed text: maps and logs have 5 to 40
FREE_UNPACKED_BYTES = 1 << 26  # that any file may have, whatever its ratio
BYTES_PER_READ = 1 << 20
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_OPENERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)


class BoundedStream(io.RawIOBase):
    """The bytes of a stream. Raises `UelError` beyond a number of them, and for what a decompressor raises."""

    def __init__(self, stream: Any, file: Path, max_bytes: int) -> None:
        super().__init__()
        self._stream, self._file, self._left, self._max_bytes = stream, file, max_bytes, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._stream.read(min(len(buffer), self._left + 1))
        except READ_ERRORS as error:
            raise unreadable(self._file, error) from error
        self._left -= len(content)
        if self._left < 0:
            got = f"{self._file}: {self._file.stat().st_size:,} bytes unpack to more than {self._max_bytes:,}"
            raise UelError("this file unpacks to too much", got=got, do="unpack it, and give a part of it")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()


def open_unpacked(file: Path) -> io.BufferedReader:
    """Open a file for reading, unpacked where its first bytes say gzip, bzip2 or xz.

    Raises `UelError` for a file that cannot be read, here and while it is read: one that is missing, damaged, or
    unpacks to more than 200 times its size (beyond 64 MB).
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(6)
        opener = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
        opened = opener(file, "rb") if opener else file.open("rb")
        limit = max_unpacked_bytes(file) if opener else MAX_UNPACKED_BYTES
    except READ_ERRORS as error:
        raise unreadable(file, error) from error
    return io.BufferedReader(BoundedStream(opened, file, limit), 1 << 16)


def read_unpacked(file: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> bytes:
    """All bytes of a file, unpacked. Raises `UelError` as `open_unpacked`, and for more than `max_bytes`."""
    content = bytearray()
    with open_unpacked(file) as stream:
        while part := stream.read(BYTES_PER_READ):  # of a larger number Python makes room for all of it
            content += part
            if len(content) > max_bytes:
                got = f"{file}: more than {max_bytes / 1e6:.0f} MB"
                raise UelError("this file is too large to be read at once", got=got, do="give a part of it")
    return bytes(content)


def require_bounded_archive(archive: zipfile.ZipFile, file: Path) -> None:
    """Raise `UelError` for a ZIP archive whose entries unpack to too much, or that has two of one name."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if total > max_unpacked_bytes(file):
        got = f"{file}: {file.stat().st_size:,} bytes unpack to {total:,}"
        raise UelError("this archive unpacks to too much", got=got, do="unpack it, and give one of its files")
    if len({entry.filename for entry in entries}) < len(entries):
        raise UelError("an archive has two entries of one name", got=str(file), do="pack it again")


def max_unpacked_bytes(file: Path) -> int:
    """Bytes that a packed file may unpack to."""
    return min(MAX_UNPACKED_BYTES, max(FREE_UNPACKED_BYTES, MAX_EXPANSION_RATIO * file.stat().st_size))


def unreadable(file: Path, error: Exception) -> UelError:
    """The error of a file that cannot be read."""
    return UelError("this file is damaged, or cannot be read", got=f"{file}: {error}", do="give a whole, readable file")
