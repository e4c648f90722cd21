"""Trials of a locator on phones that are drawn while a visitor waits, with a bar that shows how far they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from explorer.analysis import phone_trial
from explorer.analysis.artefact_index import TileArtefacts
from explorer.analysis.phone_trial import PERMUTED_FEATURES, PHONES_PER_SWAP, Count, PhoneTrial, ignore_count
from explorer.app import cache
from explorer.app.cache import cached
from explorer.app.elements.progress import Progress, with_progress

TRIAL_SEED = 1  # one trial for all pages


def phone_trial_of(run: Path, tile: TileArtefacts, truth: str, tier: str) -> PhoneTrial:
    """The trial of a run's locator on phones of a tile, drawn from its map, or of its survey for truth "paths".

    Raises `UelError` where no phone hears a cell, and for damaged files.
    """
    key, survey = _opened(run, tile), _survey(tile, truth)
    count = phone_trial.PHONES_PER_TRIAL

    def compute(progress: Progress) -> PhoneTrial:
        progress.expect(2 * count)
        return _run_phone_trial(*key, survey, tier, count, TRIAL_SEED, _count=progress.add)

    return with_progress(f"Locating {count} phones …", compute)


def permutation_importance_of(run: Path, tile: TileArtefacts, truth: str, tier: str) -> dict[str, np.ndarray]:
    """Errors in m of the trial's phones by permuted feature, see `phone_trial.permutation_importance`."""
    key, survey = _opened(run, tile), _survey(tile, truth)
    count = phone_trial.PHONES_PER_TRIAL

    def compute(progress: Progress) -> dict[str, np.ndarray]:
        progress.expect((1 + len(PERMUTED_FEATURES)) * count)
        return _importance(*key, survey, tier, count, TRIAL_SEED, None, _count=progress.add)

    return with_progress("Permuting features …", compute)


def phone_importance_of(run: Path, tile: TileArtefacts, truth: str, tier: str, number: int) -> dict[str, np.ndarray]:
    """Errors in m of one of the trial's phones by swapped feature, see `phone_trial.phone_importance`."""
    key, survey = _opened(run, tile), _survey(tile, truth)

    def compute(progress: Progress) -> dict[str, np.ndarray]:
        progress.expect(len(PERMUTED_FEATURES) * PHONES_PER_SWAP)
        count = phone_trial.PHONES_PER_TRIAL
        return _importance(*key, survey, tier, count, TRIAL_SEED, number, _count=progress.add)

    return with_progress(f"Swapping features of phone {number} …", compute)


def _opened(run: Path, tile: TileArtefacts) -> tuple[Path, Path, Path]:
    """The folders of a trial; what is in them is opened here, because it says so on the page."""
    cache.locator(run)
    cache.deployment(tile)
    return run, tile.folder, tile.maps[0]


def _survey(tile: TileArtefacts, truth: str) -> tuple[Path, str] | None:
    if truth != "paths":
        return None
    cache.survey(*tile.surveys[0])
    return tile.surveys[0]


# ---- computed once -----------------------------------------------------------------------------------


@cached(max_entries=16)
def _run_phone_trial(
    run: Path,
    folder: Path,
    radio: Path,
    survey_tile: tuple[Path, str] | None,
    tier: str,
    count: int,
    seed: int,
    _count: Count = ignore_count,
) -> PhoneTrial:
    """The trial of a run's locator on phones of a tile, drawn from the map or from a tile of a survey."""
    tracks = cache.survey(*survey_tile) if survey_tile else None
    opened = replace(cache.open_deployment(folder, radio), survey=tracks)
    phones = phone_trial.draw_phones(opened, cache.locator(run).measurement, count, seed)
    phones = replace(phones, reports=phones.reports.with_tier(tier))
    return phone_trial.score_phones(cache.locator(run), opened.maps, phones, seed, _count)


@cached(max_entries=64)
def _importance(
    run: Path,
    folder: Path,
    radio: Path,
    survey_tile: tuple[Path, str] | None,
    tier: str,
    count: int,
    seed: int,
    number: int | None,
    _count: Count = ignore_count,
) -> dict[str, np.ndarray]:
    """Errors in m by feature that is permuted among all phones, or swapped for phone `number`."""
    trial = _run_phone_trial(run, folder, radio, survey_tile, tier, count, seed)
    located_by = cache.locator(run), cache.open_deployment(folder, radio).maps, trial.phones
    if number is None:
        errors = phone_trial.permutation_importance(*located_by, seed, _count)
    else:
        errors = phone_trial.phone_importance(*located_by, number, seed, _count)
    return {name: error.numpy() for name, error in errors.items()}
