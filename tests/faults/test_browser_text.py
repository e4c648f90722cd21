"""Text from files in the browser: it is shown letter by letter, calls nothing, and one odd folder ends nothing."""

import asyncio
import html
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from explorer.analysis.artefact_index import TileArtefacts, find_artefacts
from explorer.analysis.study_index import find_calibrations
from explorer.app.content_policy import CONTENT_POLICY, ContentPolicy, install_content_policy
from explorer.app.plain_text import code_block, plain
from explorer.map_view.ground_image import Legend
from tests.helpers.artefacts import make_artefacts

TEXTS = {
    "a picture": "![](https://example.org/a.png)",
    "a picture by reference": "![a][b]",
    "a link": "[paris](https://example.org)",
    "an address": "<https://example.org>",
    "a letter to somebody": "<a@example.org>",
    "HTML": "<img src=x onerror=alert(1)>",
    "a script": "</code><script>alert(1)</script>",
    "code": "`rm -rf ~`",
    "a code fence": "```\nx\n```",
    "a heading": "# paris",
    "two lines": "paris\n\n# x",
    "bold": "**paris** __lyon__",
    "italic": "*paris* _lyon_",
    "struck out": "~~paris~~",
    "a table": "a|b\n-|-\n1|2",
    "a quote": "> paris",
    "an entity": "&lt;b&gt; &amp; &#128512;",
    "a backslash": "\\*paris\\*",
    "a formula": "$E = mc^2$",
    "a colour": ":red[paris]",
    "an icon": ":material/home: :smile:",
    "a footnote": "paris[^1]",
    "letters of other scripts": "Zürich 東京 Москва",
    "an ordinary name": "munich-3.5GHz",
}


@pytest.mark.parametrize("name", TEXTS)
def test_markdown_shows_a_text_letter_by_letter(name: str) -> None:
    from markdown_it import MarkdownIt

    text = TEXTS[name]
    shown = (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(f"Source: {plain(text)}.")
    )
    assert shown == f"<p>Source: {html.escape(' '.join(text.split()), quote=False).replace(chr(34), '&quot;')}.</p>\n"


@pytest.mark.parametrize("name", TEXTS)
def test_what_streamlit_adds_to_markdown_is_escaped(name: str) -> None:
    """Colours, icons and formulas begin with a colon or a dollar sign, which a backslash disarms."""
    shown = plain(TEXTS[name])
    assert all(shown[at - 1] == "\\" for at, letter in enumerate(shown) if letter in ":$")


@pytest.mark.parametrize("text", ["uel demo", "uel place 'a`b'", "x\n```\n# y", "````"])
def test_a_command_stays_in_its_block(text: str) -> None:
    from markdown_it import MarkdownIt

    shown = MarkdownIt("commonmark").render(code_block(text))
    assert shown == f"<pre><code>{html.escape(text, quote=False)}\n</code></pre>\n"


@pytest.mark.parametrize("text", [TEXTS["HTML"], TEXTS["a script"], "a & b"])
def test_a_legend_is_no_html(text: str) -> None:
    legend = Legend(title=text, unit=text, names={text: (1, 2, 3)}).html
    assert text not in legend
    assert legend.count(html.escape(text)) == 3


# ---- commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b", "a;ls", "$(ls)", "a'b", "a\nb", "-rf", "`ls`", "a&b", "ö"])
def test_commands_are_words_of_a_shell(name: str) -> None:
    tile = TileArtefacts(name, Path("/data") / name, "0" * 16)
    for what, command in tile.missing:
        words = shlex.split(command)
        assert words[:3] == ["uel", {"sites": "place", "radio map": "map", "survey": "survey"}[what], f"/data/{name}"]
        assert what != "survey" or words[3:] == ["--out", f"data/surveys/{name}"]


# ---- the header -----------------------------------------------------------------------------------------


