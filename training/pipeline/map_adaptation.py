"""Deployments whose maps are corrected by labelled reports, for locators that learn from corrected maps."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from training.cache import StageCache
from training.pipeline.config import MapAdaptationConfig
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.core.io import replace_file
from uel.core.outside.checksums import json_with_checksum, read_checked_json
from uel.estimation.baselines import LocalizationProblem
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.models.map_restorer import MapRestorer
from uel.radio import radio_map_io


def adapt_deployment(
    deployment: Deployment,
    conditions: Iterable[str],
    config: MapAdaptationConfig,
    model: ObservationModel,
    restorer: MapRestorer | None,
    key: Any,
    seed: int,
    stage_cache: StageCache,
) -> Deployment:
    """The deployment with its maps under each condition corrected by labelled reports, as a locator gets it.

    `key` identifies the uncorrected maps; the corrected ones are kept in `stage_cache`.
    """
    reports, position = deployment.reports_from_map(config.labelled_reports, model, torch.Generator().manual_seed(seed))
    variants, models = {}, {}
    for name in conditions:
        assumed_maps = deployment.assumed_maps(name)
        problem = LocalizationProblem(
            assumed_maps.radio, assumed_maps.prior, model, deployment.as_reported(reports, name), position
        )
        full_key = {**key, "condition": name, "labelled": config.labelled_reports, "model": asdict(model), "seed": seed}
        adaptation = SiteAdaptation(problem, assumed_maps, restorer=restorer)
        folder = stage_cache.make(f"adapted-{deployment.tile.name}", full_key, lambda out: _save(adaptation, out))  # noqa: B023
        variants[name] = replace(assumed_maps, radio=radio_map_io.load(folder))
        models[name] = ObservationModel(**read_checked_json(folder / "model.json"))
    return replace(deployment, variants=variants, adapted_models=models)


def _save(adaptation: SiteAdaptation, out: Path) -> None:
    bayes = adaptation.correction.bayes
    radio_map_io.save(adaptation.corrected_maps(bayes).radio, out)
    replace_file(out / "model.json", json_with_checksum(asdict(bayes.model)))
