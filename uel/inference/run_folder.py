"""A run's folder: a trained locator, the deployment that it is used in unless another is given, and metrics.

Whatever trains a locator writes one: `uel demo`, `uel train`, every cell of `uel ablate`. The folder of a sweep stands
for its best run.
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from uel.core.io import replace_file
from uel.core.outside.checksums import json_with_checksum, read_checked_json
from uel.errors import UelError, brief
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.models.locator import Locator
from uel.radio import radio_map_io

SCHEMA = "uel-run-1"
LOCATOR_FILE = "locator.pt"
RECORD_FILE = "run.json"
RECORD_FILE_0_1 = "artefacts.json"  # of runs of version 0.1
SWEEP_FILE = "sweep.json"
RADIO_FOLDER = "radio"  # of the deployment's radio map, in a run's folder


@dataclass(frozen=True)
class Run:
    """Folder of a run. Files are read on use: every property raises `UelError` for an absent or damaged file."""

    folder: Path
    chosen: Deployment | None = None
    """the deployment that the locator is used in, unless it is the run's own"""

    @staticmethod
    def open(folder: str | Path) -> "Run":
        """Open the folder of a run, or of a sweep, which stands for its best run. Raises `UelError` for any other."""
        run = Run(Path(folder))
        if (run.folder / SWEEP_FILE).is_file():
            run = Run(run.folder / str(run._json(SWEEP_FILE).get("best", "")))
        if not (run.folder / LOCATOR_FILE).is_file():
            do = "give the folder of a run: uel demo, uel train and uel ablate make them"
            raise UelError("this folder holds no trained locator", got=str(folder), do=do)
        return run

    @cached_property
    def locator(self) -> Locator:
        return Locator.load(self.folder)

    @cached_property
    def deployment(self) -> Deployment:
        """The chosen one, or the one that the run was tested or validated on. Raises `UelError` if it names none."""
        return self.chosen or Deployment.open(*self.deployment_folders)

    @property
    def deployment_folders(self) -> tuple[Path, Path]:
        """Folders of the tile and of the radio map of the run's own deployment."""
        stored = self._json(RECORD_FILE) if (self.folder / RECORD_FILE).is_file() else self._record_0_1()
        try:
            return tuple(self.folder / str(stored["deployment"][kind]) for kind in ("tile", "radio"))  # type: ignore[return-value]
        except (KeyError, TypeError) as error:
            raise self._damaged(RECORD_FILE, error) from error

    def _record_0_1(self) -> dict[str, Any]:
        if not (self.folder / RECORD_FILE_0_1).is_file():
            do = "give --tile FOLDER (and --radio FOLDER, if there is a radio map of it)"
            raise UelError("this run names no tile", got=str(self.folder), do=do)
        return {"deployment": self._json(RECORD_FILE_0_1).get("test")}

    @property
    def tile(self) -> Tile:
        """The deployment's tile."""
        return self.deployment.tile

    @property
    def maps(self) -> TileMaps:
        """The deployment's maps."""
        return self.deployment.maps

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`."""
        return self._json("metrics.json")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return read_checked_json(self.folder / name)
        except UelError as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> UelError:
        got = f"{self.folder / name}: {brief(error)}"
        return UelError(f"{name} of this run is missing or damaged", got=got, do="repeat the command that made the run")


def write_run(folder: Path, locator: Locator, deployment: Deployment, command: str, radio: Path | None = None) -> None:
    """Write a locator and the deployment it is used in unless another is given, so that `Run.open` opens the folder.

    Args:
        folder: of the run.
        locator: the trained locator.
        deployment: whose tile is named and whose radio map is copied.
        command: which made the run, `uel train` for example.
        radio: folder for the copy of the radio map, to be shared by several runs; one in the run's folder by default.
    """
    radio = radio or folder / RADIO_FOLDER
    tile = deployment.tile
    radio_map_io.save(replace(deployment.maps.radio, made_on=tile.reference), radio)
    # Paths are relative: runs and data may be moved together.
    paths = {"tile": tile.folder, "radio": radio}
    relative = {kind: os.path.relpath(path.resolve(), folder.resolve()) for kind, path in paths.items()}
    locator.save(folder)
    record = {"schema": SCHEMA, "made_by": command, "deployment": relative}
    replace_file(folder / RECORD_FILE, json_with_checksum(record))


def write_sweep(folder: Path, best: str) -> None:
    """Name the best run of a sweep, a folder in `folder`."""
    replace_file(folder / SWEEP_FILE, json_with_checksum({"best": best}))
