"""Rows of the explorer's tables: dictionaries of plain values."""

from typing import Any

import numpy as np

from explorer.analysis.phone_trial import PhoneTrial


def _quantiles(error: np.ndarray) -> dict[str, float]:
    return {f"p{p} m": round(float(np.quantile(error, p / 100)), 1) for p in (50, 67, 95)}


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


def phone_rows(trial: PhoneTrial) -> list[dict[str, Any]]:
    """A row for each phone, the largest error first."""
    return [
        {
            "phone": n,
            "error m": round(float(trial.error[n]), 1),
            "grid Bayes m": round(float(trial.limit_error[n]), 1),
            "cells": int(trial.heard[n]),
            "serving cell": "in sight" if bool(trial.phones.los[n]) else "behind a building",
            "entropy nat": round(float(trial.entropy[n]), 2),
        }
        for n in trial.error.argsort(descending=True).tolist()
    ]
