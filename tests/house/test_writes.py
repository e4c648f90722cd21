"""Files are written by `uel.core.io` alone, and folders are removed by `uel.core.files.own_folders`: whole or not at
all, and nothing that is not ours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers.source_code import modules, tree_of

WRITING_METHODS = {
    "write_text", "write_bytes", "savefig", "to_csv", "to_parquet", "to_file", "to_zarr", "tofile",
    "copyfile", "copy2", "copytree", "move", "symlink_to", "hardlink_to",
}  # fmt: skip
WRITING_CALLS = {
    "torch.save",
    "torch.export.save",
    "np.save",
    "np.savez",
    "np.savez_compressed",
    "np.savetxt",
    "json.dump",
}
REMOVING_CALLS = {"shutil.rmtree", "os.remove", "os.unlink", "os.removedirs", "os.rmdir", "os.rename", "os.replace"}
STAGES = {"staged_file", "staged_named_file", "staged_folder", "TemporaryDirectory"}
"""blocks in which a path is written that is not in its place yet"""
WRITERS = {"uel.core.io"}
REMOVERS = {"uel.core.io", "uel.core.files.own_folders"}
IN_MEMORY = {"stream", "buffer"}  # what a `BytesIO` or `StringIO` is called
ALLOWED = {
    "uel.inference.fix_files": "paths come from an ExitStack of staged_file",
    "uel.measurement.logs.rules.rejections": "paths come from an ExitStack of staged_file",
    "uel.core.tables.text_files": "a decoded copy, in a temporary folder of the caller",
    "explorer.map_view.picture_files": "in memory",
}


def calls(tree: ast.AST, in_stage: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    """Every call, and whether it stands in a block of `STAGES`."""
    for node in ast.iter_child_nodes(tree):
        inside = in_stage
        if isinstance(node, ast.With):
            names = {
                name.id for item in node.items for name in ast.walk(item.context_expr) if isinstance(name, ast.Name)
            }
            names |= {
                n.attr for item in node.items for n in ast.walk(item.context_expr) if isinstance(n, ast.Attribute)
            }
            inside = in_stage or bool(names & STAGES)
        if isinstance(node, ast.Call):
            yield node, inside
        yield from calls(node, inside)


def _last_name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def is_write(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    first = ast.unparse(call.args[0]) if call.args else ""
    if last == "open":
        modes = [arg.value for arg in [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
                 if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]  # fmt: skip
        return any(mode and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
    if name in WRITING_CALLS or (isinstance(call.func, ast.Attribute) and last in WRITING_METHODS):
        return first not in IN_MEMORY
    return False


def test_every_write_is_whole() -> None:
    in_place = [
        f"{module}:{call.lineno}: {ast.unparse(call)}"
        for module, file in modules().items()
        if module not in WRITERS | ALLOWED.keys()
        for call, inside in calls(tree_of(file))
        if is_write(call) and not inside
    ]
    assert in_place == [], "use replace_file, fill_file or a staged_… block of uel.core.io"


def test_every_removal_asks_for_our_mark() -> None:
    unasked = [
        f"{module}:{call.lineno}: {ast.unparse(call)}"
        for module, file in modules().items()
        if module not in REMOVERS
        for call, _ in calls(tree_of(file))
        if ast.unparse(call.func) in REMOVING_CALLS
    ]
    assert unasked == [], "use remove_own_folder of uel.core.files.own_folders"


@pytest.mark.parametrize(
    "line",
    ["path.write_text('a')", "path.open('w')", "open(path, 'ab')", "torch.save(x, path)", "np.savez(path, a=1)",
     "table.to_csv(path)", "path.open(mode='x')", "json.dump(a, file)", "figure.savefig(path)"],
)  # fmt: skip
def test_the_rule_sees_a_write(line: str) -> None:
    assert next(is_write(call) for call, _ in calls(ast.parse(line)))


@pytest.mark.parametrize("line", ["path.open()", "open(path, 'rb')", "figure.savefig(stream)", "zarr.open_group(p)"])
def test_the_rule_lets_others_pass(line: str) -> None:
    assert not [call for call, _ in calls(ast.parse(line)) if is_write(call)]


def test_the_rule_knows_stages() -> None:
    text = "with staged_file(a) as file, file.open('w') as stream:\n    file.write_text('a')"
    assert all(inside for call, inside in calls(ast.parse(text)) if is_write(call) and call.lineno > 1)


def test_allowed_modules_are_there() -> None:
    assert [name for name in ALLOWED if not (ROOT / Path(*name.split("."))).with_suffix(".py").is_file()] == []
