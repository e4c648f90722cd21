"""Bytes from outside are read in one place: every parser of files is called by `uel.core.outside`, or is listed here
with its reason."""

import ast

import pytest

from tests.helpers.source_code import modules, tree_of

PARSERS = {
    "json.loads", "json.load", "yaml.load", "yaml.safe_load", "yaml.compose", "torch.load", "np.load", "pickle.load",
    "pickle.loads", "zarr.open", "zarr.open_group", "zarr.open_array", "gzip.open", "bz2.open", "lzma.open",
    "zipfile.ZipFile", "tarfile.open", "rasterio.open", "ElementTree.parse", "ElementTree.fromstring",
    "ElementTree.iterparse", "pd.read_csv", "pd.read_json", "pd.read_excel", "load_ply",
}  # fmt: skip
READERS_ELSEWHERE = {
    "uel.measurement.report_io json.loads": "strict reader of its own: size, depth and digits are bounded before",
    "uel.inference.fix_files pd.read_csv": "a table that the same function wrote",
    "uel.core.tables.small_tables pd.read_csv": "of the bounded stream",
    "sim_bridge.backend.runtime json.loads": "lines of a process of ours",
    "sim_bridge.diagnostics.doctor json.loads": "a line of a process of ours",
    "sim_bridge.diagnostics.gpu_check json.loads": "a line of a process of ours",
    "explorer.map_view.deck_gl json.loads": "what pydeck wrote a line before",
    "scenes.osm.files.osm_xml ElementTree.iterparse": "a stream of a bounded file, an element at a time",
    "scenes.osm.files.formats zipfile.ZipFile": "names of a bounded archive",
    "scenes.scene_files.mitsuba_reader ElementTree.iterparse": "the name of the root alone",
    "scenes.scene_files.shape_meshes load_ply": "what trimesh raises becomes an error, indices are checked",
    "scenes.mesh.raster_files rasterio.open": "the one reader of rasters",
}


def _name(node: ast.expr) -> str:
    """`module.function` of a call, by its last two names."""
    if isinstance(node, ast.Attribute):
        above = node.value
        return f"{above.attr if isinstance(above, ast.Attribute) else getattr(above, 'id', '')}.{node.attr}"
    return getattr(node, "id", "")


def _is_of_own_making(call: ast.Call) -> bool:
    """Whether a call parses what `json.dumps` has just written, or opens a file to write it."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Call) and _name(first.func) == "json.dumps":
        return True
    modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and mode.value == "w" for mode in modes)


def _calls(tree: ast.AST) -> list[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) in PARSERS]
    return [_name(call.func) for call in calls if not _is_of_own_making(call)]


def test_files_are_parsed_by_one_package():
    found = {
        f"{name} {parser}"
        for name, file in modules().items()
        if not name.startswith("uel.core.outside.")
        for parser in _calls(tree_of(file))
    }
    assert found - set(READERS_ELSEWHERE) == set(), "read it by a module of uel/core/outside"
    assert set(READERS_ELSEWHERE) - found == set(), "no longer there: leave it out of the list"


@pytest.mark.parametrize(
    "line", ["json.loads(path.read_text())", "torch.load(f, weights_only=True)", "zarr.open_group(p, mode='r')"]
)
def test_the_rule_can_be_broken(line: str):
    assert len(_calls(ast.parse(line))) == 1


SINKS = {"markdown", "caption", "info", "warning", "error", "subheader", "header", "title", "expander", "success"}
ESCAPES = {"plain", "code_block", "len", "int", "tier_label", "term_help"}


def _unescaped(node: ast.expr) -> list[str]:
    """Parts of a text for Streamlit that are neither constant, escaped, nor a formatted number."""
    if isinstance(node, ast.JoinedStr):
        values = [v for v in node.values if isinstance(v, ast.FormattedValue) and v.format_spec is None]
        return [ast.unparse(v.value) for v in values if not _is_escaped(v.value)]
    if isinstance(node, ast.Constant) or _is_escaped(node):
        return []
    return [ast.unparse(node)]


def _is_escaped(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func).rpartition(".")[2] in ESCAPES


# Texts of this project's own, or numbers.
OWN_TEXTS = {
    "note", "config.depth", "tiles", "runs", "' · '.join(links)", "number", "phone",
    "f'**{position[0]:.1f} m east, {position[1]:.1f} m north**'.replace('-', '−')",
    "'\\n\\n'.join([f'**{plain(what)}**', *map(plain, more)])",
    "MAX_UPLOAD_MB", "report_io.SCHEMA",
}  # fmt: skip


def test_texts_of_files_are_escaped_on_pages():
    found = []
    for name, file in modules().items():
        if name.startswith("explorer.app"):
            for node in ast.walk(tree_of(file)):
                is_sink = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
                if is_sink and node.func.attr in SINKS and getattr(node.func.value, "id", "") == "st":
                    found += [f"{name}:{node.lineno} {part}" for part in _unescaped(node.args[0])]
    assert [line for line in found if line.partition(" ")[2] not in OWN_TEXTS] == []
