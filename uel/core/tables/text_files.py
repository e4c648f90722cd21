"""Text files in any usual encoding: byte-order marks, UTF-8, UTF-16, and the 8-bit encodings of office programs."""

import codecs
import io
import shutil
from pathlib import Path

from uel.core.outside.compression import open_unpacked
from uel.errors import UelError

SAMPLE_BYTES = 1 << 18  # of a file, from which its encoding is detected
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
REST_BYTES = 1 << 24  # behind a letter that is not ASCII, by whose statistics an 8-bit encoding is told
BINARY_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"(\xb5/\xfd": "a Zstandard archive",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}


def detect_encoding(sample: bytes, name: str) -> str:
    """Python's name of the encoding of a text, from its first bytes: by its mark, as UTF-8, UTF-16, else by statistics.

    Raises `UelError` for what is no text.

    Example:
        >>> from uel.core.tables.text_files import detect_encoding
        >>> detect_encoding("time;level".encode("utf-16"), "log.csv")
        'utf-16'
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    for magic, kind in BINARY_MAGIC.items():
        if sample.startswith(magic):
            raise UelError(f"{name} is no text", got=kind, do="unpack it, or export it as CSV with the encoding UTF-8")
    if b"\0" in sample:
        return _utf_16_without_mark(sample, name)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # a character that the sample cuts is no fault
        return "utf-8"
    except UnicodeDecodeError:
        pass  # an 8-bit encoding, which statistics tell
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    if best is None:
        do = "save it with the encoding UTF-8, or name its encoding"
        raise UelError(f"the encoding of {name} is not recognised", got="neither UTF-8 nor UTF-16", do=do)
    return best.encoding


def _utf_16_without_mark(sample: bytes, name: str) -> str:
    """Byte order of UTF-16 by the places of its zero bytes."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if max(even, odd) < len(sample) // 6 or 4 * min(even, odd) > max(even, odd) or len(sample) < 20:
        raise UelError(f"{name} is no text", got="zero bytes", do="export it as CSV with the encoding UTF-8")
    return "utf-16-be" if even > odd else "utf-16-le"


def decode(content: bytes, name: str, encoding: str = "") -> str:
    """Text of a small file's bytes, without a byte-order mark. Raises `UelError` with the encoding and the remedy."""
    encoding = encoding or detect_encoding(content[:SAMPLE_BYTES], name)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except (LookupError, UnicodeError) as error:
        raise _undecodable(name, encoding, error) from error


def transcode(file: Path, target: Path, encoding: str = "") -> str:
    """Copy a text file as UTF-8 with lines that end in a line feed; returns the encoding that it had.

    Decompresses gzip, and reads a part at a time. Raises `UelError` for what is no text.
    """
    with open_unpacked(file) as stream:
        sample = stream.read(SAMPLE_BYTES)
    encoding = encoding or detect_encoding(sample, file.name)
    try:
        return _copy(file, target, encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise _undecodable(file.name, encoding, error) from error
    # The sample was ASCII: the first other letter comes later.
    with open_unpacked(file) as stream:
        parts = iter(lambda: stream.read(SAMPLE_BYTES), b"")
        sample = next(part for part in parts if not part.isascii()) + stream.read(REST_BYTES)
    return _copy(file, target, detect_encoding(sample, file.name))


def _copy(file: Path, target: Path, encoding: str) -> str:
    try:
        with (
            open_unpacked(file) as stream,
            io.TextIOWrapper(stream, encoding=encoding, newline=None) as text,
            target.open("w", encoding="utf-8", newline="\n") as out,
        ):
            shutil.copyfileobj(text, out, SAMPLE_BYTES)
    except LookupError as error:
        raise _undecodable(file.name, encoding, error) from error
    return encoding


def _undecodable(name: str, encoding: str, error: Exception) -> UelError:
    do = "save it with the encoding UTF-8, or name the encoding that it has"
    return UelError(f"{name} is no text in the encoding {encoding}", got=str(error), do=do)
