"""Maps whose answer is known, and what the doctor says of a tracer that meets nothing."""

from importlib.util import find_spec

import sim_bridge.simulator  # noqa: F401  (first: it finds a usable LLVM)
from sim_bridge.diagnostics import map_check
from sim_bridge.diagnostics.doctor import ERROR_LIMITS, backend_checks, error_checks

import mitsuba as mi  # isort: skip


def failures() -> list[str]:
    measured = {"gain_error_rel": 0.0, "gradient_error_rel": 0.0, "seconds": 1.0, **map_check.map_errors()}
    return [check.name for check in error_checks(measured) if not check.ok]


def test_maps_of_empty_space_and_of_a_screen_pass(monkeypatch):
    monkeypatch.setattr(map_check, "RAYS_PER_MAP", 100_000)
    assert failures() == []


def test_a_tracer_that_meets_nothing_fails_every_map(monkeypatch):
    """As a kernel with two scenes on a GPU, whose second trace OptiX leaves out."""
    monkeypatch.setattr(map_check, "RAYS_PER_MAP", 10_000)
    meet = mi.Scene.ray_intersect

    def miss(scene, ray, *args, **options):
        return meet(scene, ray, *args, **{**options, "active": mi.Bool(False)})

    monkeypatch.setattr(mi.Scene, "ray_intersect", miss)
    assert len(failures()) == len([key for key in ERROR_LIMITS if key.startswith("map")])


def test_the_doctor_names_the_check_of_a_gpu():
    (line,) = [check for check in backend_checks() if "cuda_check" in check.value]
    module = line.value.split()[-1]
    assert find_spec(module) is not None
