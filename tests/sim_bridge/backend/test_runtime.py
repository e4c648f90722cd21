"""The gate before Dr.Jit: what it chooses, and what it says when there is nothing to choose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim_bridge.backend import runtime
from sim_bridge.backend.gpus import GpuProbe, visible_gpus
from sim_bridge.backend.runtime import (
    Library,
    Runtime,
    choose_runtime,
    find_llvm_libraries,
    install_hint,
    probe_devices,
    require_version,
)
from uel.errors import UelError

OLD = [Library("/lib/libLLVM-15.so.1", -1), Library("/lib/libLLVM-14.so.1", -1)]
NEW = Library("/lib/libLLVM.so.19.1", 19)
NO_GPU, HOPPER = GpuProbe(), GpuProbe((90,), 12080, True)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch):
    """`ensure` without its memory, and without a library of the user's."""
    monkeypatch.setenv(runtime.LLVM_VARIABLE, "")
    runtime.ensure_runtime.cache_clear()
    yield
    runtime.ensure_runtime.cache_clear()


def test_a_gpu_needs_no_llvm():
    assert choose_runtime(HOPPER, [], None) == Runtime(gpus=1)
    assert choose_runtime(GpuProbe((75, 61), 12020, True), OLD, "/nowhere") == Runtime(gpus=2)


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        (GpuProbe((70, 90), 12080, True), "compute capability 7.5"),
        (GpuProbe((90,), 12010, True), "older than CUDA 12.2"),
        (GpuProbe((90,), 12080, False), "no OptiX"),
    ],
)
def test_a_gpu_that_cannot_trace_is_refused_and_not_replaced(gpus, words):
    with pytest.raises(UelError, match=rf"(?s){words}.*CUDA_VISIBLE_DEVICES="):
        choose_runtime(gpus, [NEW], None)


def test_metal_is_never_chosen():
    assert Runtime(llvm=NEW).variant.startswith("llvm")
    assert Runtime(gpus=1).variant.startswith("cuda")


def test_a_rank_sees_its_own_gpu_of_those_that_its_job_sees(monkeypatch):
    monkeypatch.setattr(runtime, "probe_devices", lambda paths: (GpuProbe((90, 90), 12080, True), []))
    job = {"LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,GPU-7f"}
    for _ in range(2):  # the second time nothing happens
        runtime.use_gpu_of_rank(job)
        assert job["CUDA_VISIBLE_DEVICES"] == "GPU-7f"
    slurm = {"SLURM_LOCALID": "1", "SLURM_NTASKS": "2"}
    runtime.use_gpu_of_rank(slurm)
    assert slurm["CUDA_VISIBLE_DEVICES"] == "1"
    for alone in ({}, {"SLURM_LOCALID": "0", "SLURM_NTASKS": "1", "CUDA_VISIBLE_DEVICES": "2,3"}):
        before = dict(alone)
        runtime.use_gpu_of_rank(alone)
        assert alone == before


def test_visible_gpus_have_their_names():
    assert visible_gpus({}, 2) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, 5"}, 2) == ["3", "5"]


def test_the_newest_usable_library_is_chosen():
    sixteen = Library("/lib/libLLVM-16.so.1", 16)
    assert choose_runtime(NO_GPU, [*OLD, sixteen, NEW], None).llvm == NEW
    assert choose_runtime(NO_GPU, [*OLD, sixteen], None).llvm == sixteen


def test_only_14_and_15_is_an_error_that_names_both():
    with pytest.raises(UelError, match=r"(?s)version 16.*libLLVM-15.*libLLVM-14.*do: ") as error:
        choose_runtime(NO_GPU, OLD, None)
    assert "older than 16" in str(error.value)


def test_15_that_tells_its_version_is_not_usable_either():
    with pytest.raises(UelError, match="LLVM 15"):
        choose_runtime(NO_GPU, [Library("/lib/libLLVM-15.so.1", 15)], None)


def test_no_library_is_an_error():
    with pytest.raises(UelError, match="no libLLVM at all"):
        choose_runtime(NO_GPU, [], None)


def test_the_users_old_library_is_refused_and_not_replaced():
    existing = __file__  # any file; its version is what the probe would have said
    with pytest.raises(UelError, match=r"(?s)DRJIT_LIBLLVM_PATH points to an LLVM older than 16.*unset"):
        choose_runtime(NO_GPU, [Library(existing, -1), NEW], existing)


