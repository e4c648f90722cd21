"""A library that an extra brings is named with it where it is missing."""

import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT
from tests.helpers.source_code import PACKAGES
from uel.extras import EXTRA_OF_LIBRARY, MissingExtraError, explained_imports

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
BLOCKED = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {libraries!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def without_extras(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that finds no library of any extra."""
    program = BLOCKED.format(libraries=set(EXTRA_OF_LIBRARY)) + code
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_libraries_stand_in_the_extra_that_the_project_declares():
    declared = {
        re.split(r"[\[<>=]", requirement)[0]: extra
        for extra in ("sim", "scenes", "train", "explore")
        for requirement in EXTRAS[extra]
    }
    declared.pop("uel"), declared.pop("sionna-rt")
    brought = {"mitsuba", "drjit"}  # sionna-rt pins them
    assert {library: extra for library, extra in EXTRA_OF_LIBRARY.items() if library not in brought} == declared


@pytest.mark.parametrize("library", ["rasterio", "sionna", "lightning", "streamlit"])
def test_a_missing_library_is_named_with_its_extra(library):
    with pytest.raises(MissingExtraError) as caught, explained_imports():
        raise ModuleNotFoundError(name=f"{library}.part")
    assert f"got: {library}\n" in str(caught.value)
    assert f'pip install "uel[{EXTRA_OF_LIBRARY[library]}]"' in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_a_module_of_no_extra_raises_as_ever():
    with pytest.raises(ModuleNotFoundError, match="elsewhere"), explained_imports():
        raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")


def test_the_packages_and_a_free_space_simulator_need_no_extra():
    code = """
import configs, explorer, scenes, sim_bridge, torch, training, uel
sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
reports = uel.ObservationModel().observe(
    radio.pixel_truth(torch.zeros(1, 2)), uel.reference_power_dbm(sites), torch.Generator().manual_seed(0)
)
assert reports.heard.all() and uel.Locator and uel.Tile and uel.Survey
for package, name in ((scenes, "build"), (sim_bridge, "Sionna"), (training, "train"), (explorer, "serve")):
    try:
        getattr(package, name)
        print(package.__name__, "needs nothing")
    except ImportError as error:
        print(package.__name__, str(error).splitlines()[-1])
"""
    done = without_extras(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        'scenes   do:  pip install "uel[scenes]"',
        'sim_bridge   do:  pip install "uel[sim]"',
        'training   do:  pip install "uel[train]"',
        "explorer needs nothing",  # the server is another process
    ]


@pytest.mark.parametrize(
    ("arguments", "extra"), [(("build", "munich"), "scenes"), (("train",), "train"), (("explore",), "explore")]
)
def test_a_verb_names_the_extra_that_it_needs(arguments, extra):
    done = without_extras("from uel.cli import main; sys.exit(main(sys.argv[1:]))", *arguments)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f'  do:  pip install "uel[{extra}]"'), done.stderr


def test_help_needs_no_extra():
    done = without_extras("from uel.cli import VERBS, main; [main([verb, '--help']) for verb in sys.argv[1:]]", "build")
    assert "usage: uel build" in done.stdout, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_read_the_annotations_of_every_package(package):
    assert (ROOT / package / "py.typed").is_file()
