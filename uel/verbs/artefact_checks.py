"""Whole checks of artefacts: every file of a folder by its format, and the artefact by its own rules."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from uel.core.outside.json_text import read_json_object
from uel.errors import UelError, brief

NO_COMMAND = "the command that made it"
LEFT_OUT_SUFFIXES = (".zarr", ".part")  # of folders that belong to an artefact, or to one that is not finished


@dataclass(frozen=True)
class ArtefactCheck:
    """What the check of an artefact found."""

    folder: Path
    kind: str
    faults: tuple[str, ...]
    """in words; none where it is as it was made"""
    command: str
    """that makes it again"""


def check_artefacts(paths: Iterable[Path]) -> Iterator[ArtefactCheck]:
    """The checks of all artefacts in some folders and below them.

    Raises `UelError` for a path without an artefact.
    """
    for path in paths:
        root = path.parent if path.is_file() else path
        found = [(folder, kind) for folder in _folders(root) for kind in _kinds(folder)]
        if not found:
            do = "give folders of tiles, radio maps, surveys, atlases, runs, evaluations, stages or learned maps"
            raise UelError("there is no artefact here", got=str(path), do=do)
        for folder, kind in found:
            yield _check(folder, kind)


def _check(folder: Path, kind: str) -> ArtefactCheck:
    _, find_faults, command = ARTEFACT_KINDS[kind]
    try:
        faults = tuple(find_faults(folder))
    except UelError as error:
        faults = (brief(error),)
    return ArtefactCheck(folder, kind, faults, command)


def _folders(root: Path) -> list[Path]:
    """A folder and those below it, without the hidden ones and the insides of arrays."""
    found = []
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if name[0] != "." and not name.endswith(LEFT_OUT_SUFFIXES))
        found.append(Path(folder))
    return found


def _kinds(folder: Path) -> list[str]:
    return [kind for kind, (marker, _, _) in ARTEFACT_KINDS.items() if (folder / marker).is_file()]


# ---- by kind -------------------------------------------------------------------------------------------


def _tile_faults(folder: Path) -> Iterator[str]:
    from uel.geo.scene_files import require_sound_scene
    from uel.geo.tile import Tile

    tile = Tile.open(folder)
    differing = tile.verify()
    yield from (f"{name} is missing, not listed, or not as it was written" for name in differing)
    if not differing:
        tile.rasters  # noqa: B018  (raises for impossible values)
        require_sound_scene(tile)
        if (folder / "sites.json").is_file():
            tile.sites  # noqa: B018


def _radio_map_faults(folder: Path) -> Iterator[str]:
    from uel.radio import radio_map_io

    radio_map_io.load(folder)
    radio_map_io.read_service(folder)
    yield from ()


def _survey_faults(folder: Path) -> Iterator[str]:
    from uel.survey.dataset import Survey

    survey = Survey.open(folder)
    yield from (f"unit {unit.name} is not done" for unit in survey.unfinished_units())
    for unit, files in survey.verify().items():
        yield from (f"{name} of unit {unit} differs" for name in files)


def _atlas_faults(folder: Path) -> Iterator[str]:
    from sim_bridge.chains.atlas import Atlas

    Atlas.load(folder)
    yield from ()


def _run_faults(folder: Path) -> Iterator[str]:
    from uel.inference.run_folder import RECORD_FILE, Run
    from uel.models.map_restorer import MapRestorer

    run = Run.open(folder)
    run.locator  # noqa: B018
    if (folder / RECORD_FILE).is_file():
        run.deployment_folders  # noqa: B018
    MapRestorer.load(folder)
    yield from _file_faults(folder)
    yield from _file_faults(folder / "training")


def _learned_map_faults(folder: Path) -> Iterator[str]:
    from uel.prediction.learned_maps.predictor import MapPredictor

    MapPredictor.load(folder)
    yield from ()


def _evaluation_faults(folder: Path) -> Iterator[str]:
    from uel.results.evaluation import read_result

    for name in read_json_object(folder / "protocol.json").get("cells", []):
        try:
            read_result(folder / "cells" / name)
        except UelError as error:
            yield brief(error)


def _file_faults(folder: Path) -> Iterator[str]:
    """The faults of the files in a folder whose format tells when they are damaged."""
    from uel.core.outside.array_files import read_arrays
    from uel.core.outside.checksums import read_checked_json
    from uel.core.outside.weight_files import read_weights

    readers: dict[str, Callable[[Path], object]] = {
        ".json": read_checked_json,
        ".npz": read_arrays,
        ".pt": read_weights,
        ".ckpt": lambda file: read_weights(file, "cpu"),
    }
    for file in sorted(folder.glob("*")):
        if file.suffix in readers and file.is_file():
            try:
                readers[file.suffix](file)
            except UelError as error:
                yield brief(error)


ARTEFACT_KINDS: dict[str, tuple[str, Callable[[Path], Iterable[str]], str]] = {
    "tile": ("tile.json", _tile_faults, "uel build SOURCE, as before"),
    "radio map": ("radiomap.zarr/zarr.json", _radio_map_faults, "uel map TILE"),
    "survey": ("survey.json", _survey_faults, "uel survey --verify --out FOLDER, then the same uel survey"),
    "atlas": ("atlas.json", _atlas_faults, f"delete the folder, then {NO_COMMAND}"),
    "run": ("locator.pt", _run_faults, "uel train or uel demo, as before"),
    "learned maps": ("level_maps.pt", _learned_map_faults, "uel train-maps --data FOLDER"),
    "evaluation": ("protocol.json", _evaluation_faults, "uel eval RUN"),
    "stage": ("stage.json", _file_faults, f"delete the folder, then {NO_COMMAND}"),
}
"""marker file, check and command of each kind"""
