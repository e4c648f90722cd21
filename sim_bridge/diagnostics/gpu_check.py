"""What can go wrong on a GPU and cannot on a CPU, a line each; see `python -m sim_bridge.cuda_check`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import sionna.rt as rt
import torch
from torch import Tensor

from sim_bridge.backend import memory, runtime
from sim_bridge.backend.canopy import Canopy, lengths_in_canopy
from sim_bridge.backend.torch_drjit import DRJIT_DEVICE
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.diagnostics.doctor import ERROR_LIMITS, SelfTestCheck
from sim_bridge.diagnostics.map_check import map_errors
from sim_bridge.simulator import Sionna, TracingConfig
from uel.core.grid import Grid
from uel.radio.sites import Array, Cell, Site

CANYON_SITES = (Site(position=(-30.0, 2.0, 12.0), cells=(Cell(array=Array(rows=8, columns=8), azimuth_deg=80.0),)),)
CHECK_POSITIONS = ((25.0, -3.0, 1.5), (24.0, 12.0, 1.5), (-50.0, 5.0, 1.5), (40.0, 2.0, 1.5))
CHECK_GRID = Grid(size=128.0, pixel=16.0)
MAX_RELATIVE_ERROR = 1e-4
NEEDS_GPU = "needs a GPU"


def gpu_checks() -> Iterator[SelfTestCheck]:
    """All lines, as they are found. A line that needs a GPU says so where there is none."""
    for name, check in (
        ("GPU, driver and OptiX", _hardware),
        ("the process's first GPU is the ray tracer's", _device),
        ("two scenes in one kernel: maps are not empty", _maps),
        ("two scenes in one kernel: diffraction reaches a map", _diffraction),
        ("two scenes in one kernel: an atlas is not empty", _atlas),
        ("trees take from paths what they take by P.833", _trees),
        ("results lie where the positions lie, with gradients", _follows_positions),
        ("a default device of torch's changes nothing", _default_device),
        ("a stream of one's own is waited for", _streams),
        ("threads do not mix gradients", _threads),
        ("autocast changes no gain", _autocast),
        ("a budget of memory is kept", _memory),
        ("paths are those of the CPU", _as_on_the_cpu),
    ):
        yield _line(name, check)


def _line(name: str, check: Callable[[], str]) -> SelfTestCheck:
    try:
        return SelfTestCheck(name, check())
    except Exception as error:  # whatever a line meets is its answer, and the others are still asked
        return SelfTestCheck(name, f"{type(error).__name__}: {error}", False, "report this with the whole table")


def on_gpu() -> bool:
    """Whether Dr.Jit works on a GPU in this process."""
    return DRJIT_DEVICE.type == "cuda"


def gains() -> list[float]:
    """Gains of the street canyon, by the full search."""
    return _canyon().path_gain(_positions()).flatten().tolist()


def _canyon(**tracing: object) -> Sionna:
    options = {"samples": 3000, "chunk": 4, "max_depth": 2, "diffraction": False, "map_rays": 50_000, "map_batches": 2}
    scene = rt.load_scene(rt.scene.simple_street_canyon, merge_shapes=True)
    return Sionna(scene, CANYON_SITES, TracingConfig(**{**options, **tracing}))  # type: ignore[arg-type]


def _positions(device: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(CHECK_POSITIONS, device=device)


def _gradient(sim: Sionna, position: Tensor, material: Tensor) -> Tensor:
    name = next(name for name in sim.parameters if name.endswith("relative_permittivity"))
    position = position.detach().requires_grad_()
    gain = sim.trace(position, **{name: material}).gain()
    return torch.autograd.grad(gain.clamp(min=1e-20).log().sum(), position)[0]


def _require(condition: bool, text: str) -> str:
    if not condition:
        raise ArithmeticError(text)
    return text


def _require_alike(one: Tensor, other: Tensor, limit: float = MAX_RELATIVE_ERROR) -> str:
    error = float(((one.cpu() - other.cpu()).abs() / other.cpu().abs().clamp(min=1e-30)).max())
    return _require(error <= limit, f"{error:.1e} relative difference, limit {limit:.0e}")


def _hardware() -> str:
    return str(runtime.ensure_runtime()) if on_gpu() else f"{NEEDS_GPU}; this is {runtime.ensure_runtime()}"


def _device() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    if not on_gpu():
        return NEEDS_GPU
    return f"{torch.cuda.get_device_name(DRJIT_DEVICE)}; CUDA_VISIBLE_DEVICES {visible}"


def _maps() -> str:
    errors = map_errors()
    worst = {name: error for name, error in errors.items() if not error <= ERROR_LIMITS[name]}
    return _require(not worst, f"{worst or 'empty space, and a screen that shadows'}")


def _diffraction() -> str:
    without, bent = (_canyon(diffraction=d, max_depth=1).radio_map(CHECK_GRID) for d in (False, True))
    more = float(bent.known.float().mean() - without.known.float().mean())
    return _require(more > 0, f"{more:.1%} more pixels are known than without")


def _atlas() -> str:
    sim = _canyon(samples=30_000)  # fewer miss a weak path that the atlas has
    searched = sim.path_gain(_positions())
    atlas = sim.build_atlas(AtlasConfig(rays=100_000, depth=2, settle=0, audit=0), CHECK_GRID)
    _require(len(atlas.walls) > 0, f"{len(atlas.walls)} chains")
    return f"{len(atlas.walls)} chains; {_require_alike(sim.path_gain(_positions()), searched)}"


def _trees() -> str:
    crowns = torch.zeros(CHECK_GRID.shape, device="cpu")
    crowns[4, 4] = 10.0  # m, over 0 to 16 m in x and y
    canopy = Canopy.of_rasters(CHECK_GRID, 0 * crowns, crowns)
    ends = (torch.tensor([[x, 8.0, 5.0]], device=DRJIT_DEVICE) for x in (-20.0, 40.0))
    return _require_alike(lengths_in_canopy(canopy, *ends), torch.tensor([16.0], device="cpu"))


def _follows_positions() -> str:
    sim, material = _canyon(), torch.tensor(5.0, device="cpu")
    expected = _gradient(sim, _positions(), material)
    if not on_gpu():
        return f"on the CPU; elsewhere: {NEEDS_GPU}"
    found = _gradient(sim, _positions("cuda"), material)
    _require(found.device.type == "cuda", f"the gradient lies on {found.device}")
    return _require_alike(found, expected)


def _default_device() -> str:
    sim = _canyon()
    expected = sim.path_gain(_positions())
    with torch.device("cuda" if on_gpu() else "meta"):
        return _require_alike(sim.path_gain(_positions()), expected)


def _streams() -> str:
    if not on_gpu():
        return NEEDS_GPU
    sim, errors = _canyon(), []
    expected = sim.path_gain(_positions())
    for _ in range(20):
        with torch.cuda.stream(torch.cuda.Stream()):
            busy = torch.ones(4096, 4096, device="cuda")
            position = _positions("cuda") + 0 * (busy @ busy).sum()  # known only when the product is
            errors.append(_require_alike(2 * sim.path_gain(position) / 2, expected))
    return errors[-1]


def _threads() -> str:
    sim = _canyon()
    values = [torch.tensor(value, device="cpu") for value in (2.0, 20.0)]
    expected = [_gradient(sim, _positions(), value) for value in values]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda k: _gradient(sim, _positions(), values[k % 2]), range(10)))
    return [_require_alike(gradient, expected[k % 2]) for k, gradient in enumerate(found)][-1]


def _autocast() -> str:
    sim = _canyon()
    expected = sim.path_gain(_positions())
    with torch.autocast(DRJIT_DEVICE.type, torch.bfloat16):
        return _require_alike(sim.path_gain(_positions(DRJIT_DEVICE)), expected, 1e-6)


def _memory() -> str:
    sim, before = _canyon(memory=0.3, samples=30_000, chunk=64), memory.free_memory()
    sim.path_gain(_positions().repeat(64, 1))
    taken = (before - memory.free_memory()) / 1e9
    text = f"{max(taken, 0.0):.2f} GB were taken of 0.3 GB"
    return _require(taken < 1.0, text) if on_gpu() else f"{text}, and by other programs; {NEEDS_GPU}"


def _as_on_the_cpu() -> str:
    code = "import json; from sim_bridge.diagnostics import gpu_check; print(json.dumps(gpu_check.gains()))"
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    on_cpu = torch.tensor(json.loads(done.stdout.splitlines()[-1]), device="cpu")
    found = torch.tensor(gains(), device="cpu")
    return f"{_require_alike(found, on_cpu, 1e-3)} ({time.perf_counter() - start:.0f} s)"
