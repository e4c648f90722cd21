"""The structure of the packages: no circle, imports that run down, folders that can be kept in mind, one home a
name."""

import ast
from collections import Counter, defaultdict

import pytest

from tests.conftest import ROOT
from tests.helpers.source_code import PACKAGES, circles, definitions, imports_of, modules

MODULES_PER_FOLDER = 12
# From the bottom up; modules of one floor do not import each other's sub-packages.
FLOORS = {
    "uel": [
        {"errors", "deprecated_names", "threads"},
        {"extras"},
        {"_lazy"},
        {"core"},
        {"config"},
        {"radio"},
        {"geo"},
        {"measurement", "mobility"},
        {"estimation", "survey"},
        {"conversion", "plots"},
        {"models", "results"},
        {"prediction"},
        {"adaptation"},
        {"inference"},
        {"verbs"},
        {"cli"},
    ],
    "sim_bridge": [
        {"backend"},
        {"chains", "engines"},
        {"scene"},
        {"paths", "radio_maps"},
        {"free_space", "simulator"},
        {"registry"},
        {"channel", "diagnostics"},
        {"cuda_check"},
        {"survey", "deepmimo"},
        {"commands"},
    ],
    "scenes": [
        {"osm", "perturbation"},
        {"config", "materials"},
        {"mesh"},
        {"sites", "scene_files", "height_rasters"},
        {"tiles", "measured_networks"},
        {"variants", "export"},
        {"builder"},
        {"command", "network_tile"},
    ],
    "training": [
        {"cache"},
        {"data"},
        {"pipeline", "locator", "level_maps"},
        {"evaluation", "calibration", "measured_networks", "antennas", "residuals"},
        {"ablation"},
        {"commands"},
    ],
    "explorer": [{"style"}, {"figures"}, {"map_view"}, {"analysis", "reports"}, {"notebook_map"}, {"app"}],
    "configs": [],
}


def test_no_modules_import_each_other():
    assert circles() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_run_down(package):
    floor = {part: number for number, parts in enumerate(FLOORS[package]) for part in parts}
    upward = []
    for name in modules():
        parts = name.split(".")
        if parts[0] != package or len(parts) == 1:
            continue
        assert parts[1] in floor, f"{name}: add {parts[1]!r} to FLOORS[{package!r}]"
        for other in imports_of(name):
            target = other.split(".")
            if target[0] == package and len(target) > 1 and target[1] != parts[1]:
                upward += [f"{name} imports {other}"] if floor[target[1]] >= floor[parts[1]] else []
    assert upward == []


def test_folders_are_small():
    count = Counter(file.parent.relative_to(ROOT) for file in modules().values() if file.name != "__init__.py")
    assert {str(folder): n for folder, n in count.items() if n > MODULES_PER_FOLDER} == {}


def test_no_class_name_stands_twice():
    homes = defaultdict(list)
    for name, node in definitions(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        homes[node.name.lstrip("_")].append(name)
    assert {cls: places for cls, places in homes.items() if len(places) > 1} == {}


def test_no_test_imports_from_a_test():
    offending = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                offending += (
                    [f"{file.relative_to(ROOT)}: {node.module}"] if any(n[:5] == "test_" for n in names) else []
                )
    assert offending == []


def test_tests_mirror_the_packages():
    """A folder of tests is named as the package that it tests."""
    own = {"bad_input", "bench", "faults", "golden", "helpers", "house", "parity"}
    for folder in (ROOT / "tests").rglob("*"):
        parts = folder.relative_to(ROOT / "tests").parts
        if folder.is_dir() and "__pycache__" not in parts and parts[0] not in own:
            assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir(), folder
