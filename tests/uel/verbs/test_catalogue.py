"""What help and completion say of a verb is what the verb does."""

import os
import shlex
import shutil
import subprocess

import pytest

from tests.helpers.log_tile import log_tile
from uel import cli
from uel.errors import UelError
from uel.verbs.catalogue import VERB_ENTRIES
from uel.verbs.completion import SHELL_NAMES, completion_script

COMMANDS = [(verb, command) for verb, entry in VERB_ENTRIES.items() for command in entry.examples]


def test_every_verb_is_in_the_catalogue():
    assert list(VERB_ENTRIES) == list(cli.VERBS)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what examples name: some configurations look whether it is there."""
    folder = tmp_path_factory.mktemp("workplace")
    for file in ("runs/demo/locator.pt", "drive.csv"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for name in ("paris", "north"):
        log_tile(folder / "data" / "tiles" / name)
    return folder


@pytest.mark.parametrize(("verb", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_an_example_is_a_command_that_its_verb_accepts(verb, command, workplace, monkeypatch):
    """Up to the verb's configuration: the verb's work is cut off."""
    import uel.config

    class Accepted(Exception):
        pass

    def load(schema, name, args):
        assert (schema, name) == (VERB_ENTRIES[verb].load_schema(), verb)
        parse(schema, name, args)
        raise Accepted

    parse = uel.config.load
    monkeypatch.setattr(uel.config, "load", load)
    monkeypatch.chdir(workplace)
    _, name, *args = shlex.split(command, comments=True)
    assert name == verb
    with pytest.raises(Accepted):
        cli.VERBS[verb](args)


def test_a_manual_has_examples_configs_exit_codes_and_options(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["help", "demo"])
    text = capsys.readouterr().out
    for part in ("NAME\n    uel demo: Run", "--config demo/quick\n", "130  stopped by Ctrl-C", "--seed"):
        assert part in text
    assert cli.main(["help"]) == 0
    assert capsys.readouterr().out == cli.usage()
    assert cli.main(["help", "dmeo"]) == 2
    assert "Perhaps you meant 'demo'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    file = tmp_path_factory.mktemp("completion") / "uel"
    file.write_text(completion_script("bash"))
    return file


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("conv",), ["convert"]),
        (("convert", "--to", "geo"), ["geotiff", "geopackage"]),
        (("convert", "data/maps/paris", "--t"), ["--to", "--tile"]),
        (("build", "munich", "--si"), ["--size", "--sites"]),
    ],
)
def test_bash_completes_verbs_options_and_values(typed, offered, bash_script):
    if not (bash := shutil.which("bash")):
        pytest.skip("no bash here")
    program = (
        f'. {bash_script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tyro_uel; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run([bash, "-c", program, "-", "uel", *typed], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == offered


@pytest.mark.parametrize("shell", SHELL_NAMES)
def test_completion_is_written_where_the_shell_looks(shell, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["--install-completion"]) == 0
    written = [os.path.join(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    assert capsys.readouterr().out.splitlines()[0] == written[0]
    assert cli.main(["--show-completion", shell]) == 0
    with open(written[0], encoding="utf-8") as file:
        assert file.read() == capsys.readouterr().out


def test_another_shell_is_refused():
    with pytest.raises(
        UelError, match=r"no completion for this shell\n  got: ksh\n  do:  name one of: bash, zsh, fish"
    ):
        completion_script("ksh")
