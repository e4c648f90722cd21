"""Choice of a GPU, or else of an LLVM that works, before Dr.Jit is first used.

Dr.Jit on a CPU loads whatever libLLVM it finds. It refuses version 14, and version 15 ends the process in the
middle of a computation, so the choice is made here, before Dr.Jit is imported. `python -m sim_bridge.backend.runtime`
prints the choice in one line and exits with 0, or with 1 and what to install.
"""

import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from sim_bridge.backend.gpus import GpuProbe, visible_gpus
from uel.errors import UelError

MIN_LLVM_VERSION = 16  # 15 aborts ("Cannot select: … fmaximum"), 14 is refused; 19 is what the tests run on
SIONNA_RT_VERSIONS = ("2.2.0",)  # sim_bridge.backend.sionna_internals knows private names of these versions
LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
RANK_VARIABLE = "UEL_GPU_OF_RANK"  # the rank whose GPU CUDA_VISIBLE_DEVICES has been narrowed to
LLVM_FOLDERS = (
    "/usr/lib/*",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/llvm-*/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
    "/usr/local/opt/llvm*/lib",
)
_threads: int | None = None  # of Dr.Jit, where it is limited; None: all cores
_LIBRARY = re.compile(r"libLLVM(-\d+(\.\d+)*)?\.(so|dylib)(\.\d+)*$")  # not libLLVMSupport.a and the like

# Runs in a process of its own: a broken library may crash it, and cuInit would tie this process to a GPU.
_PROBE = """
import ctypes, json, sys
def gpus():
    cuda, value = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    def ask(function, *args):
        return value.value if function(ctypes.byref(value), *args) == 0 else 0
    count = ask(cuda.cuDeviceGetCount) if cuda.cuInit(0) == 0 else 0
    return [10 * ask(cuda.cuDeviceGetAttribute, 75, n) + ask(cuda.cuDeviceGetAttribute, 76, n) for n in range(count)]
def driver():
    version = ctypes.c_int(0)
    return version.value if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)) == 0 else 0
def optix():
    return bool(ctypes.CDLL("libnvoptix.so.1").optixQueryFunctionTable)
def major(path):
    library, parts = ctypes.CDLL(path), [ctypes.c_uint(0) for _ in range(3)]
    library.LLVMContextCreate  # AttributeError: this is no LLVM
    if not hasattr(library, "LLVMGetVersion"):
        return -1
    library.LLVMGetVersion(*map(ctypes.byref, parts))
    return parts[0].value
def report(name, ask, *args):
    try:
        value = ask(*args)
    except (OSError, AttributeError):
        value = 0
    print(json.dumps([name, value]), flush=True)
for name, ask in (("gpus", gpus), ("driver", driver), ("optix", optix)):
    report(name, ask)
for path in sys.argv[1:]:
    report(path, major, path)
"""


@dataclass(frozen=True)
class Library:
    """A libLLVM on disk."""

    path: str
    major: int
    """major version; 0 where it cannot be loaded, -1 where it is too old to tell (LLVMGetVersion came with 16)"""

    @property
    def usable(self) -> bool:
        return self.major >= MIN_LLVM_VERSION

    def __str__(self) -> str:
        name = {0: "not loadable", -1: "LLVM older than 16"}.get(self.major, f"LLVM {self.major}")
        return f"{name} ({self.path})"


@dataclass(frozen=True)
class Runtime:
    """Hardware that Dr.Jit will run on: GPUs, or the CPU through `llvm`."""

    gpus: int = 0
    llvm: Library | None = None

    @property
    def variant(self) -> str:
        """Mitsuba's variant. Metal's is never chosen: PyTorch has no float64 there, in which path lengths are."""
        return f"{'cuda' if self.gpus else 'llvm'}_ad_mono_polarized"

    def __str__(self) -> str:
        return f"CUDA, {self.gpus} GPU(s)" if self.gpus else f"CPU, {self.llvm}"


@cache
def ensure_runtime() -> Runtime:
    """Choose a GPU or a usable LLVM, and tell Dr.Jit through DRJIT_LIBLLVM_PATH.

    Raises UelError when there is neither, when the first GPU is too old, or when the user's own DRJIT_LIBLLVM_PATH
    cannot work.
    """
    use_gpu_of_rank(os.environ)
    gpus, libraries = probe_devices(find_llvm_libraries(os.environ))
    chosen = choose_runtime(gpus, libraries, os.environ.get(LLVM_VARIABLE))
    if chosen.llvm:
        os.environ[LLVM_VARIABLE] = chosen.llvm.path
    return chosen


def load_sionna() -> ModuleType:
    """`sionna.rt`, imported after `ensure_runtime()`; raises UelError for a version this package does not know."""
    chosen = ensure_runtime()
    require_version(_installed("sionna-rt"))
    _set_variant(chosen)
    import sionna.rt

    if _threads is not None:
        sys.modules["drjit"].set_thread_count(_threads)
    return sionna.rt


def _set_variant(chosen: Runtime) -> None:
    """Choose Mitsuba's variant before Sionna does, which goes on without a word where the GPU's cannot be loaded."""
    import mitsuba

    if mitsuba.variant() is not None:
        return
    try:
        mitsuba.set_variant(chosen.variant)
    except ImportError as error:
        do = f"pip install --force-reinstall mitsuba, or set CUDA_VISIBLE_DEVICES= (empty): {error}"
        raise UelError("Mitsuba cannot load its variant", got=chosen.variant, do=do) from error


