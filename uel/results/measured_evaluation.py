"""Results of an evaluation on measured networks: scores by method and label budget, intervals by resampling blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from uel.core.outside.array_files import read_arrays
from uel.core.outside.json_text import read_json_object
from uel.errors import UelError
from uel.estimation.scoring import coverage, error_summary

Array = np.ndarray
TABLE_COLUMNS = (
    "district", "method", "labels", "p50_m", "p50_low_m", "p50_high_m", "p67_m", "p95_m", "mean_m", "within_50", "nats",
    "cover_50", "cover_90", "cpu_ms",
)  # fmt: skip
COMPARISON_COLUMNS = ("district", "method", "rival", "labels", "better_percent", "low_percent", "high_percent")
MEAN_NAME = "mean of districts"
NEAR_DISTANCE = 50.0  # m
BOOTSTRAP_DRAWS = 200
CONFIDENCE_LEVEL = 0.9
ABOUT_FILE = "about.json"
RIVAL_METHODS = ("knn_5", "knn_tuned", "law_kriging", "path_loss_kriging")

Draws = Sequence[Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class MeasuredResult:
    """What an evaluation on measured networks left in its folder."""

    about: Mapping[str, Any]
    """protocol, districts, draws, phones and answer"""
    draws: Mapping[str, Draws]
    """arrays of each draw by district, as `training.measured_networks.runner.judge_draw` gives them"""

    @staticmethod
    def load(folder: Path) -> "MeasuredResult":
        """Read a result. Raises `UelError` where a file of it is missing or damaged."""
        try:
            about = read_json_object(folder / ABOUT_FILE)
            draws = {d: [_arrays(folder / "units" / name) for name in names] for d, names in about["units"].items()}
        except (OSError, ValueError, KeyError) as error:
            do = "repeat the evaluation: uel eval --protocol NAME --data FOLDER"
            raise UelError(
                "a file of this evaluation is missing or damaged", got=f"{folder}: {error}", do=do
            ) from error
        return MeasuredResult(about, draws)


def _arrays(file: Path) -> dict[str, Array]:
    return read_arrays(file)


@dataclass(frozen=True, eq=False)
class MethodScores:
    """Scores of a method with one label budget in one district, all draws together."""

    block: Int[Array, " n"]
    error: Float[Array, " n"]
    nll: Float[Array, " n"] | None
    hpd_level: Float[Array, " n"] | None
    cpu_ms: float

    def row(self) -> dict[str, float | str]:
        """The columns of `table.csv` that need no interval; empty where a method has no density."""
        summary = error_summary(torch.from_numpy(self.error))
        row: dict[str, float | str] = {name: summary[name] for name in ("p50_m", "p67_m", "p95_m", "mean_m")}
        row["within_50"] = float((self.error <= NEAR_DISTANCE).mean())
        row |= {"nats": "", "cover_50": "", "cover_90": "", "cpu_ms": self.cpu_ms}
        if self.nll is not None and self.hpd_level is not None:
            level = torch.from_numpy(self.hpd_level)
            row |= {"nats": -float(self.nll.mean()), "cover_50": coverage(level, 0.5), "cover_90": coverage(level, 0.9)}
        return row


Key = tuple[str, int]
Row = Mapping[str, float | str | int]


def method_scores(draws: Draws) -> dict[Key, MethodScores]:
    """Scores of a district by method and label budget; rows that not every draw has take the draws that do."""
    scores: dict[Key, MethodScores] = {}
    for key in dict.fromkeys(name.rpartition("/")[0] for draw in draws for name in draw if "/" in name):
        method, budget = key.split("/")
        own = [draw for draw in draws if f"{key}/error" in draw]

        def joined(name: str, key: str = key, own: Draws = own) -> np.ndarray | None:
            parts = [draw[f"{key}/{name}"] for draw in own if f"{key}/{name}" in draw]
            return np.concatenate(parts) if parts else None

        error = joined("error")
        assert error is not None, "every method has errors"
        block = np.concatenate([draw["block"] for draw in own])
        cpu_ms = float(np.median([draw[f"{key}/cpu_ms"] for draw in own]))
        scores[method, int(budget)] = MethodScores(block, error, joined("nll"), joined("hpd_level"), cpu_ms)
    return scores


def resampled_medians(scores: Mapping[Key, MethodScores], seed: int) -> dict[Key, Float[Array, " draw"]]:
    """Median errors in metres where the district's blocks are drawn anew, the same blocks for every method."""
    blocks = np.unique(np.concatenate([own.block for own in scores.values()]))
    picks = np.random.default_rng(seed).integers(len(blocks), size=(BOOTSTRAP_DRAWS, len(blocks)))
    times = np.stack([np.bincount(pick, minlength=len(blocks)) for pick in picks])
    return {key: _weighted_medians(own, blocks, times) for key, own in scores.items()}


