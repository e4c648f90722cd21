"""What there is to look at: runs, and places with their tiles, radio maps and surveys, found by what they are made of.

Nothing but JSON is read here, and what cannot be read is told, not raised.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from uel.core.io import file_hash
from uel.errors import UelError
from uel.results.ablation import read_ablation_table

ArtefactKind = Literal["run", "tile", "map", "survey"]
MARKER_FILES: dict[ArtefactKind, str] = {
    "run": "artefacts.json",
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
ABLATION_COLUMNS = (
    "loss",
    "features",
    "labels",
    "map",
    "budget",
    "evidence",
    "seed",
    "p50_m",
    "p95_m",
    "r50",
    "train_cpu_s",
)
CALIBRATION_COLUMNS = ("parameter", "of", "unit", "believed", "found", "width", "verdict")
SEARCH_DEPTH = 3  # folders below `data` and `runs` that are looked into


@dataclass(frozen=True)
class Artefact:
    """A radio map, or a survey's part, that was made on a tile."""

    tile: str
    """its fingerprint"""
    folder: Path
    masts: str
    name: str = ""
    """of the tile in a survey"""
    run: Path | None = None
    """that was judged on this map"""


@dataclass(frozen=True)
class TileArtefacts:
    """A tile and what was made on it, the best first."""

    name: str
    tile: Path
    fingerprint: str
    radios: tuple[Artefact, ...] = ()
    heard: tuple[Artefact, ...] = ()

    @property
    def maps(self) -> tuple[Path, ...]:
        """Folders of radio maps; the first is the one that is shown."""
        return tuple(dict.fromkeys(made.folder for made in self.radios))

    @property
    def surveys(self) -> tuple[tuple[Path, str], ...]:
        """Folders, and what the tile is called in them; of the shown map's masts alone: reports count its cells."""
        masts = {made.masts for made in self.radios[:1] or self.heard}
        return tuple((made.folder, made.name) for made in self.heard if made.masts in masts)

    def beginning_with(self, asked: Path | None, run: Path | None) -> "TileArtefacts":
        """With the map that was asked for first, then that of the survey that was, then that which the run knows."""
        masts = [made.masts for made in self.heard if made.folder == asked]
        order = lambda made: (made.folder != asked, made.masts not in masts, made.run is None or made.run != run)  # noqa: E731
        heard = sorted(self.heard, key=lambda made: made.folder != asked)
        return replace(self, radios=tuple(sorted(self.radios, key=order)), heard=tuple(heard))

    @property
    def missing(self) -> list[tuple[str, str]]:
        """What the place has none of, and the command that makes it."""
        tile = str(self.tile)
        lacks: list[tuple[str, str]] = []
        if not (self.tile / "sites.json").is_file() and not self.maps:
            lacks.append(("masts", f"uel place {tile} --count 4"))
        if not self.maps:
            lacks.append(("radio map", f"uel map {tile}"))
        if not self.surveys:
            lacks.append(("survey", f"uel survey {tile} --out data/surveys/{self.name}"))
        return lacks


@dataclass(frozen=True)
class ArtefactIndex:
    """Everything found. `asked`, `first` and `run` are what to open with; `problems` what could not be read."""

    places: tuple[TileArtefacts, ...] = ()
    runs: tuple[Path, ...] = ()
    first: str = ""
    run: Path | None = None
    problems: tuple[str, ...] = field(default=())
    asked: Path | None = None

    def place(self, name: str, run: Path | None = None) -> TileArtefacts | None:
        """A place by its name; what belongs to a run, `self.run` if none is given, comes after what was asked for."""
        found = next((place for place in self.places if place.name == name), None)
        return found.beginning_with(self.asked, run or self.run) if found else None


def artefact_kind(folder: Path) -> ArtefactKind | None:
    """What a folder holds."""
    return next((kind for kind, mark in MARKER_FILES.items() if (folder / mark).is_file()), None)


def require_artefact(path: Path) -> None:
    """Raise `UelError` unless a folder holds something to look at."""
    if artefact_kind(path) is None:
        do = f"give the folder of a run, tile, map or survey; {MAKE_COMMANDS['run']} makes a run"
        raise UelError("nothing to look at here", got=str(path), do=do)


def find_artefacts(path: Path | None, data: Path, runs: Path) -> ArtefactIndex:
    """All runs under `runs`, all else under `data`, and what `path` holds first."""
    problems: list[str] = []
    folders = sorted({f.resolve() for root in (data, runs, path) if root is not None for f in _below(root)})
    found: dict[ArtefactKind, list[Path]] = {
        kind: [f for f in folders if (f / MARKER_FILES[kind]).is_file()] for kind in MARKER_FILES
    }
    tested = {run: _tested(run, problems) for run in found["run"]}
    tiles = sorted({*found["tile"], *(tile for tile, _ in tested.values() if tile is not None)})
    asked = path.resolve() if path else None
    tiles.sort(key=lambda tile: tile != asked)
    same = {place.fingerprint: place for tile in reversed(tiles) if (place := _place(tile))}  # a copy is no other place
    places = _named(sorted(same.values(), key=lambda place: str(place.tile)))
    maps = [Artefact(of, folder, _masts(folder)) for folder in found["map"] if (of := _made_on(folder, problems))]
    known = [(run, tile, radio) for run, (tile, radio) in tested.items() if tile and radio]
    maps = [*(Artefact(_print(tile), radio, _masts(radio), run=run) for run, tile, radio in known), *maps]
    surveys = [made for folder in found["survey"] for made in _surveyed(folder, problems)]
    places = [_filled(place, maps, surveys) for place in places]
    finished = sorted(found["run"], key=lambda run: (run / MARKER_FILES["run"]).stat().st_mtime, reverse=True)
    return _opened(asked, places, finished, tested, tuple(problems))


