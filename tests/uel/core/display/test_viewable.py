"""Objects are one line on a console and facts with a picture in a notebook, and never print their tensors."""

import ast

import pytest
import torch

from tests.helpers.free_space import rough_map, silent
from tests.helpers.measured_networks import toy_network
from tests.helpers.source_code import definitions
from tests.helpers.surveys import made
from tests.helpers.toy_city import toy_deployment
from uel.core.display.short_repr import value_text
from uel.estimation.fix import Fix
from uel.geo.tile import Tile

MAX_LINE = 400  # characters


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("views")
    deployment = toy_deployment(folder / "toy")
    patches = torch.zeros(3, 16)
    fix = Fix(patches.log_softmax(-1), torch.randn(3, 16, 2), torch.eye(2).expand(3, 16, 2, 2))
    return {
        "tile": deployment.tile,
        "radio map": rough_map(),
        "reports": silent(40, 400),
        "fix": fix,
        "survey": made(folder / "survey"),
        "network": toy_network(400),
    }


def test_a_line_says_what_an_object_is(things: dict[str, object]) -> None:
    for name, thing in things.items():
        line = repr(thing)
        assert "\n" not in line, name
        assert len(line) < MAX_LINE, name
        assert line.startswith(f"<{type(thing).__name__}: ")
    assert "reports 40, cells 400, heard 0.0 a report" in repr(things["reports"])


def test_a_notebook_gets_facts_and_a_picture_that_needs_no_network(things: dict[str, object]) -> None:
    for name, thing in things.items():
        page = thing._repr_html_()  # type: ignore[attr-defined]
        assert "<table>" in page, name
        assert "src='data:image/png;base64," in page, name
        assert len(page) < 150_000, name


def test_an_object_that_cannot_be_drawn_still_shows_its_facts() -> None:
    page = silent(0, 3)._repr_html_()
    assert "<img" not in page
    assert "at least one" in page


def test_the_line_of_a_folder_that_is_no_tile_names_the_fault(tmp_path) -> None:
    assert "fault" in repr(Tile(tmp_path))


def test_no_record_of_tensors_prints_its_values() -> None:
    """Records of `uel` with a tensor declare `repr=False`, and have a line of their own."""
    verbose = []
    for module, node in definitions(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        types = [ast.unparse(field.annotation) for field in node.body if isinstance(field, ast.AnnAssign)]
        has_tensor = any("Tensor" in text and "Callable" not in text for text in types)
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        if module.startswith("uel.") and has_tensor and any(d.startswith("dataclass") for d in decorators):
            verbose += [f"{module}.{node.name}"] if not any("repr=False" in d for d in decorators) else []
    assert verbose == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(40, 12), "float32[40, 12]"),
        (torch.zeros(3, dtype=torch.bool), "bool[3]"),
        (list(range(100)), "<list of 100>"),
        ((1, 2), "(1, 2)"),
        ("x" * 100, "'" + "x" * 58 + "…"),
    ],
)
def test_values_are_told_in_a_few_words(value: object, text: str) -> None:
    assert value_text(value) == text
