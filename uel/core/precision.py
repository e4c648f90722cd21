"""Leaving autocast: what is physics keeps its precision inside a training in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

AUTOCAST_DEVICES = ("cpu", "cuda")


@contextmanager
def full_precision() -> Iterator[None]:
    """A context, or with `@full_precision()` a function, in which torch's autocast changes no type.

    Autocast rounds the inputs of products of matrices to 8 bits: positions of 100 m to half a metre, phases to degrees.

    Example:
        >>> import torch
        >>> from uel.core.precision import full_precision
        >>> row = torch.tensor([[100.3]])
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision():
        ...     (row @ torch.eye(1)).item() == row.item()
        True
    """
    with torch.autocast(AUTOCAST_DEVICES[0], enabled=False), torch.autocast(AUTOCAST_DEVICES[1], enabled=False):
        yield
