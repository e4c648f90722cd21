"""Cells of an evaluation: the file of a condition in a scenario, named by all that its result depends on."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim_bridge.engines.config import ENGINE_FIELDS
from training.cache import digest
from training.evaluation.protocol import EvalConfig, protocol_conditions
from training.evaluation.scenarios import EvaluationScenario
from uel.core.key_differences import difference_text, least_differences
from uel.errors import UelError
from uel.models.config import RESTORER_FILE as RESTORER
from uel.radio.sites import sites_to_json
from uel.results.condition import Condition
from uel.results.evaluation import read_key

EVALUATION_VERSION = 18  # raised when a method or a score changes, so that cells are evaluated anew
# A cell does not depend on the other conditions; its own condition and locators are in its key by themselves.
_FIELDS_OUTSIDE_KEY = (
    "run", "compare", "name", "deployments", "track_maps", "log", "radio", "columns", "block",
    *ENGINE_FIELDS,
)  # fmt: skip
_GRID_FIELDS = (
    "tiles", "truths", "tiers", "axis_tiers", "map_tiers", "sigmas", "correlations", "cells", "dropouts", "conditions",
    "carriers", "speeds",
)  # fmt: skip


@dataclass(frozen=True)
class EvaluationUnit:
    """A condition in a scenario, which is counted as its makers are; its result is a file."""

    scenario: int
    condition: Condition
    file: Path
    key: Mapping[str, Any]
    """all that the result depends on"""


def locator_folders(config: EvalConfig) -> dict[str, Path]:
    """Folders of the locators of the run and of `--compare`, by name. Raises `UelError` where two have one name."""
    folders = {"locator": config.run} | {folder.name: folder for folder in config.compare}
    if len(folders) <= len(config.compare):
        got = ", ".join(str(folder) for folder in config.compare)
        raise UelError(
            "two folders of --compare have the same name, or the name locator", got=got, do="rename a folder"
        )
    return folders


def locator_digests(config: EvalConfig) -> dict[str, str]:
    """Digests of the files of these locators, and of the map restorer beside the run's."""
    digests = {name: _file_digest(folder / "locator.pt") for name, folder in locator_folders(config).items()}
    if (config.run / RESTORER).is_file():
        digests[RESTORER] = _file_digest(config.run / RESTORER)
    return digests


def cell_key(scenario: EvaluationScenario, condition: Condition, digests: Mapping[str, str]) -> dict[str, Any]:
    """All that the result of a condition in a scenario depends on.

    Args:
        scenario: the tile, its sites, and the protocol on them.
        condition: one of the protocol's.
        digests: of locators, by name.
    """
    config = scenario.config
    key: dict[str, Any] = {
        "version": EVALUATION_VERSION,
        "condition": asdict(condition),
        "deployment": scenario.name,
        "tiles": dict.fromkeys(config.carriers, scenario.tile.fingerprint),
        "locators": dict(digests),
        "config": {k: v for k, v in asdict(config).items() if k not in _FIELDS_OUTSIDE_KEY}
        | dict.fromkeys(_GRID_FIELDS),
    }
    if scenario.own_sites:
        key["sites"] = sites_to_json(scenario.own_sites)
    return key | scenario.source_key


def cell_file(folder: Path, key: Mapping[str, Any]) -> Path:
    """The file of a cell in the folder of all cells, made or not."""
    return folder / f"{digest(key)}.npz"


def former_keys(folder: Path, files: Collection[Path]) -> list[dict[str, Any]]:
    """Keys of the cells of a folder that are none of these files."""
    return [key for file in sorted(folder.glob("*.npz")) if file not in files and (key := read_key(file)) is not None]


def remade_reason(former: Iterable[Mapping[str, Any]], key: Mapping[str, Any]) -> str:
    """What differs from the nearest former cell of the same condition and deployment; empty where there was none."""
    stored = json.loads(json.dumps(key))
    same = [old for old in former if all(old.get(name) == stored[name] for name in ("condition", "deployment"))]
    return difference_text(least_differences(same, stored))


def work(config: EvalConfig) -> float:
    """How much an evaluation is: pixels of all reports."""
    conditions = len(list(protocol_conditions(config)))
    return len(config.tiles) * config.deployments * conditions * config.phones * (config.size / config.maps.pixel) ** 2


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
