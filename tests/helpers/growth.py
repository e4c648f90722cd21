"""Growth of computing time with the size of the input."""

import time
from collections.abc import Callable


def growth(run: Callable[[int], object], small: int, large: int, repeats: int = 3) -> float:
    """CPU time of `run(large)` over that of `run(small)`, each the least of several runs in turn."""
    times: dict[int, list[float]] = {small: [], large: []}
    for _ in range(repeats):
        for size, measured in times.items():
            start = time.process_time()
            run(size)
            measured.append(time.process_time() - start)
    return min(times[large]) / min(times[small])
