"""Files that are wrong on purpose, and the limits under which they are read."""

import gzip
import resource
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uel.errors import UelError

MEMORY_LIMIT = 3 << 30  # bytes beyond what the process has mapped: a bomb of 12 GB does not fit


@contextmanager
def bounded_memory(extra: int = MEMORY_LIMIT) -> Iterator[None]:
    """Let the process map no more than `extra` bytes than now; more is a `MemoryError`."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refusal(read: Callable[[], object], pattern: str = ".") -> str:
    """The message by which a call is refused: a `UelError` with a remedy, in bounded memory."""
    with bounded_memory(), pytest.raises(UelError, match=pattern) as error:
        read()
    message = str(error.value)
    assert "do:" in message
    return message


def gzip_bomb(size: int) -> bytes:
    """Zeros (as the letter 0), packed: about a thousandth of `size` bytes."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, 31), b"0" * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def flipped(content: bytes, position: int, bit: int = 0) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(content)
    changed[position % len(content)] ^= 1 << bit
    return bytes(changed)


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)
