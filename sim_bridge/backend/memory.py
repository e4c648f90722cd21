"""How much memory the ray tracer may take, and what its parts take."""

from pathlib import Path

import drjit as dr
import torch

from sim_bridge.backend.torch_drjit import DRJIT_DEVICE

FREE_FRACTION = 0.25  # of what is free, unless `TracingConfig.memory` says how much
MIN_BUDGET = 256e6  # bytes: less would make calls too small to be worth starting
BYTES_PER_CANDIDATE = (
    48  # of Sionna's search, for each ray, interaction, receiver and cell: hashes, their order, offsets
)
BYTES_PER_ROW, BYTES_PER_INTERACTION = 350, 150  # of a row of a search's buffer, and of each interaction in it
BYTES_PER_LINK = {False: 4_000, True: 20_000}  # of a traced link per three interactions, without and with a graph
BYTES_PER_ATLAS_CANDIDATE = 300  # for each interaction that it may have
BYTES_PER_RAY, BYTES_PER_MAP_PIXEL = 300, 200  # of a radio map; the latter of each cell
_CGROUP = Path("/sys/fs/cgroup")


def memory_budget(gigabytes: float) -> float:
    """Bytes that one call may take: `gigabytes`, or for 0 a quarter of what is free now."""
    return gigabytes * 1e9 if gigabytes else max(FREE_FRACTION * free_memory(), MIN_BUDGET)


def free_memory() -> float:
    """Bytes that are free where Dr.Jit works: on its GPU, or in this machine's or container's memory."""
    if DRJIT_DEVICE.type == "cuda":
        return float(torch.cuda.mem_get_info(DRJIT_DEVICE)[0])
    lines = dict(line.split(":") for line in _read(Path("/proc/meminfo")).splitlines())
    available = float(lines["MemAvailable"].split()[0]) * 1024 if lines else 8e9  # macOS has no such file
    limit, used = (_read(_CGROUP / name).strip() for name in ("memory.max", "memory.current"))
    return min(available, float(limit) - float(used)) if limit.isdigit() and used.isdigit() else available


def _read(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def search_bytes(depth: int, samples: int, receivers: int, max_paths: int) -> float:
    """Of Sionna's search from one cell: its candidates, and the buffer of those that it keeps."""
    rows = max_paths * (BYTES_PER_ROW + BYTES_PER_INTERACTION * depth)
    return float(BYTES_PER_CANDIDATE * depth * samples * receivers + rows)


def release_memory() -> None:
    """Give back what Dr.Jit keeps for later arrays of the same size."""
    dr.flush_malloc_cache()
