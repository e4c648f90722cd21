"""Cells of an ablation: results of trainings, in files named by all that they depend on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge.engines.config import ENGINE_FIELDS
from training.ablation.config import AblateConfig
from training.ablation.grid import Variant
from training.ablation.scenario import AblationScenario
from training.cache import digest
from uel.core.io import array_bytes, replace_file
from uel.core.outside.array_files import read_array_fields
from uel.core.outside.json_text import parse_json
from uel.errors import UelError
from uel.radio.sites import sites_to_json

ABLATION_VERSION = 2  # raised when a loss or a score changes, so that variants are trained anew
_FIELDS_OUTSIDE_KEY = (
    "run", "labels", "seeds", "first_seed", "losses", "fractions", "single_features", "conditions", "budgets",
    "evidence", *ENGINE_FIELDS,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class VariantResult:
    """The errors of a trained variant on its test phones."""

    error: Float[Tensor, " phone"]
    line_of_sight: Bool[Tensor, " phone"]
    heard: Tensor
    """number of cells in each report"""
    facts: dict[str, Any]


def cell_name(config: AblateConfig, scenario: AblationScenario, variant: Variant, steps: int) -> str:
    """The name of a cell, a hash of the variant, its steps, and all that variants have in common."""
    key = {
        "version": ABLATION_VERSION,
        "variant": asdict(variant),
        "steps": steps,
        "config": {name: value for name, value in asdict(config).items() if name not in _FIELDS_OUTSIDE_KEY},
        "tile": scenario.deployment.tile.fingerprint,
        "sites": sites_to_json(scenario.deployment.sites),
    }
    return digest(key)


def write_cell(file: Path, arrays: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the arrays of a `VariantResult`, and its facts."""
    stored = {name: value.numpy() for name, value in arrays.items()} | {"facts": np.array(json.dumps(facts))}
    replace_file(file, array_bytes(stored))


def read_cell(file: Path) -> VariantResult:
    """The stored result. Raises `UelError` for a damaged file."""
    try:
        stored = read_array_fields(file, ("error", "line_of_sight", "heard", "facts"))
        arrays = {name: torch.from_numpy(stored[name]) for name in ("error", "line_of_sight", "heard")}
        return VariantResult(**arrays, facts=parse_json(str(stored["facts"]), str(file)))
    except (UelError, TypeError) as error:
        do = "delete it, then give the same command again"
        raise UelError("the stored result of a variant is damaged", got=f"{file}: {error}", do=do) from error