def _weighted_medians(scores: MethodScores, blocks: Array, times: Int[Array, "draw block"]) -> Float[Array, " draw"]:
    """Lower medians of errors that count as often as their block was drawn."""
    order = scores.error.argsort()
    weight = times[:, np.searchsorted(blocks, scores.block[order])].cumsum(1)
    half = np.maximum((weight[:, -1:] + 1) // 2, 1)
    return scores.error[order][np.minimum((weight < half).sum(1), len(order) - 1)]


@dataclass(frozen=True, eq=False)
class MeasuredTable:
    """Rows of `table.csv` and of `comparisons.csv`."""

    rows: Sequence[Row]
    comparisons: Sequence[Row]

    @staticmethod
    def of(result: MeasuredResult) -> "MeasuredTable":
        """Rows of each district and, where every district has a row, of the mean of the districts."""
        scores = {district: method_scores(draws) for district, draws in result.draws.items()}
        medians = {district: resampled_medians(own, seed) for seed, (district, own) in enumerate(scores.items())}
        rows: list[Row] = [
            {"district": district, "method": key[0], "labels": key[1], **own.row(), **_interval(medians[district][key])}
            for district, by_key in scores.items()
            for key, own in by_key.items()
        ]
        first, *others = scores.values()
        common = [key for key in first if all(key in other for other in others)]
        for key in common:
            own = [row for row in rows if (row["method"], row["labels"]) == key]
            mean = {name: _mean([row[name] for row in own]) for name in TABLE_COLUMNS[3:]}
            interval = _interval(np.mean([medians[district][key] for district in scores], axis=0))
            rows.append({"district": MEAN_NAME, "method": key[0], "labels": key[1], **mean, **interval})
        return MeasuredTable(rows, _comparisons(scores, medians, common))


def _interval(medians: Float[Array, " draw"]) -> dict[str, float]:
    low, high = np.quantile(medians, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return {"p50_low_m": float(low), "p50_high_m": float(high)}


def _mean(values: Sequence[float | str | int]) -> float | str:
    numbers = [value for value in values if not isinstance(value, str)]
    return float(np.mean(numbers)) if len(numbers) == len(values) else ""


def _comparisons(
    scores: Mapping[str, Mapping[Key, MethodScores]],
    medians: Mapping[str, Mapping[Key, Float[Array, " draw"]]],
    keys: Sequence[Key],
) -> list[Row]:
    """By how many per cent the mean of the districts' median errors is below a rival's with the same labels; of methods
    with a density."""
    rows, first = list[Row](), next(iter(scores.values()))
    for method, labels in (key for key in keys if first[key].nll is not None):
        for rival in (name for name in RIVAL_METHODS if name != method and (name, labels) in keys):
            pair = [(method, labels), (rival, labels)]
            own, other = (np.array([by_key[key].row()["p50_m"] for by_key in scores.values()]) for key in pair)
            own_drawn, other_drawn = (np.stack([by_key[key] for by_key in medians.values()]) for key in pair)
            drawn = 100 * (1 - own_drawn.mean(0) / other_drawn.mean(0))
            low, high = np.quantile(drawn, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
            better = {"better_percent": float(100 * (1 - own.mean() / other.mean()))}
            better |= {"low_percent": float(low), "high_percent": float(high)}
            rows.append({"district": MEAN_NAME, "method": method, "rival": rival, "labels": labels, **better})
    return rows
