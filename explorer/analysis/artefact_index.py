"""The index of runs, tiles, radio maps and surveys on disk: what the explorer can show.

Only JSON is read. A file that cannot be read becomes a line of `problems`, not an error.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from explorer.analysis.place_names import place_label
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError, brief
from uel.geo.tile import file_hash
from uel.inference.run_folder import RECORD_FILE, RECORD_FILE_0_1, SWEEP_FILE, Run

ArtefactKind = Literal["run", "tile", "map", "survey"]
MARKER_FILES: dict[ArtefactKind, str] = {
    "run": "locator.pt",
    "tile": "tile.json",
    "map": "radiomap.zarr/zarr.json",
    "survey": "survey.json",
}
MAKE_COMMANDS: dict[ArtefactKind, str] = {
    "run": "uel demo",
    "tile": "uel build florence --sites 4",
    "map": "uel map data/tiles/NAME",
    "survey": "uel survey data/tiles/NAME --out data/surveys/NAME",
}
SEARCH_DEPTH = 3  # folders below `data` and `runs` that are searched


@dataclass(frozen=True)
class Artefact:
    """A radio map, or one tile's part of a survey."""

    fingerprint: str
    """of the tile that it was made on"""
    folder: Path
    sites: str
    """JSON, to be compared between maps and surveys"""
    name: str = ""
    """the tile's name in a survey"""
    run: Path | None = None
    """the run that was tested on this map"""


