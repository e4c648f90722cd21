import threading
import time

import pytest

from explorer.app.elements.progress import Progress, with_progress
from uel.errors import UelError

pytest.importorskip("streamlit.testing.v1")
from streamlit.testing.v1 import AppTest

PAGE = """
import time
import streamlit as st
from explorer.app.elements.progress import with_progress

def work(progress):
    progress.expect(2)
    for _ in range(2):
        time.sleep(0.3)
        progress.add(1)
    return "done"

st.write(with_progress("Working", work))
"""


def test_progress_counts_in_every_thread_and_never_passes_its_end():
    progress = Progress()
    progress.expect(200)
    threads = [threading.Thread(target=lambda: [progress.add(1) for _ in range(50)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.fraction == 0.75
    progress.add(500)
    assert progress.fraction == 1.0


def test_the_bar_goes_away_when_the_result_is_there():
    shown = AppTest.from_string(PAGE, default_timeout=60).run()
    assert not shown.exception
    assert shown.markdown[0].value == "done"
    assert not shown.get("progress")


def test_an_error_of_the_computation_reaches_the_page():
    def fail(progress: Progress) -> None:
        time.sleep(0.01)
        raise UelError("no", got="nothing", do="something")

    with pytest.raises(UelError, match="no"):
        with_progress("Working", fail)
