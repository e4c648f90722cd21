"""The command line: light to start, plain when it refuses."""

import logging
import signal
import subprocess
import sys

import pytest

from sim_bridge.engines.units import UnitError, UnitFailure
from uel import __version__, cli
from uel.errors import UelError


@pytest.fixture(autouse=True)
def logging_restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def verb(monkeypatch: pytest.MonkeyPatch, do) -> None:
    monkeypatch.setitem(cli.VERBS, "act", do)


def test_help_names_every_verb(capsys):
    for args in ([], ["--help"], ["-h"]):
        assert cli.main(args) == 0
        text = capsys.readouterr().out
        assert all(f"  {name} " in text for name in cli.VERBS)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["uel", __version__]


def test_a_verb_gets_its_arguments_and_gives_its_status(monkeypatch):
    seen = []
    verb(monkeypatch, lambda args: seen.append(args) or 1)
    assert cli.main(["act", "-v", "--seed", "3"]) == 1
    assert seen == [["--seed", "3"]]
    assert logging.getLogger().level == logging.INFO


def test_a_typo_in_the_verb(capsys):
    assert cli.main(["dmeo"]) == 2
    assert "Perhaps you meant 'demo'" in capsys.readouterr().err
    assert cli.main(["xyz"]) == 2
    assert "use one of: demo" in capsys.readouterr().err


def test_a_users_mistake_is_a_message_without_a_traceback(monkeypatch, capsys):
    def act(args):
        raise UelError("the file is empty", got="0 bytes", do="make it again")

    verb(monkeypatch, act)
    assert cli.main(["act"]) == 2
    assert capsys.readouterr().err.splitlines() == ["uel: the file is empty", "  got: 0 bytes", "  do:  make it again"]


def test_units_that_failed_are_named_with_the_command_that_makes_them(monkeypatch, capsys):
    def fail(args):
        raise UnitError([UnitFailure(3, "out of memory"), UnitFailure(8, "its process died")])

    verb(monkeypatch, fail)
    assert cli.main(["act", "a b"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["unit 3 failed: out of memory", "unit 8 failed: its process died"]
    assert said[-1].strip() == "uel act 'a b'"


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def act(args):
        raise ValueError("a bug")

    verb(monkeypatch, act)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["act"])


def test_an_interrupt_names_the_command_that_goes_on(monkeypatch, capsys):
    def act(args):
        raise KeyboardInterrupt

    verb(monkeypatch, act)
    assert cli.main(["act", "--seed", "3", "--label", "a b"]) == 130
    assert "uel act --seed 3 --label 'a b'" in capsys.readouterr().err


STOPPED = """
import sys, time
from uel import cli
def act(args):
    print("begun", flush=True)
    time.sleep(60)
cli.VERBS["act"] = act
sys.exit(cli.main(["act", "--seed", "3"]))
"""


def test_a_termination_names_the_command_that_goes_on():
    """SIGTERM, as Slurm and systemd send it."""
    asked = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asked.stdout
    assert asked.stdout.readline() == "begun\n"
    asked.send_signal(signal.SIGTERM)
    said = asked.communicate(timeout=60)[1]
    assert asked.returncode == 143
    assert "the same command goes on from there:\n  uel act --seed 3\n" in said
    assert "Traceback" not in said


def test_the_handler_of_before_comes_back(monkeypatch):
    verb(monkeypatch, lambda args: 0)
    before = signal.getsignal(signal.SIGTERM)
    cli.main(["act"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_who_has_gone_is_no_mistake():
    """As `uel survey --help | head -1`."""
    call = "import sys; from uel.cli import main; sys.exit(main(['survey', '--help']))"
    asked = subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert asked.stdout
    asked.stdout.close()
    assert asked.communicate(timeout=120)[1] == b""
    assert asked.returncode == 0


def test_doctor_refuses_unknown_options(capsys):
    assert cli.main(["doctor", "--fast"]) == 2
    assert "--fast" in capsys.readouterr().err


def test_an_error_says_what_got_and_do():
    assert str(UelError("wrong")) == "wrong"
    assert str(UelError("wrong", got=0)) == "wrong\n  got: 0"
    assert isinstance(UelError("wrong"), ValueError)
