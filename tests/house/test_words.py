"""The words of the code: modules by nouns, constants with theirs, messages that show a value and not a
configuration."""

import ast
import re

from tests.conftest import ROOT
from tests.helpers.source_code import definitions, modules, tree_of

# Participles that are the field's own nouns.
MODULE_NAMES_ALLOWED = {"kriging", "ray_launching", "ray_rescoring", "scoring", "training"}
CONSTANTS_ALLOWED = {
    "BOLTZMANN", "EDGE", "DIFFRACTION", "MIRROR", "REFRACTION", "SCATTER", "THROUGH", "NONE",  # kinds of interaction
    "BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "VERMILION", "YELLOW", "RGB", "THEMES",  # colours
    "P", "Q", "R", "T",  # type variables
    "LOCK", "NEVER", "REWEIGHTINGS", "SCHEMA", "TIERS",
}  # fmt: skip


def test_no_module_is_named_by_a_participle():
    names = {name.rpartition(".")[2] for name in modules()}
    assert {name for name in names if re.search(r"(ed|ing)$", name)} - MODULE_NAMES_ALLOWED == set()


def test_constants_carry_their_noun():
    """`CHANNELS_PER_CHUNK` says less than `REPORTS_PER_CHUNK`: a constant of one word is one of a known list."""
    single = set()
    for name, node in definitions(ast.Assign):
        assert isinstance(node, ast.Assign)
        for target in node.targets:
            for leaf in ast.walk(target):
                if isinstance(leaf, ast.Name) and re.fullmatch(r"[A-Z]+", leaf.id) and leaf.id not in CONSTANTS_ALLOWED:
                    single.add(f"{name}.{leaf.id}")
    assert single == set()


def test_no_message_prints_a_whole_configuration():
    offending = []
    for name, file in modules().items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UelError":
                whole = {"self", "config", "plan", "spec"}
                got = [k.value for k in node.keywords if k.arg == "got"]
                offending += [f"{name}:{node.lineno}" for v in got if isinstance(v, ast.Name) and v.id in whole]
    assert offending == []


def test_every_error_says_what_to_do():
    missing = []
    for name, file in modules().items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                call = node.exc
                if getattr(call.func, "id", "") == "UelError" and call.args and isinstance(call.args[0], ast.Constant):
                    keywords = {keyword.arg for keyword in call.keywords}
                    missing += [] if "do" in keywords or None in keywords else [f"{name}:{node.lineno}"]
    assert missing == []


def test_names_of_the_first_version_live_in_one_module():
    """Old codes are accepted by `uel.deprecated_names` and known nowhere else."""
    code = re.compile(r"[\"'](M[0-5]|T[0-3]a?|locator\+(map|rt|retraced)|grid_(mended|retraced))[\"']")
    found = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for name, file in modules().items()
        if name != "uel.deprecated_names"
        for match in code.finditer(file.read_text(encoding="utf-8"))
    ]
    assert found == []
