"""Stages of a long job: each leaves one folder, named by what it was made from, and is reused when it is there."""

import fcntl
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass
class StageCache:
    """Runs stages under a folder and remembers how long each took."""

    root: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def make(self, name: str, key: Any, build: Callable[[Path], object], resumes: bool = False) -> Path:
        """The folder `root/name-hash(key)`, built aside and renamed when whole, or reused.

        A stage that was killed leaves nothing under its name, so the next run builds it again; one that `resumes` is
        given the folder with what it had written there. Of several processes one builds and the others wait.
        """
        folder = self.root / f"{name}-{digest(key)}"
        with alone(folder):
            return self._made(folder, name, key, build, resumes)

    def _made(self, folder: Path, name: str, key: Any, build: Callable[[Path], object], resumes: bool) -> Path:
        if (folder / "stage.json").is_file():
            self.seconds[name] = json.loads((folder / "stage.json").read_text())["seconds"]
            log.info("%s: reusing %s", name, folder)
            return folder
        log.info("%s: making %s", name, folder)
        aside = folder.with_name(folder.name + ".part")
        for stale in (folder,) if resumes else (aside, folder):
            shutil.rmtree(stale, ignore_errors=True)
        aside.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        build(aside)
        self.seconds[name] = round(time.perf_counter() - start, 2)
        (aside / "stage.json").write_text(json.dumps({"key": key, "seconds": self.seconds[name]}, default=str))
        aside.rename(folder)
        log.info("%s: done in %.1f s", name, self.seconds[name])
        return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While one process holds this, others that want it of the same folder wait; the system ends it with a process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(key: Any) -> str:
    """Ten letters that change whenever the key does."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:10]
