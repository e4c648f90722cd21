"""The grid of an ablation of the physics loss: one property varies at a time around a base."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from training.ablation.config import AblateConfig, EvidenceMode
from training.locator.config import LossFeature, LossKind


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train."""

    loss: LossKind = "none"
    features: tuple[LossFeature, ...] = ()
    """none without physics loss"""
    rt_fraction: float = 0.0
    """0 without ray tracing"""
    labels: int = 2000
    map: str = "exact"
    evidence: EvidenceMode = "skip"
    seed: int = 1

    @property
    def cost_key(self) -> tuple[LossKind, tuple[LossFeature, ...], float, EvidenceMode, bool]:
        """All that the cost of a step depends on; if all phones have labels no unlabelled ones join a batch."""
        return self.loss, self.features, self.rt_fraction, self.evidence, not self.labels


def variants(config: AblateConfig) -> Iterator[Variant]:
    """All variants of the grid, seed after seed, so that the results of an interrupted run can be compared."""
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for evidence in config.evidence:
            yield from dict.fromkeys(
                replace(variant, evidence=evidence, seed=seed) for variant in _around_the_base(config)
            )


def work(config: AblateConfig) -> float:
    """How much an ablation is: pixels of all reports of all trainings; an equal CPU time buys about as many."""
    trainings = len(list(variants(config))) * len(config.budgets)
    pixels = (config.size / config.maps.pixel) ** 2
    return trainings * config.training.steps * (config.training.batch + config.unlabelled) * pixels


def _around_the_base(config: AblateConfig) -> Iterator[Variant]:
    base = Variant(labels=config.labels[0], map=config.conditions[0])
    every = tuple(config.training.features)
    for labels, condition in _labels_and_maps(config):
        yield from (
            _variant(loss, every, config.fractions[0], replace(base, labels=labels, map=condition))
            for loss in config.losses
        )
    yield from (_variant("map", (feature,), 0.0, base) for feature in config.single_features if "map" in config.losses)
    traced: list[LossKind] = [loss for loss in config.losses if loss != "none" and loss != "map"]
    yield from (_variant(loss, every, fraction, base) for loss in traced for fraction in config.fractions[1:])


def _labels_and_maps(config: AblateConfig) -> list[tuple[int, str]]:
    """Labels and maps, one of them at its base."""
    base, condition = config.labels[0], config.conditions[0]
    return [*((labels, condition) for labels in config.labels), *((base, other) for other in config.conditions[1:])]


def _variant(loss: LossKind, features: tuple[LossFeature, ...], fraction: float, base: Variant) -> Variant:
    features = () if loss == "none" else features
    return replace(base, loss=loss, features=features, rt_fraction=0.0 if loss in ("none", "map") else fraction)
