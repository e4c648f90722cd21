"""Rows of the explorer's tables: dictionaries of plain values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.analysis.phone_trial import PhoneTrial
from explorer.style import run_method_label

MIN_PHONES = 5  # phones of a condition; below, its median is noise


def percentile_rows(errors: Mapping[tuple[str, str], np.ndarray], within: float) -> list[dict[str, Any]]:
    """Error percentiles in m by run and method, and the fraction of fixes within `within` m."""
    several = len({run for run, _ in errors}) > 1
    rows = []
    for (run, method), error in errors.items():
        row: dict[str, Any] = {"run": run} if several else {}
        row |= {"method": run_method_label(method), **_quantiles(error), "mean m": round(float(error.mean()), 1)}
        rows.append(row | {f"≤ {within:g} m": f"{float((error <= within).mean()):.0%}", "n": len(error)})
    return rows


def _quantiles(error: np.ndarray) -> dict[str, float]:
    return {f"p{p} m": round(float(np.quantile(error, p / 100)), 1) for p in (50, 67, 95)}


def limit_ratios(errors: Mapping[tuple[str, str], np.ndarray]) -> dict[str, float]:
    """r50 and r95 of each run that has errors of the locator and of grid Bayes."""
    runs = [run for run, method in errors if method == "locator" and (run, "grid_bayes") in errors]
    ratios_by_name = {}
    for run in runs:
        for p in (50, 95):
            locator, limit = (float(np.quantile(errors[run, m], p / 100)) for m in ("locator", "grid_bayes"))
            ratios_by_name[f"r{p}" if len(runs) == 1 else f"{run}<br>r{p}"] = locator / max(limit, 1e-6)
    return ratios_by_name


def condition_ratios(trial: PhoneTrial) -> dict[str, float]:
    """The locator's median error over grid Bayes' by condition; conditions below `MIN_PHONES` phones are left out."""
    heard, los = trial.heard.numpy(), trial.phones.los.numpy()
    conditions = {"all": np.ones_like(los), "LoS": los, "NLoS": ~los}
    conditions |= {"1–2 cells": heard <= 2, "3–4 cells": (heard >= 3) & (heard <= 4), "5 and more": heard >= 5}
    locator, limit = trial.error.numpy(), trial.limit_error.numpy()
    return {
        f"{name} n={int(selected.sum())}": float(np.median(locator[selected]))
        / max(float(np.median(limit[selected])), 1e-6)
        for name, selected in conditions.items()
        if selected.sum() >= MIN_PHONES
    }


def trial_rows(trial: PhoneTrial, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Errors and coverage of the chosen phones, for locator and grid Bayes."""
    rows = []
    for name, error, rank in (
        ("locator", trial.error, trial.rank),
        ("grid Bayes", trial.limit_error, trial.limit_rank),
    ):
        errors, ranks = error.numpy()[chosen], rank.numpy()[chosen]
        cover = {
            f"in {probability:.0%} region": f"{float((ranks <= probability).mean()):.0%}" for probability in (0.5, 0.9)
        }
        rows.append({"method": name, **_quantiles(errors), **cover})
    return rows


def worst_rows(trial: PhoneTrial, count: int) -> list[dict[str, Any]]:
    """The `count` phones with the largest errors, the worst first."""
    order = trial.error.argsort(descending=True)[:count].tolist()
    return [
        {
            "phone": n,
            "error m": round(float(trial.error[n]), 1),
            "limit m": round(float(trial.limit_error[n]), 1),
            "cells": int(trial.heard[n]),
            "LoS": bool(trial.phones.los[n]),
            "nat": round(float(trial.entropy[n]), 2),
        }
        for n in order
    ]