def test_the_users_usable_library_wins_over_a_newer_one():
    own = Library("/own/libLLVM.so", 17)
    assert choose_runtime(NO_GPU, [own, NEW], own.path).llvm == own


def test_the_users_library_that_is_nowhere():
    with pytest.raises(UelError, match="points to no file"):
        choose_runtime(NO_GPU, [NEW], "/nowhere/libLLVM.so")


def test_the_users_library_that_is_something_else():
    with pytest.raises(UelError, match="no loadable LLVM"):
        choose_runtime(NO_GPU, [Library(__file__, 0), NEW], __file__)


@pytest.mark.parametrize(
    ("system", "apt", "words"),
    [("Darwin", False, "brew install llvm"), ("Linux", True, "libllvm19"), ("Linux", False, "dnf install")],
)
def test_install_hint(system, apt, words):
    assert words in install_hint(system, apt)


def test_search_takes_libllvm_and_nothing_like_it(tmp_path, monkeypatch):
    names = ["libLLVM-15.so.1", "libLLVM.so.19.1", "libLLVM-18.so", "libLLVM.dylib"]
    for name in [*names, "libLLVMSupport.a", "libLLVMSPIRVLib.so.15", "libLLVM-15.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "libLLVM-19.so").symlink_to(tmp_path / "libLLVM.so.19.1")
    monkeypatch.setattr(runtime, "LLVM_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(runtime, "_ldconfig", list)
    found = find_llvm_libraries({})
    assert [Path(path).name for path in found] == [
        "libLLVM.so.19.1",
        "libLLVM-18.so",
        "libLLVM-15.so.1",
        "libLLVM.dylib",
    ]
    assert find_llvm_libraries({runtime.LLVM_VARIABLE: "/own.so"}) == ["/own.so", *found]


def test_probe_reports_what_is_no_library(tmp_path):
    text = tmp_path / "libLLVM-99.so"
    text.write_text("not a library")
    assert probe_devices([str(text), "/nowhere"])[1] == [Library(str(text), 0), Library("/nowhere", 0)]


def test_probe_goes_on_behind_a_library_that_crashes_it(monkeypatch):
    calls = []

    def ask(paths):
        calls.append(list(paths))
        before = paths[: paths.index("bad")] if "bad" in paths else paths
        return {"gpus": []} | dict.fromkeys(before, 19)

    monkeypatch.setattr(runtime, "_run_probe", ask)
    assert probe_devices(["a", "bad", "b"]) == (NO_GPU, [Library("a", 19), Library("bad", 0), Library("b", 19)])
    assert calls == [["a", "bad", "b"], ["b"]]


def test_probe_survives_a_real_crash(monkeypatch):
    dies = "import os, sys; print('[\"gpus\", []]', flush=True); os.abort() if sys.argv[1:] else None"
    monkeypatch.setattr(runtime, "_PROBE", dies)
    assert probe_devices(["one", "two"]) == (NO_GPU, [Library("one", 0), Library("two", 0)])


def test_ensure_tells_drjit(fresh, monkeypatch):
    monkeypatch.setattr(runtime, "probe_devices", lambda paths: (NO_GPU, [NEW]))
    assert runtime.ensure_runtime().llvm == NEW
    assert os.environ[runtime.LLVM_VARIABLE] == NEW.path


def test_ensure_leaves_the_environment_alone_on_a_gpu(fresh, monkeypatch):
    monkeypatch.setattr(runtime, "probe_devices", lambda paths: (HOPPER, [NEW]))
    assert runtime.ensure_runtime().gpus == 1
    assert os.environ[runtime.LLVM_VARIABLE] == ""


def test_known_version_of_sionna():
    require_version("2.2.0")
    for other in ("2.3.0", ""):
        with pytest.raises(UelError, match=r"pip install sionna-rt==2\.2\.0"):
            require_version(other)


def test_as_a_program_it_prints_one_line_and_does_not_import_drjit(tmp_path):
    broken = {**os.environ, runtime.LLVM_VARIABLE: str(tmp_path / "libLLVM.so")}
    command = [sys.executable, "-X", "importtime", "-m", "sim_bridge.backend.runtime"]
    done = subprocess.run(command, capture_output=True, text=True, env=broken)
    assert "| drjit" not in done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("import time:")]
    assert len(lines) == 1
    assert (done.returncode, "CUDA" in lines[0]) in {(1, False), (0, True)}
