"""A run's folder: a trained locator, the tile and maps it was evaluated on, and metrics."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.models.locator import Locator
from uel.radio import radio_map_io


@dataclass(frozen=True)
class Run:
    """Folder of a run. Files are read on use: every property raises `UelError` for an absent or damaged file."""

    folder: Path

    @staticmethod
    def open(folder: str | Path) -> "Run":
        """Open the folder of a finished run. Raises `UelError` for any other folder."""
        run = Run(Path(folder))
        if not (run.folder / "artefacts.json").is_file():
            raise UelError("this folder holds no finished run", got=str(folder), do="make one: uel demo")
        return run

    @cached_property
    def locator(self) -> Locator:
        return Locator.load(self.folder)

    @cached_property
    def tile(self) -> Tile:
        """The test tile."""
        return Tile.open(self.folder / self._test("tile"))

    @property
    def radio_folder(self) -> Path:
        """Folder of the test tile's radio map."""
        return self.folder / self._test("radio")

    @cached_property
    def maps(self) -> TileMaps:
        """The test tile's maps."""
        return TileMaps.from_tile(self.tile, radio_map_io.load(self.radio_folder))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of `metrics.json`."""
        return self._json("metrics.json")

    def _test(self, kind: str) -> str:
        try:
            return str(self._json("artefacts.json")["test"][kind])
        except (KeyError, TypeError) as error:
            raise self._damaged("artefacts.json", error) from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            stored = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error
        if not isinstance(stored, dict):
            raise self._damaged(name, ValueError("not a JSON object"))
        return stored

    def _damaged(self, name: str, error: Exception) -> UelError:
        got = f"{self.folder / name}: {error}"
        return UelError(f"{name} of this run is missing or damaged", got=got, do="make the run again: uel demo")
