"""One thread, as a worker has it that shares its machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sim_bridge.backend.runtime import limit_threads


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch and Dr.Jit on one thread: sums have one order then."""
    before = torch.get_num_threads()
    limit_threads(1)
    try:
        yield
    finally:
        limit_threads(len(os.sched_getaffinity(0)))
        torch.set_num_threads(before)
