"""Help is at once: the command line imports a framework only when a verb begins to work."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from uel.cli import VERBS

FRAMEWORKS = {
    "torch", "numpy", "scipy", "pandas", "pyarrow", "xarray", "zarr", "matplotlib", "plotly", "lightning", "timm",
    "wandb", "ray", "duckdb", "charset_normalizer",
    "sionna", "mitsuba", "drjit", "shapely", "osmnx", "osmium", "geopandas", "rasterio", "trimesh", "pyproj",
    "streamlit", "pydeck", "jaxtyping",
}  # fmt: skip
HELP = """
import contextlib, io, sys
from uel.cli import main

for verb in sys.argv[1:]:
    text = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        main([verb, "--help"])
    assert "usage: uel " + verb in text.getvalue().replace("\\x1b[1m", ""), text.getvalue()
    print(verb, *{name.partition(".")[0] for name in sys.modules})
"""


def test_help_of_every_verb_imports_no_framework():
    """All in one process: a framework that one verb imported would stay."""
    command = [sys.executable, "-c", HELP, *VERBS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    imported = {line.split()[0]: FRAMEWORKS & set(line.split()) for line in done.stdout.splitlines()}
    assert imported == {verb: set() for verb in VERBS}


@pytest.mark.parametrize("args", [["--help"], ["--version"], []])
def test_the_command_line_starts_light(args):
    code = (
        "import sys; from uel.cli import main; main(sys.argv[1:]);"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(("usage: uel", "uel "))
    assert not (FRAMEWORKS | {"tyro", "rich", "yaml"}) & set(done.stderr.split())