def use_gpu_of_rank(environ: MutableMapping[str, str]) -> None:
    """Let a process of a distributed job see its own GPU alone, the one of its rank on this machine.

    Dr.Jit takes the first GPU that a process sees, in every thread; PyTorch then calls the same one `cuda:0`. Must run
    before either starts CUDA. Nothing happens outside of a job (`LOCAL_RANK`, or Slurm's with several tasks), where
    one GPU is seen, or a second time.
    """
    rank = environ.get("LOCAL_RANK")
    if rank is None and int(environ.get("SLURM_NTASKS", "1")) > 1:
        rank = environ.get("SLURM_LOCALID")
    torch = sys.modules.get("torch")
    if rank is None or environ.get(RANK_VARIABLE) == rank or (torch is not None and torch.cuda.is_initialized()):
        return
    visible = visible_gpus(environ, len(probe_devices([])[0].capabilities))
    if len(visible) > 1:
        environ["CUDA_VISIBLE_DEVICES"] = visible[int(rank) % len(visible)]
    environ[RANK_VARIABLE] = rank


def limit_threads(count: int) -> None:
    """Let PyTorch and Dr.Jit use `count` threads in this process, also where Dr.Jit is loaded later."""
    global _threads
    _threads = count
    import torch  # not above: the choice of a device needs no framework

    torch.set_num_threads(count)
    if "drjit" in sys.modules:
        sys.modules["drjit"].set_thread_count(count)


def require_version(installed: str) -> None:
    """Raise UelError unless sim_bridge was written for this version of sionna-rt."""
    if installed not in SIONNA_RT_VERSIONS:
        known = " or ".join(SIONNA_RT_VERSIONS)
        raise UelError(
            f"sim_bridge works with sionna-rt {known} only, because it uses private names of it",
            got=f"sionna-rt {installed or 'not installed'}",
            do=f"pip install sionna-rt=={SIONNA_RT_VERSIONS[-1]}",
        )


def choose_runtime(gpus: GpuProbe, libraries: Iterable[Library], user_path: str | None) -> Runtime:
    """A GPU before the CPU, the user's library before any other, the newest of the rest."""
    if gpus.capabilities:
        gpus.require_usable()
        return Runtime(gpus=len(gpus.capabilities))
    libraries = list(libraries)
    if user_path:
        return Runtime(llvm=_user_library(user_path, libraries))
    usable = [library for library in libraries if library.usable]
    if not usable:
        raise UelError(
            f"no GPU, and no LLVM of version {MIN_LLVM_VERSION} or newer for Sionna RT to run on the CPU",
            got=", ".join(map(str, libraries)) or "no libLLVM at all",
            do=install_hint(platform.system(), shutil.which("apt-get") is not None),
        )
    return Runtime(llvm=max(usable, key=lambda library: library.major))


def _user_library(path: str, libraries: list[Library]) -> Library:
    """The library the user named: never replaced by another one silently."""
    library = next((lib for lib in libraries if lib.path == path), Library(path, 0))
    if library.usable:
        return library
    if not os.path.isfile(path):
        problem = "points to no file"
    else:
        problem = f"points to an LLVM older than {MIN_LLVM_VERSION}" if library.major else "points to no loadable LLVM"
    do = f"unset {LLVM_VARIABLE}, or point it to LLVM {MIN_LLVM_VERSION} or newer"
    raise UelError(f"{LLVM_VARIABLE} {problem}", got=path if not library.major else library, do=do)


def install_hint(system: str, apt: bool) -> str:
    """The line that installs a usable LLVM on this system."""
    if system == "Darwin":
        return "brew install llvm"
    if system == "Linux" and apt:
        return "sudo apt-get install -y libllvm19"
    return (
        f"install LLVM {MIN_LLVM_VERSION} or newer as a shared library (dnf install llvm-libs, pacman -S llvm-libs, …)"
    )


def find_llvm_libraries(environ: Mapping[str, str]) -> list[str]:
    """Paths of files that look like libLLVM, newest name first, each file once; the user's own path stays as given."""
    user_path = environ.get(LLVM_VARIABLE)
    names = (path for folder in LLVM_FOLDERS for path in glob.glob(f"{folder}/libLLVM*"))
    files = {os.path.realpath(path) for path in (*names, *_ldconfig()) if _LIBRARY.search(os.path.basename(path))}
    files = sorted(filter(os.path.isfile, files), key=_number, reverse=True)
    return [user_path, *(path for path in files if path != user_path)] if user_path else files


def _number(path: str) -> tuple[int, ...]:
    """The digits of a file's name: a guess at its version, to try good candidates before bad ones."""
    return tuple(int(digits) for digits in re.findall(r"\d+", os.path.basename(path)))


def _ldconfig() -> list[str]:
    tool = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if platform.system() != "Linux" or tool is None:
        return []
    listing = subprocess.run([tool, "-p"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"libLLVM\S* .* => (\S+)", listing)


def probe_devices(paths: list[str]) -> tuple[GpuProbe, list[Library]]:
    """(the GPUs, the libraries with their versions); a library that crashes the probe counts as not loadable."""
    results: dict[str, Any] = {}
    remaining = list(paths)
    while True:
        results |= _run_probe(remaining)
        missing = [path for path in remaining if path not in results]
        if not missing:
            break
        results[missing[0]] = 0  # it crashed the probe; go on behind it
        remaining = missing[1:]
    gpus = GpuProbe(tuple(results.get("gpus") or ()), results.get("driver", 0), bool(results.get("optix")))
    return gpus, [Library(path, results[path]) for path in paths]


def _run_probe(paths: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-c", _PROBE, *paths]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return dict(json.loads(line) for line in output.splitlines() if line.startswith("["))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def main() -> int:
    """Print the choice, or what to install."""
    try:
        print(ensure_runtime())
    except UelError as error:
        print(str(error).replace("\n", "; "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