@dataclass(frozen=True)
class TileArtefacts:
    """A tile with its radio maps and surveys, the first of which are shown."""

    name: str
    folder: Path
    fingerprint: str
    map_artefacts: tuple[Artefact, ...] = ()
    survey_artefacts: tuple[Artefact, ...] = ()
    label: str = ""
    """the name for people"""

    @property
    def maps(self) -> tuple[Path, ...]:
        """Folders of radio maps; the first is the one that is shown."""
        return tuple(dict.fromkeys(artefact.folder for artefact in self.map_artefacts))

    @property
    def surveys(self) -> tuple[tuple[Path, str], ...]:
        """Folders of surveys and the tile's name in each, for surveys with the sites of the first map only.

        Reports count the cells of their own sites: beside a map of other sites they would be read wrongly.
        """
        sites = {artefact.sites for artefact in self.map_artefacts[:1] or self.survey_artefacts}
        return tuple((artefact.folder, artefact.name) for artefact in self.survey_artefacts if artefact.sites in sites)

    def prioritised(self, requested: Path | None, run: Path | None) -> "TileArtefacts":
        """The same with another order: the requested map first, then maps of the requested survey, then the run's."""
        sites = [artefact.sites for artefact in self.survey_artefacts if artefact.folder == requested]

        def order(artefact: Artefact) -> tuple[bool, bool, bool]:
            of_run = artefact.run is not None and artefact.run == run
            return artefact.folder != requested, artefact.sites not in sites, not of_run

        surveys = sorted(self.survey_artefacts, key=lambda artefact: artefact.folder != requested)
        return replace(
            self, map_artefacts=tuple(sorted(self.map_artefacts, key=order)), survey_artefacts=tuple(surveys)
        )

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Artefacts that this tile lacks, each with the command that makes it."""
        tile, survey = shlex.quote(str(self.folder)), shlex.quote(f"data/surveys/{self.name}")
        lacking: list[tuple[str, str]] = []
        if not (self.folder / "sites.json").is_file() and not self.maps:
            lacking.append(("sites", f"uel place {tile} --count 4"))
        if not self.maps:
            lacking.append(("radio map", f"uel map {tile}"))
        if not self.surveys:
            lacking.append(("survey", f"uel survey {tile} --out {survey}"))
        return lacking


@dataclass(frozen=True)
class ArtefactIndex:
    """All artefacts; `first_tile`, `run` and `requested` are what pages open with."""

    tiles: tuple[TileArtefacts, ...] = ()
    runs: tuple[Path, ...] = ()
    first_tile: str = ""
    run: Path | None = None
    problems: tuple[str, ...] = field(default=())
    """files that could not be read, and why"""
    requested: Path | None = None

    def tile(self, name: str, run: Path | None = None) -> TileArtefacts | None:
        """A tile by its name, None where there is none; maps of `run` (default `self.run`) follow requested ones."""
        tile = next((tile for tile in self.tiles if tile.name == name), None)
        return tile.prioritised(self.requested, run or self.run) if tile else None


def artefact_kind(folder: Path) -> ArtefactKind | None:
    """The kind of artefact that a folder holds; None where it holds none."""
    return next((kind for kind, file in MARKER_FILES.items() if (folder / file).is_file()), None)


def require_artefact(path: Path) -> None:
    """Raise `UelError` unless a folder holds an artefact, or a sweep of runs."""
    if artefact_kind(path) is None and not (path / SWEEP_FILE).is_file():
        do = f"give the folder of a run, tile, radio map or survey; {MAKE_COMMANDS['run']} makes a run"
        raise UelError("this folder is no run, tile, radio map or survey", got=str(path), do=do)


def find_artefacts(path: Path | None, data: Path, runs: Path) -> ArtefactIndex:
    """The index of artefacts below `data`, `runs` and `path`; pages open with the artefact in `path`."""
    problems: list[str] = []
    folders = sorted({f.resolve() for root in (data, runs, path) if root is not None for f in _folders_below(root)})
    by_kind: dict[ArtefactKind, list[Path]] = {
        kind: [folder for folder in folders if _is_file(folder / file)] for kind, file in MARKER_FILES.items()
    }
    tests = {run: _deployment_artefacts(run, problems) for run in by_kind["run"]}
    tile_folders = sorted({*by_kind["tile"], *(tile for tile, _ in tests.values() if tile is not None)})
    if path is not None and (path / SWEEP_FILE).is_file():
        path = Run.open(path).folder  # its best run
    requested = path.resolve() if path else None
    tile_folders.sort(key=lambda folder: folder != requested)
    # Copies of a tile have one fingerprint and count once.
    unique = {
        tile.fingerprint: tile for folder in reversed(tile_folders) if (tile := _tile_artefacts(folder, problems))
    }
    tiles = _with_unique_names(sorted(unique.values(), key=lambda tile: str(tile.folder)))
    maps = [
        Artefact(fingerprint, folder, _map_sites(folder))
        for folder in by_kind["map"]
        if (fingerprint := _map_fingerprint(folder, problems))
    ]
    complete = [(run, tile, radio) for run, (tile, radio) in tests.items() if tile and radio]
    maps = [
        *(Artefact(_fingerprint(tile), radio, _map_sites(radio), run=run) for run, tile, radio in complete),
        *maps,
    ]
    surveys = [artefact for folder in by_kind["survey"] for artefact in _survey_artefacts(folder, problems)]
    tiles = [_with_artefacts(tile, maps, surveys) for tile in tiles]
    newest = sorted(by_kind["run"], key=lambda run: (run / MARKER_FILES["run"]).stat().st_mtime, reverse=True)
    return _index(requested, tiles, newest, tests, tuple(problems))


def _index(
    path: Path | None, tiles: list[TileArtefacts], runs: list[Path], tests: dict[Path, Any], problems: tuple[str, ...]
) -> ArtefactIndex:
    """The index that opens with the requested artefact, else with the newest run, else with the first tile."""
    run = path if path in runs else (runs[0] if runs else None)
    test_tile = tests[run][0] if run else None
    candidates = [tile for tile in tiles if path and (tile.folder == path or path in _artefact_folders(tile))]
    candidates = candidates or [t for t in tiles if test_tile and t.fingerprint == _fingerprint(test_tile)] or tiles
    first_tile = candidates[0].name if candidates else ""
    return ArtefactIndex(tuple(tiles), tuple(runs), first_tile, run, problems, path)


def _artefact_folders(tile: TileArtefacts) -> list[Path]:
    return [*tile.maps, *(folder for folder, _ in tile.surveys)]


def _folders_below(root: Path) -> Iterator[Path]:
    """A folder and its subfolders down to `SEARCH_DEPTH`, without those of tiles and arrays."""
    waiting = [(root, 0)] if root.is_dir() else []
    while waiting:
        folder, depth = waiting.pop()
        yield folder
        if depth < SEARCH_DEPTH and not (folder / MARKER_FILES["tile"]).is_file():
            waiting += [(inner, depth + 1) for inner in _inner_folders(folder)]


def _is_file(path: Path) -> bool:
    """Whether there is a file that may be seen."""
    try:
        return path.is_file()
    except OSError:
        return False


def _inner_folders(folder: Path) -> list[Path]:
    """Folders in a folder that may hold artefacts; none where it may not be read."""
    try:
        inner = [f for f in folder.iterdir() if f.suffix not in (".zarr", ".part") and f.name[0] != "."]
        return [f for f in inner if f.is_dir()]
    except OSError:
        return []


def read_json_or_problem(file: Path, problems: list[str]) -> dict[str, Any]:
    """The object of a JSON file; empty, and a line of `problems`, where it cannot be read."""
    try:
        return read_json_object(file)
    except UelError as error:
        problems.append(brief(error))
        return {}


def _part(stored: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside an object of JSON; empty where there is none."""
    part = stored.get(name)
    return part if isinstance(part, dict) else {}


