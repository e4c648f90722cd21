"""Tables for the explorer: rows of plain values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.analysis.charts import label
from explorer.analysis.phone_trial import PhoneTrial

MIN_PHONES = 5  # phones below which a condition's median says nothing


def percentile_rows(errors: Mapping[tuple[str, str], np.ndarray], within: float) -> list[dict[str, Any]]:
    """Errors in m by run and method, and the share of fixes within a distance."""
    several = len({run for run, _ in errors}) > 1
    rows = []
    for (run, method), error in errors.items():
        row: dict[str, Any] = {"run": run} if several else {}
        row |= {"method": label(method), **_quantiles(error), "mean m": round(float(error.mean()), 1)}
        rows.append(row | {f"≤ {within:g} m": f"{float((error <= within).mean()):.0%}", "n": len(error)})
    return rows


def _quantiles(error: np.ndarray) -> dict[str, float]:
    return {f"p{p} m": round(float(np.quantile(error, p / 100)), 1) for p in (50, 67, 95)}


def limit_ratios(errors: Mapping[tuple[str, str], np.ndarray]) -> dict[str, float]:
    """r50 and r95 of every run that has both the locator and grid Bayes."""
    runs = [run for run, method in errors if method == "locator" and (run, "grid_bayes") in errors]
    found = {}
    for run in runs:
        for p in (50, 95):
            ours, limit = (float(np.quantile(errors[run, m], p / 100)) for m in ("locator", "grid_bayes"))
            found[f"r{p}" if len(runs) == 1 else f"{run}<br>r{p}"] = ours / max(limit, 1e-6)
    return found


def condition_ratios(trial: PhoneTrial) -> dict[str, float]:
    """Median error over grid Bayes', by condition and its count of phones; those with hardly a phone are left out."""
    heard, los = trial.heard.numpy(), trial.phones.los.numpy()
    conditions = {"all": np.ones_like(los), "in sight": los, "out of sight": ~los}
    conditions |= {"1–2 cells": heard <= 2, "3–4 cells": (heard >= 3) & (heard <= 4), "5 and more": heard >= 5}
    ours, limit = trial.error.numpy(), trial.limit_error.numpy()
    return {
        f"{name} n={int(held.sum())}": float(np.median(ours[held])) / max(float(np.median(limit[held])), 1e-6)
        for name, held in conditions.items()
        if held.sum() >= MIN_PHONES
    }


def trial_rows(trial: PhoneTrial, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Errors and coverage of the chosen phones."""
    rows = []
    for name, error, rank in (
        ("locator", trial.error, trial.rank),
        ("grid Bayes", trial.limit_error, trial.limit_rank),
    ):
        own, ranks = error.numpy()[chosen], rank.numpy()[chosen]
        cover = {f"in {share:.0%} region": f"{float((ranks <= share).mean()):.0%}" for share in (0.5, 0.9)}
        rows.append({"method": name, **_quantiles(own), **cover})
    return rows


def worst_rows(trial: PhoneTrial, count: int) -> list[dict[str, Any]]:
    """The phones with the greatest errors, the worst first."""
    order = trial.error.argsort(descending=True)[:count].tolist()
    return [
        {
            "phone": n,
            "error m": round(float(trial.error[n]), 1),
            "Bayes m": round(float(trial.limit_error[n]), 1),
            "cells": int(trial.heard[n]),
            "sight": bool(trial.phones.los[n]),
            "nat": round(float(trial.entropy[n]), 2),
        }
        for n in order
    ]
