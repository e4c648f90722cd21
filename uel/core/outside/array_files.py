"""Files of arrays from outside: numpy's archives, checked against their own checksums and sizes before use."""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from uel.core.outside.compression import READ_ERRORS, require_bounded_archive
from uel.errors import UelError


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of `numpy.savez` by name.

    Raises:
        UelError: for a file that is missing or no archive, an entry that differs from its CRC-32, an array whose shape
            is not that of its bytes, and one of Python objects.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            require_bounded_archive(archive, file)
            entries = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        return {name: _array(content) for name, content in entries.items()}
    except (*READ_ERRORS, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, UelError):
            raise
        raise UelError("a file of arrays is damaged", got=f"{file}: {error}", do="make the file again") from error


def read_array_fields(file: Path, names: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """Those arrays of a file. Raises `UelError` as `read_arrays`, and where one is missing."""
    arrays = read_arrays(file)
    if missing := [name for name in names if name not in arrays]:
        raise UelError("a file of arrays lacks some", got=f"{file}: {', '.join(missing)}", do="make the file again")
    return arrays


def _array(content: bytes) -> np.ndarray:
    """The array in the bytes of a `.npy` file; its shape is compared with them before memory is taken."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"format {version} of an array")
    shape, _, dtype = read_header[version](stream)
    expected = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or expected != len(content) - stream.tell():
        raise ValueError(f"{len(content) - stream.tell()} bytes for an array of {dtype} of shape {shape}")
    return np.load(io.BytesIO(content), allow_pickle=False)
