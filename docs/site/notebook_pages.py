"""Pages of the examples: notebooks with their outputs, as Markdown."""

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def notebook_page(script: Path) -> str:
    """The page of an example: of its notebook with all outputs, or of the script where no notebook is there yet."""
    notebook = script.with_suffix(".ipynb")
    parts = _notebook_parts(notebook) if notebook.is_file() else _script_parts(script)
    links = f"[{script.name}]({script.name})" + (f", [{notebook.name}]({notebook.name})" if notebook.is_file() else "")
    return "\n\n".join([*parts, f"To run it: {links}."])


def _script_parts(script: Path) -> Iterator[str]:
    """Cells of a script in the percent format."""
    cells = re.split(r"^# %%(.*)\n", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for mark, text in zip(cells[1::2], cells[2::2], strict=True):
        yield re.sub(r"^# ?", "", text, flags=re.MULTILINE) if "[markdown]" in mark else _code(text)


def _notebook_parts(notebook: Path) -> Iterator[str]:
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else _code(text)
        for output in cell.get("outputs", ()):
            yield _output(output)


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"


def _output(output: Mapping[str, Any]) -> str:
    """What a cell has shown: a picture, a table, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f'<img alt="figure" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"])}</div>'.replace("\n\n", "\n")
    return f'<pre class="output">{html.escape("".join(data["text/plain"]))}</pre>'
