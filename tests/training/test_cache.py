"""Stages of a long job: made once, and what one that was killed leaves behind."""

import threading
import time
from pathlib import Path

import pytest

from training.cache import StageCache


@pytest.mark.parametrize("resumable", [False, True])
def test_a_killed_stage_leaves_nothing_under_its_name(tmp_path: Path, resumable: bool) -> None:
    stages, found = StageCache(tmp_path), list[bool]()

    def build(out: Path) -> None:
        found.append((out / "half").is_file())
        (out / "half").touch()
        if len(found) == 1:
            raise KeyboardInterrupt
        (out / "whole").touch()

    with pytest.raises(KeyboardInterrupt):
        stages.make("map", {"of": 1}, build, resumable)
    assert not list(tmp_path.glob("map-*/whole"))
    assert "map" not in stages.seconds
    folder = stages.make("map", {"of": 1}, build, resumable)
    assert found == [False, resumable]
    assert (folder / "whole").is_file()
    assert stages.make("map", {"of": 1}, build, resumable) == folder
    assert len(found) == 2
    assert stages.make("map", {"of": 2}, build, resumable) != folder


def test_of_two_builders_one_waits(tmp_path: Path) -> None:
    made = []

    def build(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.3)

    folders = []
    crew = [
        threading.Thread(target=lambda: folders.append(StageCache(tmp_path).make("map", 1, build))) for _ in range(2)
    ]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    assert len(made) == 1
    assert folders[0] == folders[1]
