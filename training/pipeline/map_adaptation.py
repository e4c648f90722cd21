"""Worlds whose maps labelled reports put right first, for locators that learn from such maps
(`uel.adaptation.site_adaptation`)."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from training.cache import StageCache
from training.data.deployment import Deployment
from training.pipeline.config import MapAdaptationConfig
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.core.io import as_json
from uel.estimation.baselines import LocalizationProblem
from uel.measurement.model import ObservationModel
from uel.models.map_restorer import MapRestorer
from uel.radio import radio_map_io


def adapt_deployment(
    world: Deployment,
    conditions: Iterable[str],
    plan: MapAdaptationConfig,
    model: ObservationModel,
    restorer: MapRestorer | None,
    key: Any,
    seed: int,
    stages: StageCache,
) -> Deployment:
    """The world as a locator meets it whose maps, under each condition, labelled reports put right.

    `key` tells these maps from those of other worlds; what is learned of each is kept by `stages`.
    """
    reports, position = world.reports_from_map(plan.labelled_reports, model, torch.Generator().manual_seed(seed))
    variants, models = {}, {}
    for name in conditions:
        given = world.assumed_maps(name)
        place = LocalizationProblem(given.radio, given.prior, model, world.as_reported(reports, name), position)
        whole = {**key, "condition": name, "labelled": plan.labelled_reports, "model": asdict(model), "seed": seed}
        learned = SiteAdaptation(place, given, restorer=restorer)
        at = stages.make(f"mended-{world.tile.name}", whole, lambda out: _save(learned, out))  # noqa: B023
        variants[name] = replace(given, radio=radio_map_io.load(at))
        models[name] = ObservationModel(**json.loads((at / "model.json").read_text()))
    return replace(world, variants=variants, models=models)


def _save(learned: SiteAdaptation, out: Path) -> None:
    bayes = learned.correction.bayes
    radio_map_io.save(learned.corrected_maps(bayes).radio, out)
    (out / "model.json").write_bytes(as_json(asdict(bayes.model)))
