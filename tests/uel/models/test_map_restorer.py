"""A network that tells how maps are wrong: what it knows before training, what it learns, and when it is believed."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.free_space import silent
from tests.helpers.locators import MODEL
from tests.helpers.toy_city import images, standing, toy_deployment
from training.locator import fit_map_restorer
from training.locator.config import MapRestorerTrainingConfig
from training.locator.fit_map_restorer import LOS_WEIGHT, OUTLIER_FRACTION, _loss, _TargetBatch, fit_restorer
from uel.adaptation.site_adaptation import SiteAdaptation
from uel.core.units import from_db, to_db
from uel.errors import UelError
from uel.estimation.baselines import LocalizationProblem
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import DB_PER_NEPER
from uel.measurement.rsrp_likelihood import RsrpLikelihood
from uel.models.config import RestorerConfig
from uel.models.map_restorer import LEVEL_UNIT_DB, UNKNOWN_GAIN_DB, MapRestorer, RestoredLevels, restorer_input
from uel.radio.radio_map import RadioMap

SMALL = RestorerConfig(width=8, levels=3)
LOST = 25.0  # dB that many pixels of the wrong map lack


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


def stained(maps: TileMaps, seed: int) -> TileMaps:
    """A map as few rays make it: every third pixel has lost its strongest path, every tenth all of them."""
    radio, generator = maps.radio, torch.Generator().manual_seed(seed)
    chance = torch.rand(radio.gain.shape, generator=generator)
    known = chance > 0.1
    gain = torch.where(chance < 0.4, radio.gain * from_db(torch.tensor(-LOST)), radio.gain)
    return replace(maps, radio=replace(radio, gain=gain * known, known=known, los=radio.los & known))


def trained(seed: int = 0) -> MapRestorer:
    torch.manual_seed(seed)
    network = MapRestorer(SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def test_before_training_the_map_is_believed_by_ten_decibels(world: Deployment) -> None:
    given = stained(world.maps, 1)
    found = MapRestorer(SMALL).restore(given)
    known = given.radio.known
    assert bool(found.known.all())
    torch.testing.assert_close(to_db(found.gain)[known], given.radio.level_db[known], atol=1e-3, rtol=1e-4)
    assert float((to_db(found.gain)[~known] - UNKNOWN_GAIN_DB).abs().max()) < 1e-3
    torch.testing.assert_close(
        found.relative_error * DB_PER_NEPER, torch.full_like(found.gain, LEVEL_UNIT_DB * math.log(2))
    )


def test_a_turned_or_mirrored_world_gives_the_same_map_so(world: Deployment) -> None:
    network, here = trained(), standing(world.maps)
    straight = network.restore(here)
    for there, image in images(here):
        around = network.restore(there)
        for name in ("gain", "relative_error"):
            told, turned = (getattr(radio, name).log() for radio in (straight, around))
            assert float(told.std()) > 0.01
            torch.testing.assert_close(turned, image(told), atol=1e-3, rtol=1e-3)


def test_each_cell_is_restored_by_itself(world: Deployment) -> None:
    network, radio = trained(), world.maps.radio
    swapped = {n: getattr(radio, n).flip(0) for n in ("gain", "relative_error", "known", "los")}
    other = network.restore(replace(world.maps, radio=replace(radio, sites=radio.sites[::-1], **swapped)))
    torch.testing.assert_close(other.gain.flip(0), network.restore(world.maps).gain)


@pytest.mark.parametrize("level", [-60.0, -118.0])
def test_what_is_learned_is_the_law_of_levels(level: float) -> None:
    """Of a report in one pixel: the loss is minus the log-likelihood that the measurement model gives it."""
    power, mean, spread, odds = 10.0, -95.0, 7.0, 0.3

    def pixel(value):
        return torch.full((1, 1, 1), value)

    limit = MODEL.sensitivity_dbm - MODEL.rsrp_step_db / 2
    heard = level >= limit
    own = math.hypot(spread, MODEL.shadowing_db)
    model = RsrpLikelihood(
        pixel(mean + power),
        pixel(1.0) > 0,
        pixel(own),
        0.0,
        MODEL.rsrp_step_db,
        0.0,
        OUTLIER_FRACTION,
        MODEL.outlier_db,
    )
    reports = replace(silent(1, 1), rsrp_dbm=torch.tensor([[level]]) * heard, heard=torch.tensor([[heard]]))
    log_p = float(model.log_likelihood(reports, torch.tensor([[limit]]))) - math.log(MODEL.rsrp_step_db) * heard
    yes = torch.ones(1, 1, dtype=torch.bool)
    asked = _TargetBatch(pixel(0.0), torch.tensor([[level - power]]), limit - power, yes & heard, yes, yes)
    loss = float(_loss(RestoredLevels(pixel(mean), pixel(spread), pixel(odds)), [asked], MODEL))
    assert loss == pytest.approx(-log_p + LOS_WEIGHT * math.log1p(math.exp(-odds)), abs=2e-3)


@pytest.fixture(scope="module")
def learned(world: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that saw three stained maps of the toy world, validated on another."""
    out = tmp_path_factory.mktemp("restorer")
    train = [replace(world, variants={"exact": world.maps, "few_rays": stained(world.maps, seed)}) for seed in range(3)]
    validate = [replace(world, variants={"few_rays": stained(world.maps, 7)})]
    plan = MapRestorerTrainingConfig(steps=150, batch=4, learning_rate=1e-2, network=SMALL)
    fit_restorer(plan, train, validate, MODEL, 1, out)
    return out


