"""Execute the examples and write them as notebooks with their outputs: `make examples`.

Each `examples/NAME.py` is a script in the percent format; `NAME.ipynb` beside it is made of it. Examples run in a
temporary folder, one after the other.

    python examples/make_notebooks.py                         # all
    python examples/make_notebooks.py 01_first_radio_map      # one
"""

import argparse
import base64
import os
import resource
import tempfile
import time
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

EXAMPLES_FOLDER = Path(__file__).resolve().parent
PARAMETERS_TAG = "parameters"  # of the cell with an example's sizes
START_TIMEOUT, CELL_TIMEOUT = 300, 1800  # s
FIGURE_DPI = 75


def example_files() -> list[Path]:
    """The scripts of all examples."""
    return sorted(EXAMPLES_FOLDER.glob("[0-9]*.py"))


def read_example(file: Path, parameters: str = "") -> nbformat.NotebookNode:
    """A script as a notebook without outputs; `parameters` are lines that follow those of its parameters cell."""
    notebook = jupytext.read(file)
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python"},
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if parameters and PARAMETERS_TAG in cell.metadata.get("tags", []):
            cell.source += f"\n{parameters}"
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells in a folder; raises `CellExecutionError` at the first cell that fails."""
    start = folder / ".ipython" / "profile_default" / "startup"
    start.mkdir(parents=True, exist_ok=True)
    settings = f"import matplotlib\n\nmatplotlib.rcParams['figure.dpi'] = {FIGURE_DPI}\n"
    (start / "figures.py").write_text(settings, encoding="utf-8")
    # A bar has no place in a finished notebook.
    environment = os.environ | {"IPYTHONDIR": str(folder / ".ipython"), "TQDM_DISABLE": "1"}
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, startup_timeout=START_TIMEOUT, resources=resources)
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = _smaller_png(data["image/png"])


def _smaller_png(encoded: str) -> str:
    """A picture of at most 256 colours: a third of the bytes."""
    picture = Image.open(BytesIO(base64.b64decode(encoded))).convert("RGB")
    stream = BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(stream, format="png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def make_notebook(file: Path) -> Path:
    """Execute an example, and write its notebook beside it."""
    notebook = read_example(file)
    with tempfile.TemporaryDirectory(prefix="uel-example-") as folder:
        execute(notebook, Path(folder))
    target = file.with_suffix(".ipynb")
    target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Make the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description="Execute examples and write their notebooks.")
    parser.add_argument("names", nargs="*", help="examples without .py; default: all")
    names = parser.parse_args().names
    unknown = set(names) - {file.stem for file in example_files()}
    if unknown:
        parser.error(f"no such example: {', '.join(sorted(unknown))}; choose from {[f.stem for f in example_files()]}")
    for file in example_files():
        if not names or file.stem in names:
            start, before = time.perf_counter(), _cpu_seconds()
            target = make_notebook(file)
            seconds, cpu, size = time.perf_counter() - start, _cpu_seconds() - before, target.stat().st_size
            print(f"{target.name}: {seconds:.0f} s ({cpu:.0f} CPU s), {size / 1e3:.0f} kB", flush=True)


def _cpu_seconds() -> float:
    """Of the kernels that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