@dataclass(frozen=True)
class StudyReport:
    """A calibration or an ablation, as its report tells it."""

    name: str
    rows: list[dict[str, Any]]
    """its table"""
    pictures: tuple[Path, ...]
    """by the report, in the order of their names"""


def find_ablations(runs: Path) -> tuple[list[StudyReport], list[str]]:
    """Ablations of the physics loss under a folder of runs, and what could not be read."""
    found, problems = [], []
    for file in sorted((runs / "ablate").glob("*/table.csv")):
        try:
            rows = [{name: getattr(row, name) for name in ABLATION_COLUMNS} for row in read_ablation_table(file)]
        except UelError as error:
            problems.append(str(error))
        else:
            found.append(StudyReport(file.parent.name, rows, _pictures(file.parent)))
    return found, problems


def find_calibrations(runs: Path) -> tuple[list[StudyReport], list[str]]:
    """Calibrations under a folder of runs, a row for each parameter, and what could not be read."""
    found: list[StudyReport] = []
    problems: list[str] = []
    for file in sorted(runs.glob("*/calibration.json")):
        told = _json(file, problems).get("parameters")
        if isinstance(told, list) and all(isinstance(row, dict) for row in told):
            rows = [{name: row.get(name) for name in CALIBRATION_COLUMNS} for row in told]
            found.append(StudyReport(file.parent.name, rows, _pictures(file.parent)))
    return found, problems


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / "figures").glob("*.png")))


def _opened(
    path: Path | None, places: list[TileArtefacts], runs: list[Path], tested: dict[Path, Any], problems: tuple[str, ...]
) -> ArtefactIndex:
    """What to begin with: what was asked for, else the newest run, else the first place."""
    run = path if path in runs else (runs[0] if runs else None)
    tile = tested[run][0] if run else None
    holds = [place for place in places if path and (place.tile == path or path in _parts(place))]
    holds = holds or [place for place in places if tile and place.fingerprint == _print(tile)] or places
    first = holds[0].name if holds else ""
    return ArtefactIndex(tuple(places), tuple(runs), first, run, problems, path)


def _parts(place: TileArtefacts) -> list[Path]:
    return [*place.maps, *(folder for folder, _ in place.surveys)]


def _below(root: Path) -> Iterator[Path]:
    """A folder and those below it, not into tiles and arrays."""
    waiting = [(root, 0)] if root.is_dir() else []
    while waiting:
        folder, depth = waiting.pop()
        yield folder
        if depth < SEARCH_DEPTH and not (folder / MARKER_FILES["tile"]).is_file():
            inner = (
                f for f in folder.iterdir() if f.is_dir() and f.suffix not in (".zarr", ".part") and f.name[0] != "."
            )
            waiting += [(f, depth + 1) for f in inner]


def _json(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("no names and values")
        return stored
    except (OSError, ValueError) as error:
        problems.append(f"{file}: {error}")
        return {}


def _print(tile: Path) -> str:
    """As `uel.geo.tile.Tile.fingerprint`."""
    return file_hash(tile / MARKER_FILES["tile"])[:16]


def _place(tile: Path) -> TileArtefacts | None:
    if not (tile / MARKER_FILES["tile"]).is_file():
        return None
    name = _json(tile / MARKER_FILES["tile"], []).get("name", tile.name)
    return TileArtefacts(str(name), tile, _print(tile))


def _named(places: list[TileArtefacts]) -> list[TileArtefacts]:
    """Each with a name of its own."""
    names = [place.name for place in places]
    return [
        replace(place, name=f"{place.name} ({place.fingerprint[:4]})") if names.count(place.name) > 1 else place
        for place in places
    ]


def _tested(run: Path, problems: list[str]) -> tuple[Path | None, Path | None]:
    """The tile that a run was judged on, and its radio map."""
    test = _json(run / MARKER_FILES["run"], problems).get("test", {})
    if not isinstance(test, dict) or not {"tile", "radio"} <= test.keys():
        problems.append(f"{run / MARKER_FILES['run']}: names no test tile")
        return None, None
    tile, radio = ((run / str(test[kind])).resolve() for kind in ("tile", "radio"))
    return (tile if (tile / MARKER_FILES["tile"]).is_file() else None), (
        radio if artefact_kind(radio) == "map" else None
    )


def _made_on(radio: Path, problems: list[str]) -> str | None:
    """Fingerprint of the tile that a radio map says it is of."""
    said = _json(radio / MARKER_FILES["map"], problems).get("attributes", {}).get("fingerprint")
    stage = radio / "stage.json"
    if said is None and stage.is_file():
        said = _json(stage, problems).get("key", {}).get("tile")
    return said


def _masts(radio: Path) -> str:
    """A radio map's masts, to be compared with a survey's."""
    return json.dumps(_json(radio / MARKER_FILES["map"], []).get("attributes", {}).get("sites"), sort_keys=True)


def _surveyed(survey: Path, problems: list[str]) -> Iterator[Artefact]:
    """What a survey holds of each of its tiles."""
    for name, entry in _json(survey / MARKER_FILES["survey"], problems).get("tiles", {}).items():
        yield Artefact(str(entry.get("fingerprint")), survey, json.dumps(entry.get("sites"), sort_keys=True), name)


def _filled(place: TileArtefacts, maps: list[Artefact], surveys: list[Artefact]) -> TileArtefacts:
    mine = lambda made: made.tile == place.fingerprint  # noqa: E731
    return replace(place, radios=tuple(filter(mine, maps)), heard=tuple(filter(mine, surveys)))