def test_other_stains_of_the_same_kind_are_taken_out(world: Deployment, learned: Path) -> None:
    given, restored = json.loads((learned / "restorer.json").read_text())["few_rays"]
    exact = math.log(MODEL.shadowing_db * math.sqrt(2 * math.pi * math.e))
    assert restored - exact < 0.2 * (given - exact)
    network = MapRestorer.load(learned)
    assert network is not None
    maps = stained(world.maps, 11)
    found, there = network.restore(maps), world.maps.prior > 0
    off = (to_db(found.gain) - world.maps.radio.level_db)[:, there]
    was = (maps.radio.level_db - world.maps.radio.level_db)[maps.radio.known & there]
    assert float(off.square().mean()) < 0.1 * float(was.square().mean())
    assert float((found.los == world.maps.radio.los)[:, there].float().mean()) > 0.95


def test_killed_it_goes_on_to_the_same_network(
    world: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds = [replace(world, variants={"few_rays": stained(world.maps, 1)})]
    plan, whole, killed = (
        MapRestorerTrainingConfig(steps=7, batch=2, network=SMALL),
        tmp_path / "whole",
        tmp_path / "killed",
    )
    monkeypatch.setattr(fit_map_restorer, "STEPS_PER_SAVE", 2)
    for out in (whole, killed):
        out.mkdir()
    fit_restorer(plan, worlds, worlds, MODEL, 1, whole)
    take, taken = fit_map_restorer._TrainerState.train_step, list[int]()

    def dying(course: fit_map_restorer._TrainerState, *rest: Any) -> float:
        taken.append(course.step)
        if len(taken) == 6:
            raise KeyboardInterrupt
        return take(course, *rest)

    monkeypatch.setattr(fit_map_restorer._TrainerState, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fit_restorer(plan, worlds, worlds, MODEL, 1, killed)
    fit_restorer(plan, worlds, worlds, MODEL, 1, killed)
    assert taken == [0, 1, 2, 3, 4, 5, 4, 5, 6]
    told = [torch.load(out / "restorer.pt")["state"] for out in (whole, killed)]
    assert all(torch.equal(told[0][name], told[1][name]) for name in told[0])
    assert {file.name for file in killed.iterdir()} == {"restorer.pt", "restorer.json"}


def test_error_bars_are_what_nobody_can_tell_from_the_map(world: Deployment, tmp_path: Path) -> None:
    """Levels that are off by 12 dB in each pixel for no reason that the map shows."""
    radio, generator = world.maps.radio, torch.Generator().manual_seed(4)
    noise = 12.0 * torch.randn(radio.gain.shape, generator=generator)
    rough = replace(world.maps, radio=replace(radio, gain=radio.gain * from_db(noise)))
    there = replace(world, maps=rough, variants={"few_rays": world.maps})
    fit_restorer(
        MapRestorerTrainingConfig(steps=80, batch=4, learning_rate=1e-2, network=SMALL),
        [there],
        [there],
        MODEL,
        1,
        tmp_path,
    )
    network = MapRestorer.load(tmp_path)
    assert network is not None
    bar = (network.restore(world.maps).relative_error * DB_PER_NEPER)[:, world.maps.prior > 0]
    assert float(bar.median()) == pytest.approx(12.0, abs=2.0)


def place(world: Deployment, given: TileMaps) -> LocalizationProblem:
    reports, position = world.reports_from_map(160, MODEL, torch.Generator().manual_seed(3))
    return LocalizationProblem(given.radio, given.prior, MODEL, reports, position)


class Knowing(MapRestorer):
    """Whatever it is shown, it says the same."""

    answer: RadioMap

    def restore(self, maps: TileMaps) -> RadioMap:
        return self.answer


@pytest.mark.parametrize("right", [pytest.param(True, marks=pytest.mark.slow), False])  # 15 s each
def test_a_restored_map_is_believed_only_if_labelled_reports_bear_it_out(world: Deployment, right: bool) -> None:
    true, wrong = world.maps, stained(world.maps, 2)
    network = Knowing(SMALL)
    network.answer = (wrong if right else true).radio
    given = true if right else wrong
    learned = SiteAdaptation(place(world, given), given, restorer=network)
    assert learned.uses_restored_map is not right
    unrestored = SiteAdaptation(place(world, given), given).correction
    assert learned.correction.held_out_log_probability >= unrestored.held_out_log_probability
    torch.testing.assert_close(learned.correction.bayes.radio.gain, true.radio.gain)
    assert ("map restored" in str(learned)) is not right


def test_a_run_keeps_its_restorer(tmp_path: Path, world: Deployment) -> None:
    assert MapRestorer.load(tmp_path) is None
    network = trained()
    network.save(tmp_path)
    again = MapRestorer.load(tmp_path)
    assert again is not None
    assert torch.equal(again.restore(world.maps).gain, network.restore(world.maps).gain)


@pytest.mark.parametrize("content", [b"no weights", {"schema": "uel-restorer-0"}, [1]])
def test_foreign_files_are_refused(tmp_path: Path, content: object) -> None:
    if isinstance(content, bytes):
        (tmp_path / "restorer.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "restorer.pt")
    with pytest.raises(UelError, match="train again"):
        MapRestorer.load(tmp_path)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(UelError, match="rate"):
        MapRestorerTrainingConfig(learning_rate=0.0)
    with pytest.raises(UelError, match="at least 1"):
        RestorerConfig(levels=0)


def test_what_is_shown_has_no_index_of_the_cell(world: Deployment) -> None:
    """Cells with the same map and pose are shown alike, wherever they stand in the list."""
    both = restorer_input(world.maps)
    assert torch.equal(restorer_input(world.maps, slice(2, 3)), both[2:3])
