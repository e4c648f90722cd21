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


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return said


def test_a_stage_says_why_it_is_made_again_and_how_long_the_last_one_took(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    old = {"tracing": {"map_rays": 2_000_000, "depth": 3}, "pixel": 4.0}
    far = {"tracing": {"map_rays": 1, "depth": 1}, "pixel": 8.0}
    new = {"tracing": {"map_rays": 20_000_000, "depth": 3}, "pixel": 4.0}
    for key in (far, old):
        file = StageCache(tmp_path).make("map-munich@0,0", key, lambda out: None) / "stage.json"
        file.write_text(file.read_text().replace('"seconds": 0.0', '"seconds": 240.0'))
    assert "made again: tracing.map_rays 1 → 2000000" in messages(caplog)[-2]
    stages = StageCache(tmp_path)
    stages.make("map-munich@0,0", new, lambda out: None)
    first, _ = messages(caplog)
    assert "map-munich@0,0: made again: tracing.map_rays 2000000 → 20000000:" in first
    assert first.endswith("(some 4 min, as the last one)")
    stages.make("map-munich@0,0", old, lambda out: None)
    assert "reusing" in messages(caplog)[0]


def test_stages_of_one_job_differ_on_purpose_and_other_tiles_are_no_former_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stages = StageCache(tmp_path)
    for name, key in (("map-munich", {"seed": 1}), ("map-munich", {"seed": 2}), ("map-munich-east", {"seed": 3})):
        stages.make(name, key, lambda out: None)
    assert not any("again" in message for message in messages(caplog))
    StageCache(tmp_path).make("map-florence", {"seed": 1}, lambda out: None)
    first, _ = messages(caplog)
    assert "again" not in first
    assert first.endswith("as the last one)")


def test_a_stage_that_was_interrupted_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def interrupted(out: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StageCache(tmp_path).make("atlas", 1, interrupted, resumable=True)
    caplog.clear()
    StageCache(tmp_path).make("atlas", 1, lambda out: None, resumable=True)
    assert "atlas: going on with" in messages(caplog)[0]


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