def test_every_answer_has_the_policy() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(ContentPolicy(app)({"type": "http"}, None, send))
    assert dict(sent[0]["headers"]) == {b"a": b"b", b"content-security-policy": CONTENT_POLICY.encode()}
    assert "img-src 'self' data: blob:;" in CONTENT_POLICY


def test_the_server_is_given_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.web.server.starlette import starlette_app

    monkeypatch.setattr(starlette_app, "create_streamlit_middleware", starlette_app.create_streamlit_middleware)
    install_content_policy()
    assert starlette_app.create_streamlit_middleware()[0].cls is ContentPolicy


# ---- one odd folder -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_artefacts(tmp_path_factory.mktemp("whole"))
    (root / "data").mkdir()
    for kind in ("tile", "map", "surveys"):
        (root / kind).rename(root / "data" / kind)
    return root


ODD_FILES = {
    "attributes are a list": ("radiomap.zarr/zarr.json", {"attributes": []}),
    "attributes are null": ("radiomap.zarr/zarr.json", {"attributes": None}),
    "a map that is a list": ("radiomap.zarr/zarr.json", [1]),
    "tiles are a list": ("survey.json", {"tiles": [1]}),
    "tiles are null": ("survey.json", {"tiles": None}),
    "tiles are numbers": ("survey.json", {"tiles": {"a": 1}}),
    "a survey that is a text": ("survey.json", "x"),
    "a tile of no name": ("tile.json", {"name": None}),
    "a tile that is a number": ("tile.json", 5),
    "a tile of a list": ("tile.json", {"name": ["a"], "files": 3}),
    "a run that names a number": ("run.json", {"deployment": 5}),
    "a run that names a list": ("run.json", {"deployment": {"tile": [], "radio": {}}}),
    "a run of version 0.1": ("artefacts.json", {"test": 3}),
}


@pytest.mark.parametrize("name", [*ODD_FILES, "100 000 deep", "zeros", "stage of a text", "a folder without rights"])
def test_one_odd_folder_ends_nothing(name: str, whole: Path, tmp_path: Path) -> None:
    """What cannot be read is told among the problems, or left out; the others are there."""
    root = tmp_path / "copy"
    shutil.copytree(whole, root)
    odd = root / "data" / "odd"
    (odd / "radiomap.zarr").mkdir(parents=True)
    if name in ODD_FILES:
        file, content = ODD_FILES[name]
        (odd / file).write_text(json.dumps(content))
        (odd / "locator.pt").write_bytes(b"") if file in ("run.json", "artefacts.json") else None
    elif name == "100 000 deep":
        for file in ("tile.json", "survey.json", "radiomap.zarr/zarr.json"):
            (odd / file).write_text('{"a":' * 100_000)
    elif name == "zeros":
        for file in ("tile.json", "survey.json", "radiomap.zarr/zarr.json"):
            (odd / file).write_bytes(b"\0" * 100)
    elif name == "stage of a text":
        (odd / "radiomap.zarr" / "zarr.json").write_text("{}")
        (odd / "stage.json").write_text('{"key": "x"}')
    else:
        odd.chmod(0)
    index = find_artefacts(None, root / "data", root / "runs")
    odd.chmod(0o700)
    toys = [tile for tile in index.tiles if tile.name.startswith("toy")]  # the map's, and the survey's
    assert [sum(len(tile.maps) for tile in toys), sum(len(tile.surveys) for tile in toys)] == [1, 1]
    assert [run.name for run in index.runs if run.name == "small"] == ["small"]


@pytest.mark.parametrize("content", ["[1]", "null", '{"parameters": 3}', '{"parameters": [1]}', "{" * 9999, ""])
def test_an_odd_study_ends_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "calibration.json").write_text(content)
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "calibration.json").write_text('{"parameters": [{"parameter": "tilt_deg"}]}')
    studies, _ = find_calibrations(tmp_path)
    assert [study.name for study in studies] == ["sound"]
