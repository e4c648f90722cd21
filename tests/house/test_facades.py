"""The public surface: pinned, lazy, and documented by examples that run."""

import doctest
import functools
import importlib
import inspect
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PUBLIC = {
    "uel": {
        "Array", "Carrier", "Cell", "Deployment", "Fix", "FreeSpace", "Grid", "LinkTruth", "Locator",
        "ObservationModel", "RadioMap", "Reports", "Simulator", "Site", "SiteAdaptation", "Survey", "Tile", "TileMaps",
        "UelError", "reference_power_dbm",
    },
    "sim_bridge": {"Atlas", "AtlasConfig", "Sionna", "TracingConfig", "open", "open_empty"},
    "scenes": {"Perturbation", "TileBuildConfig", "build", "perturb_map", "perturb_meshes", "perturb_sites", "place"},
    "training": {
        "AblateConfig", "CalibrateConfig", "DemoConfig", "EvalConfig", "TrainConfig", "ablate", "calibrate", "demo",
        "evaluate", "train",
    },
    "explorer": {"ExploreConfig", "explore", "report", "serve"},
    "configs": {"names", "read"},
}  # fmt: skip
NAMES = [(package, name) for package, names in PUBLIC.items() for name in sorted(names)]


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_pinned_and_exist(package):
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert set(dir(module)) >= PUBLIC[package]
    with pytest.raises(AttributeError, match="nowhere"):
        module.nowhere  # noqa: B018  (the access is the test)


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_public_objects_have_an_example_that_runs(package, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = getattr(importlib.import_module(package), name)
    assert thing.__doc__
    assert "Example:" in thing.__doc__, f"{package}.{name} has no example"
    run_examples(f"{package}.{name}", thing.__doc__)


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_public_methods_and_properties_are_documented(package, name):
    thing = getattr(importlib.import_module(package), name)
    own = (
        [cls for cls in inspect.getmro(thing) if cls.__module__.split(".")[0] in PUBLIC]
        if inspect.isclass(thing)
        else []
    )
    members = {key: member for cls in own for key, member in vars(cls).items() if key[0] != "_"}
    kinds = (property, functools.cached_property, staticmethod, classmethod)
    assert [
        key for key, m in members.items() if (inspect.isfunction(m) or isinstance(m, kinds)) and not m.__doc__
    ] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_examples_of_packages_run(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = importlib.import_module(package).__doc__
    assert document
    assert "Example:" in document
    run_examples(package, document)


def run_examples(name: str, document: str) -> None:
    """Run the `>>>` lines of a docstring; they import what they use."""
    examples = doctest.DocTestParser().get_doctest(document, {}, name, None, 0)
    assert examples.examples, f"{name} has no >>> lines"
    lines: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(examples, out=lines.append)
    assert not lines, "".join(lines)


def test_importing_the_packages_imports_no_framework():
    code = "import sys, " + ", ".join(PUBLIC) + "; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "numpy", "sionna", "drjit", "lightning", "matplotlib", "zarr", "yaml"} & set(
        done.stdout.split()
    )