def _fingerprint(folder: Path) -> str:
    """The fingerprint of a tile, as `uel.geo.tile.Tile.fingerprint`."""
    return file_hash(folder / MARKER_FILES["tile"])[:16]


def _tile_artefacts(folder: Path, problems: list[str]) -> TileArtefacts | None:
    """A tile's folder; None where there is no tile, or one that cannot be read."""
    stored = (
        read_json_or_problem(folder / MARKER_FILES["tile"], problems) if _is_file(folder / MARKER_FILES["tile"]) else {}
    )
    name = stored.get("name")
    if not (isinstance(name, str) and name):
        return None
    label = place_label(name, stored.get("place"), stored.get("center"))
    return TileArtefacts(name, folder, _fingerprint(folder), label=label)


def _with_unique_names(tiles: list[TileArtefacts]) -> list[TileArtefacts]:
    """The same tiles; those that share a name, or one for people, get a part of their fingerprint appended."""
    names, labels = [tile.name for tile in tiles], [tile.label for tile in tiles]
    unique = []
    for tile in tiles:
        mark = f" ({tile.fingerprint[:4]})"
        name = tile.name + mark * (names.count(tile.name) > 1)
        unique.append(replace(tile, name=name, label=tile.label + mark * (labels.count(tile.label) > 1)))
    return unique


def _deployment_artefacts(run: Path, problems: list[str]) -> tuple[Path | None, Path | None]:
    """The tile of a run's own deployment, and its radio map; None for what is not there."""
    if not any((run / name).is_file() for name in (RECORD_FILE, RECORD_FILE_0_1)):
        return None, None
    try:
        tile, radio = (folder.resolve() for folder in Run(run).deployment_folders)
    except UelError as error:
        problems.append(str(error))
        return None, None
    return (tile if (tile / MARKER_FILES["tile"]).is_file() else None), (
        radio if artefact_kind(radio) == "map" else None
    )


def _map_fingerprint(radio: Path, problems: list[str]) -> str | None:
    """The fingerprint of the tile that a radio map was made on; None where the map does not name it."""
    fingerprint = _part(read_json_or_problem(radio / MARKER_FILES["map"], problems), "attributes").get("fingerprint")
    stage = radio / "stage.json"
    if fingerprint is None and stage.is_file():
        fingerprint = _part(read_json_or_problem(stage, problems), "key").get("tile")
    return None if fingerprint is None else str(fingerprint)


def _map_sites(radio: Path) -> str:
    """The sites of a radio map as JSON, to be compared with a survey's."""
    attributes = _part(read_json_or_problem(radio / MARKER_FILES["map"], []), "attributes")
    return json.dumps(attributes.get("sites"), sort_keys=True)


def _survey_artefacts(survey: Path, problems: list[str]) -> Iterator[Artefact]:
    """An artefact for each tile of a survey."""
    stored = read_json_or_problem(survey / MARKER_FILES["survey"], problems)
    tiles = _part(stored, "tiles")
    if stored and not (tiles and all(isinstance(entry, dict) for entry in tiles.values())):
        problems.append(f"{survey / MARKER_FILES['survey']}: its tiles are no objects")
        return
    for name, entry in tiles.items():
        yield Artefact(str(entry.get("fingerprint")), survey, json.dumps(entry.get("sites"), sort_keys=True), name)


def _with_artefacts(tile: TileArtefacts, maps: list[Artefact], surveys: list[Artefact]) -> TileArtefacts:
    maps = [artefact for artefact in maps if artefact.fingerprint == tile.fingerprint]
    surveys = [artefact for artefact in surveys if artefact.fingerprint == tile.fingerprint]
    return replace(tile, map_artefacts=tuple(maps), survey_artefacts=tuple(surveys))
