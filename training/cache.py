"""Content-addressed cache of the stages of a long job: each stage leaves one folder, named by the hash of its
inputs."""

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
    """Builds stages under a folder and records how long each took."""

    root: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def make(self, name: str, key: Any, build: Callable[[Path], object], resumable: bool = False) -> Path:
        """The folder `root/name-hash(key)`, reused if it is complete, otherwise built in a `.part` folder and renamed.

        A killed stage leaves nothing under its final name, so the next run builds it again; a `resumable` stage is
        given the `.part` folder with what it had written there. Of several processes that want a stage one builds it
        and the others wait.
        """
        folder = self.root / f"{name}-{digest(key)}"
        with folder_lock(folder):
            return self._build_or_reuse(folder, name, key, build, resumable)

    def _build_or_reuse(
        self, folder: Path, name: str, key: Any, build: Callable[[Path], object], resumable: bool
    ) -> Path:
        if (folder / "stage.json").is_file():
            self.seconds[name] = json.loads((folder / "stage.json").read_text())["seconds"]
            log.info("%s: reusing %s", name, folder)
            return folder
        log.info("%s: making %s", name, folder)
        partial = folder.with_name(folder.name + ".part")
        for stale in (folder,) if resumable else (partial, folder):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        build(partial)
        self.seconds[name] = round(time.perf_counter() - start, 2)
        (partial / "stage.json").write_text(json.dumps({"key": key, "seconds": self.seconds[name]}, default=str))
        partial.rename(folder)
        log.info("%s: done in %.1f s", name, self.seconds[name])
        return folder


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder between processes; the operating system releases it when a process ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(key: Any) -> str:
    """The first ten hexadecimal digits of the SHA-256 of a key as JSON."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:10]
