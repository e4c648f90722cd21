"""Content-addressed cache of the stages of a long job: each stage leaves one folder, named by the hash of its
inputs."""

import glob
import hashlib
import json
import logging
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uel.core.durations import duration_text
from uel.core.files.locks import folder_lock
from uel.core.files.own_folders import remove_own_folder, require_own
from uel.core.io import replace_file
from uel.core.key_differences import difference_text, least_differences
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError

log = logging.getLogger(__name__)

DIGEST_GLOB = 10 * "[0-9a-f]"  # of `digest`
RECORD_FILE = "stage.json"  # of a finished stage: its key and its seconds
MARK_FILE = "unfinished.json"  # of one that is being built: its key


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
        and the others wait, and say for whom. Raises `UelError` where a stage is damaged, and where something else has
        its folder.
        """
        folder = self.root / f"{name}-{digest(key)}"
        self.asked.add(folder)
        with folder_lock(folder):
            return self._build_or_reuse(folder, name, key, build, resumable)

    def _build_or_reuse(
        self, folder: Path, name: str, key: Any, build: Callable[[Path], object], resumable: bool
    ) -> Path:
        if (folder / RECORD_FILE).is_file():
            record = _read_record(folder / RECORD_FILE)
            if record is None:
                do = f"remove it, and the same command makes it again: rm -r {shlex.quote(str(folder))}"
                raise UelError("a finished stage is damaged", got=str(folder / RECORD_FILE), do=do)
            self.seconds[name] = record["seconds"]
            log.info("%s: reusing %s", name, folder)
            return folder
        partial = folder.with_name(folder.name + ".part")
        what = "going on with" if resumable and partial.is_dir() else self._reason(name, key)
        log.info("%s: %s %s%s", name, what, folder, self._expectation(name))
        require_own(folder, lambda _: False, "stage")  # without a record it is not ours
        if resumable:
            require_own(partial, _is_unfinished, "stage")
        else:
            remove_own_folder(partial, _is_unfinished, "stage")
        replace_file(partial / MARK_FILE, json.dumps({"key": key}, default=str).encode())
        start = time.perf_counter()
        build(partial)
        self.seconds[name] = round(time.perf_counter() - start, 2)
        record = {"key": key, "seconds": self.seconds[name]}
        replace_file(partial / RECORD_FILE, json.dumps(record, default=str).encode())
        (partial / MARK_FILE).unlink()
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
        """Records of the finished stages with such names, and their content; damaged ones are left out."""
        files = sorted(self.root.glob(f"{pattern}/{RECORD_FILE}"))
        return [(file, record) for file in files if (record := _read_record(file)) is not None]


def _read_record(file: Path) -> dict[str, Any] | None:
    """The record of a finished stage; None for a damaged one."""
    try:
        record = read_json_object(file)
        return record if isinstance(record["seconds"], float | int) and "key" in record else None
    except (UelError, KeyError):
        return None


def _is_unfinished(folder: Path) -> bool:
    """Whether a folder is a stage that a process was building; the mark goes just before the stage is renamed."""
    return (folder / MARK_FILE).is_file() or (folder / RECORD_FILE).is_file()


def digest(key: Any) -> str:
    """The first ten hexadecimal digits of the SHA-256 of a key as JSON."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:10]
