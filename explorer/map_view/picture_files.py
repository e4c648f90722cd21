"""Arrays as PNG and JPEG."""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def encode_png(image: UInt8[np.ndarray, "row column channel"]) -> bytes:
    """The first row is the picture's top; three channels are opaque, four have alpha."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="png", compress_level=1)
    return stream.getvalue()


def encode_jpeg(image: UInt8[np.ndarray, "row column 3"]) -> bytes:
    """The first row is the picture's top."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="jpeg", quality=85)
    return stream.getvalue()
