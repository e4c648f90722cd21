"""Content-addressed cache of the stages of a long job: each stage leaves one folder, named by the hash of its
inputs."""

import fcntl
import glob
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

from uel.core.durations import duration_text
from uel.core.key_differences import difference_text, least_differences

log = logging.getLogger(__name__)

DIGEST_GLOB = 10 * "[0-9a-f]"  # of `digest`


@dataclass
class StageCache:
    """Builds stages under a folder and records how long each took."""

    root: Path
    seconds: dict[str, float] = field(default_factory=dict)
    asked: set[Path] = field(default_factory=set)
    """folders of the stages that were asked for so far"""

    def make(self, name: str, key: Any, build: Callable[[Path], object], resumable: bool = False) -> Path:
        """The folder `root/name-hash(key)`, reused if it is complete, otherwise built in a `.part` folder and renamed.

        A killed stage leaves nothing under its final name, so the next run builds it again; a `resumable` stage is
        given the `.part` folder with what it had written there. Of several processes that want a stage one builds it
        and the others wait.
        """
        folder = self.root / f"{name}-{digest(key)}"
        self.asked.add(folder)
        with folder_lock(folder):
            return self._build_or_reuse(folder, name, key, build, resumable)

    def _build_or_reuse(
        self, folder: Path, name: str, key: Any, build: Callable[[Path], object], resumable: bool
    ) -> Path:
        if (folder / "stage.json").is_file():
            self.seconds[name] = json.loads((folder / "stage.json").read_text())["seconds"]
            log.info("%s: reusing %s", name, folder)
            return folder
        partial = folder.with_name(folder.name + ".part")
        what = "going on with" if resumable and partial.is_dir() else self._reason(name, key)
        log.info("%s: %s %s%s", name, what, folder, self._expectation(name))
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

    def _reason(self, name: str, key: Any) -> str:
        """Why a stage is made: what differs from the nearest finished one of this name.

        Stages that this job asks for itself, too, are no former ones: they differ on purpose.
        """
        stages = self._finished(f"{glob.escape(name)}-{DIGEST_GLOB}")
        differences = least_differences([stage["key"] for file, stage in stages if file.parent not in self.asked], key)
        return f"made again: {difference_text(differences)}:" if differences else "making"

    def _expectation(self, name: str) -> str:
        """How long the last stage took of this name, or of this kind (the first word of its name)."""
        for names in (glob.escape(name), f"{glob.escape(name.partition('-')[0])}-*"):
            if stages := self._finished(f"{names}-{DIGEST_GLOB}"):
                _, last = max(stages, key=lambda entry: entry[0].stat().st_mtime)
                return f" (some {duration_text(last['seconds'])}, as the last one)"
        return ""

    def _finished(self, pattern: str) -> list[tuple[Path, dict[str, Any]]]:
        """`stage.json` of the finished stages with such names, and its content."""
        return [(file, json.loads(file.read_text())) for file in sorted(self.root.glob(f"{pattern}/stage.json"))]


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
