"""A small made-up run, and its pages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.demo_run import make_run
from tests.helpers.explorer_pages import PAGE_SECONDS, page_script
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose locator nobody trained: it answers like grid Bayes."""
    folder = make_run(tmp_path_factory.mktemp("app") / "runs" / "small", paths=False)
    torch.manual_seed(0)
    Locator(LocatorConfig(), ObservationModel()).save(folder)
    return folder


@pytest.fixture
def opened(run: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A page as somebody sees it who has chosen something, or followed a link that chooses by name."""
    testing = pytest.importorskip("streamlit.testing.v1")
    import streamlit as st

    from explorer.analysis import phone_trial
    from explorer.app.serve import PATH_VARIABLE

    monkeypatch.chdir(run.parent.parent)
    monkeypatch.setenv(PATH_VARIABLE, str(run))
    monkeypatch.setenv("UEL_DATA", str(run.parent.parent / "data"))
    monkeypatch.setattr(phone_trial, "PHONES_PER_TRIAL", 24)

    def page(name: str, link: Mapping[str, str] | None = None, **chosen: str | bool) -> Any:
        st.cache_resource.clear()
        test = testing.AppTest.from_string(page_script(name), default_timeout=PAGE_SECONDS)
        for key, value in chosen.items():
            test.session_state[key] = value
        for key, value in (link or {}).items():
            test.query_params[key] = value
        return test.run()

    return page
