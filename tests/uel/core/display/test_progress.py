"""Bars are shown on a terminal and in a notebook, and nowhere else."""

import io
import sys

import pytest

from uel.core.display.progress import progress_bar, with_progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_items_pass_unchanged_and_nothing_is_written_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_text_and_count_and_is_clean_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(4, "units") as bar:
        bar.set_postfix_str("7 links/s", refresh=False)
        bar.update(2)
        bar.refresh()
    shown = stream.getvalue()
    assert "units" in shown
    assert "2/4" in shown
    assert "7 links/s" in shown
    assert shown.rpartition("\r")[0].rpartition("\r")[2].strip() == "", "the bar is gone"


def test_a_bar_that_is_not_wanted_is_not_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(with_progress([1, 2], "hidden", shown=False)) == [1, 2]
    assert stream.getvalue() == ""


def test_a_notebook_gets_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm chooses it; no stream of a notebook is a terminal."""
    import tqdm.auto
    from tqdm.notebook import tqdm_notebook

    shown = list[object]()
    monkeypatch.setattr("tqdm.notebook.display", shown.append, raising=False)
    monkeypatch.setattr(tqdm.auto, "tqdm", tqdm_notebook)
    assert list(with_progress(range(3), "squares")) == [0, 1, 2]
    assert len(shown) == 1
