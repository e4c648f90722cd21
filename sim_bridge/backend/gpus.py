"""GPUs that this process sees, and whether the ray tracer runs on them."""

from collections.abc import Mapping
from dataclasses import dataclass

from uel.errors import UelError

MIN_COMPUTE_CAPABILITY = 75  # Dr.Jit's own kernels are compiled for it (Turing, 2018); older ones end the process
MIN_CUDA_VERSION = 12020  # of the driver (R535); with an older one Dr.Jit goes on without GPUs


@dataclass(frozen=True)
class GpuProbe:
    """What the driver says of the GPUs that this process sees."""

    capabilities: tuple[int, ...] = ()
    """compute capability of each, as 75 for 7.5"""
    cuda_version: int = 0
    """that the driver supports, as 12020 for 12.2"""
    has_optix: bool = False
    """whether its ray-tracing library can be loaded"""

    def require_usable(self) -> None:
        """Raise `UelError` unless the ray tracer runs on the first GPU."""
        cpu = "set CUDA_VISIBLE_DEVICES= (empty) to trace on the CPU"
        if self.capabilities[0] < MIN_COMPUTE_CAPABILITY:
            raise UelError(
                f"the ray tracer needs a GPU of compute capability {MIN_COMPUTE_CAPABILITY / 10} or newer",
                got=f"{self.capabilities[0] / 10} of the first GPU that this process sees",
                do=f"choose another one with CUDA_VISIBLE_DEVICES, or {cpu}",
            )
        if self.cuda_version < MIN_CUDA_VERSION:
            raise UelError(
                f"the GPU's driver is older than CUDA {MIN_CUDA_VERSION // 1000}.{MIN_CUDA_VERSION % 1000 // 10}",
                got=f"CUDA {self.cuda_version // 1000}.{self.cuda_version % 1000 // 10}",
                do=f"install driver R535 or newer, or {cpu}",
            )
        if not self.has_optix:
            raise UelError(
                "the GPU's driver has no OptiX, with which the ray tracer traces",
                got="libnvoptix.so.1 cannot be loaded",
                do=f"start the container with NVIDIA_DRIVER_CAPABILITIES=all, or {cpu}",
            )


def visible_gpus(environ: Mapping[str, str], count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each of the `count` GPUs that a process sees."""
    named = [name.strip() for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
