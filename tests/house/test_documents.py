"""What the documents claim: snippets run, commands are accepted, links lead somewhere, and files stay readable."""

import re
import shlex

import pytest

import uel.config
from tests.conftest import ROOT
from uel import cli

DOCUMENTS = [
    file
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")])
    if file.name != "CHANGELOG.md"
]
SNIPPETS = [
    pytest.param(text, id=f"{file.relative_to(ROOT)}-{number}")
    for file in DOCUMENTS
    for number, text in enumerate(re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL))
]
LONG_WORK = ("scenes.build(", "Locator.load(")  # builds a tile, or needs a trained run


@pytest.mark.parametrize("text", SNIPPETS)
def test_snippets_run(text, tmp_path, monkeypatch, capsys):
    program = compile(text, "snippet", "exec")
    if not any(word in text for word in LONG_WORK):
        monkeypatch.chdir(tmp_path)
        exec(program, {})


class AcceptedError(Exception):
    """A verb's options were read; its work is cut off."""


@pytest.mark.slow  # up to 12 s: the parser of a verb with many options takes a second
@pytest.mark.parametrize(
    "file", [file for file in DOCUMENTS if file.parent.name != "log"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_commands_are_accepted(file, monkeypatch):
    """Each `uel VERB …` of a shell snippet, but for whether its files are there."""
    parse = uel.config.load

    def load(schema, verb, args):
        monkeypatch.setattr(schema, "__post_init__", lambda self: None, raising=False)
        parse(schema, verb, args)
        raise AcceptedError

    monkeypatch.setattr(uel.config, "load", load)
    for text in re.findall(r"```sh\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL):
        lines = text.replace("\\\n", " ")
        for verb, arguments in re.findall(r"^(?:\.venv/bin/)?uel ([a-z-]+)(.*)$", lines, re.MULTILINE):
            if verb in cli.VERBS:
                with pytest.raises(AcceptedError):
                    cli.VERBS[verb](shlex.split(arguments, comments=True))
            else:
                assert verb in cli.OTHER_COMMANDS, verb


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_to_files(file):
    text = file.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [t for t in targets if "://" not in t and not t.startswith("mailto:") and not (file.parent / t).exists()]
    assert missing == []


def test_documents_are_short():
    assert {str(file.relative_to(ROOT)): size for file in DOCUMENTS if (size := file.stat().st_size) > 30_000} == {}


@pytest.mark.parametrize("name", ["README", "EVALUATION", "GLOSSARY", "ARCHITECTURE", "EXTENDING", "CONTRIBUTING"])
def test_the_documents_are_there(name):
    assert (ROOT / f"{name}.md").is_file()
