"""Examples run, at small sizes here, and their notebooks hold what the scripts say, with outputs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from matplotlib import pyplot

from tests.conftest import ROOT

EXAMPLES_FOLDER = ROOT / "examples"
MAX_BYTES = 3_000_000  # of all notebooks
# What replaces the sizes of an example's parameters cell.
SMALL_PARAMETERS = {
    "01_first_radio_map": "size, pixel, rays = 128.0, 8.0, 20_000",
    "02_your_own_city": "rays, count = 20_000, 6",
    "03_gradients_through_a_ray_tracer": "size, points, phones, steps = 128.0, 8, 8, 3",
    "04_antennas_and_materials_from_levels": "size, phones, steps, rays = 128.0, 24, 4, 20_000",
    "05_ray_tracing_or_a_map_in_the_loss": "size, phones, steps, rays, few_rays = 128.0, 4, 2, 20_000, 2000",
    "06_train_and_judge_a_locator": (
        "arguments += ' --size 128 --pixel 8 --training.epochs 1 --training.steps-per-epoch 3 --survey.tracks 8'\n"
        "arguments += ' --evaluation.phones 8 --evaluation.fingerprints 8 --locator.patches 8'"
    ),
    "07_a_measured_network": "side, budgets, draws, phones, shown_labels = 160.0, (0, 20), 1, 4, 20",
    "08_a_survey_of_a_million_reports": "size, tracks, reports, samples = 128.0, 8, 2, 500",
}
NAMES = sorted(file.stem for file in EXAMPLES_FOLDER.glob("[0-9]*.py"))
WITHOUT_NOTEBOOK = {"06_train_and_judge_a_locator"}  # a training of minutes: `make examples` makes it, it is not kept


def notebook_maker() -> ModuleType:
    """`examples/make_notebooks.py`, which is a script of no package."""
    spec = importlib.util.spec_from_file_location("make_notebooks", EXAMPLES_FOLDER / "make_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_example_has_small_sizes_for_tests():
    assert sorted(SMALL_PARAMETERS) == NAMES


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_NOTEBOOK))
def test_a_notebook_is_that_of_its_script_with_all_outputs(name: str) -> None:
    """`make examples` makes it again."""
    stored = nbformat.read(EXAMPLES_FOLDER / f"{name}.ipynb", as_version=4)
    assert sources(stored) == sources(notebook_maker().read_example(EXAMPLES_FOLDER / f"{name}.py"))
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)


def test_an_example_says_what_it_shows_what_it_takes_and_its_limit():
    for name in NAMES:
        text = (EXAMPLES_FOLDER / f"{name}.py").read_text(encoding="utf-8").replace("\n#", "")
        assert text.startswith("# %% [markdown] # "), name
        assert all(word in text for word in ("**What it shows:**", "takes**", "**Its limit:**")), name


def test_notebooks_are_small():
    assert sum(file.stat().st_size for file in EXAMPLES_FOLDER.glob("*.ipynb")) < MAX_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At small sizes, in this process."""
    monkeypatch.chdir(tmp_path)
    notebook = notebook_maker().read_example(EXAMPLES_FOLDER / f"{name}.py", SMALL_PARAMETERS[name])
    space: dict[str, object] = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}, cell {number}", "exec"), space)
    assert pyplot.get_fignums() or name.startswith("06"), "every example draws a figure"
    pyplot.close("all")


@pytest.mark.slow
def test_a_notebook_is_executed_by_a_kernel_as_by_a_reader(tmp_path: Path) -> None:
    """The script that makes notebooks, 15 s."""
    maker = notebook_maker()
    name = "07_a_measured_network"
    notebook = maker.read_example(EXAMPLES_FOLDER / f"{name}.py", SMALL_PARAMETERS[name])
    maker.execute(notebook, tmp_path)
    assert any("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))
