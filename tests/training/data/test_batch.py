"""Batches: each a matter of its number alone, shared between processes, of drawn phones and given maps."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import pytest
import torch

from tests.helpers.surveys import made
from tests.helpers.toy_city import SITES, toy_deployment
from training.data.batch import Batch, BatchConfig, BatchDataset, to_device
from training.data.config import AugmentationConfig, DomainRandomizationConfig
from training.data.domain_randomization import assumed_observation_model, draw_observation_model
from training.locator.config import OptimizationConfig
from training.locator.datamodule import LocatorDataModule, SurveyBatchDataset, deployment_of_tile, draw_one_report
from training.locator.setup import LocatorTrainingConfig
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell
from uel.survey.dataset import Survey
from uel.survey.stream import TrackStream

MODEL = ObservationModel()
LIVELY = DomainRandomizationConfig(
    shadowing_db=(6.0, 10.0),
    cells_max=(4, 2),
    feature_dropout=(0.0, 0.5),
    known_to_locator=("cells_max", "shadowing_db"),
)
WRONG = tuple(
    replace(site, position=(*site.position[:2], 28.0), cells=(Cell(azimuth_deg=10.0 * n),))
    for n, site in enumerate(SITES)
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A toy world whose locator may be given maps of masts that are off, 0°, 10°, 20° and 30°, and 3 m too high."""
    exact = toy_deployment(tmp_path_factory.mktemp("toy") / "tile")
    radio = FreeSpace(WRONG, size=exact.tile.size).radio_map(exact.maps.radio.grid)
    return replace(exact, variants={"wrong_sites": TileMaps.from_tile(exact.tile, radio)})


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """40 tracks on each of two toy tiles, which lie beside it."""
    return made(tmp_path_factory.mktemp("surveys") / "survey", tiles=2)


def surveyed(survey: Survey) -> list[Deployment]:
    """Worlds of a survey's tiles, without its tracks."""
    worlds = []
    for name in survey.tiles:
        tile = Tile.open(survey.folder.parent / "tiles" / name)
        maps = TileMaps.from_tile(tile, FreeSpace(SITES, size=tile.size).radio_map(tile.grid(8.0)))
        worlds.append(Deployment(tile, maps, None))
    return worlds


def drawing(**changes: object) -> BatchConfig:
    return replace(BatchConfig(model=MODEL, size=8, seed=1), **changes)  # type: ignore[arg-type]


def same(a: Batch, b: Batch) -> bool:
    reports = all(torch.equal(v, getattr(b.reports, name)) for name, v in vars(a.reports).items())
    return (
        reports
        and torch.equal(a.position, b.position)
        and (a.number, a.deployment_index) == (b.number, b.deployment_index)
    )


def test_everything_that_is_drawn_depends_on_the_number_alone(world: Deployment) -> None:
    plan = drawing(
        realism=LIVELY,
        augment=AugmentationConfig(symmetries=True, angle_deg=5.0, scale=0.1),
        conditions={"exact": 1.0, "wrong_sites": 1.0},
    )
    along = [BatchDataset([world], plan)[n] for n in range(12)]
    for number, batch in enumerate(along):
        (ahead,) = BatchDataset([world], plan, first=number, count=1)
        assert same(batch, ahead)
        assert (batch.similarity, batch.condition, batch.assumed_model) == (
            ahead.similarity,
            ahead.condition,
            ahead.assumed_model,
        )
    assert {batch.condition for batch in along} == {"exact", "wrong_sites"}
    assert len({batch.similarity for batch in along}) == 12
    assert {batch.assumed_model.cells_max for batch in along if batch.assumed_model} == {4, 2}
    assert all(
        int(batch.reports.heard.sum(-1).max()) <= batch.assumed_model.cells_max
        for batch in along
        if batch.assumed_model
    )
    assert all(len(batch.position) == 8 for batch in along)


def test_processes_share_the_batches_of_one(world: Deployment) -> None:
    alone = [batch.number for batch in BatchDataset([world], drawing(), first=10, count=6)]
    shared = [[b.number for b in BatchDataset([world], drawing(), first=10 + r, count=3, stride=2)] for r in (0, 1)]
    assert shared == [[10, 12, 14], [11, 13, 15]]
    assert sorted(shared[0] + shared[1]) == alone
    (ours,) = BatchDataset([world], drawing(), first=11, count=1, stride=2)
    assert same(ours, BatchDataset([world], drawing())[11])


def test_a_plain_plan_draws_what_it_drew_without_others(world: Deployment) -> None:
    """Phones do not depend on which maps the locator is given."""
    plain, other = (BatchDataset([world], drawing(conditions=c))[5] for c in ({"exact": 1.0}, {"wrong_sites": 1.0}))
    assert torch.equal(plain.position, other.position)
    assert torch.equal(plain.reports.rsrp_dbm, other.reports.rsrp_dbm)
    assert plain.maps is world.maps
    assert other.maps is world.variants["wrong_sites"]


def test_angles_follow_the_masts_as_they_are_believed(world: Deployment) -> None:
    """Whoever thinks an antenna turned by 30° reads its angles 30° off."""
    right, wrong = (
        BatchDataset([world], drawing(conditions={c: 1.0}))[2] for c in ("exact", "wrong_sites")
    )  # tier rsrp_ta_azimuth
    has = right.reports.has_azimuth
    assert has.any()
    off = (wrong.reports.azimuth_deg - right.reports.azimuth_deg)[has] % 360
    torch.testing.assert_close(off, 10.0 * right.reports.serving[has], rtol=0.0, atol=1e-3)


def test_turned_phones_are_where_their_own_map_says(world: Deployment) -> None:
    """With maps and truth turned together, the posterior of a turned world is as good as that of the world itself."""
    nlls = []
    for augment in (AugmentationConfig(), AugmentationConfig(symmetries=True, angle_deg=5.0, scale=0.1)):
        nll = []
        for batch in islice(BatchDataset([world], drawing(size=32, traced_fraction=0.0, augment=augment)), 2, 12, 3):
            prior = batch.maps.prior
            posterior = grid_posterior(batch.reports, batch.maps.radio, prior, MODEL, batch.maps.power_dbm)
            row, column = batch.maps.radio.grid.pixel_of(batch.position)
            at_truth = posterior[torch.arange(len(row)), row, column]
            assert (prior[row, column] > 0).all()
            nll.append(-at_truth.log().mean())
        nlls.append(float(torch.stack(nll).mean()))
    assert nlls[1] == pytest.approx(nlls[0], abs=0.35)  # 128 phones of about 1 nat's spread each


def test_realism_covers_its_ranges_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_observation_model(LIVELY, MODEL, generator) for _ in range(300)]
    levels = torch.tensor([model.shadowing_db for model in drawn])
    assert 6.0 <= levels.min() < 6.1 < 9.9 < levels.max() <= 10.0
    assert levels.mean() == pytest.approx(8.0, abs=0.2)
    assert Counter(model.cells_max for model in drawn).keys() == {4, 2}
    assert {model.cell_dropout for model in drawn} == {0.0}
    believed = assumed_observation_model(LIVELY, MODEL, drawn[0])
    assert believed.shadowing_db == drawn[0].shadowing_db
    assert believed.feature_dropout == MODEL.feature_dropout != drawn[0].feature_dropout


@pytest.mark.parametrize(
    "wrong",
    [
        {"shadowing_db": (10.0, 6.0)},
        {"shadowing_db": (0.0, 6.0)},
        {"cell_dropout": (0.0, 1.0)},
        {"cells_max": ()},
        {"cells_max": (0,)},
        {"tiers": ()},
        {"known_to_locator": ("tier",)},
    ],
    ids=str,
)
def test_impossible_phones_are_refused(wrong: dict) -> None:
    with pytest.raises(UelError):
        DomainRandomizationConfig(**wrong)


# ---- from a survey -------------------------------------------------------------------------------------


def stream(worlds: list[Deployment], survey: Survey, numbers: Iterable[int], **how: object) -> SurveyBatchDataset:
    recipe = LocatorTrainingConfig(training=OptimizationConfig(batch=8, traced_fraction=0.5))
    return SurveyBatchDataset(worlds, recipe, survey, how.pop("epoch", 0), numbers, **how)  # type: ignore[arg-type]


def test_survey_batches_hold_tracks_of_their_tile(survey: Survey) -> None:
    worlds = surveyed(survey)
    batches = list(stream(worlds, survey, range(30)))  # 20 batches of four tracks are in the survey: it comes again
    assert [batch.number for batch in batches] == list(range(30))
    assert {batch.deployment_index for batch in batches} == {0, 1}
    for batch in batches:
        assert len(batch.position) == 8
        places = survey[worlds[batch.deployment_index].tile.name].truth.position.reshape(-1, 2)
        there = (batch.position.unsqueeze(1) == places).all(-1).any(1)
        assert there[:4].all()
        assert not there[4:].any()


def test_survey_batches_are_those_of_their_epoch_and_process(survey: Survey) -> None:
    worlds = surveyed(survey)
    first, again = (list(stream(worlds, survey, range(6), epoch=2)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    other = list(stream(worlds, survey, range(6), epoch=3))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))
    shares = [list(stream(worlds, survey, range(r, 6, 2), epoch=2, rank=(r, 2))) for r in (0, 1)]
    seen = [{(batch.deployment_index, *p.tolist()) for batch in share for p in batch.position[:4]} for share in shares]
    assert not seen[0] & seen[1]


def test_one_report_of_each_track_is_a_valid_one(survey: Survey) -> None:
    generator = torch.Generator().manual_seed(0)
    for tracks in TrackStream(survey, survey.tiles, batch=16):
        truth, valid = draw_one_report(tracks, generator), tracks.values["valid"]
        for n, position in enumerate(truth.position):
            places = tracks.values["position"][n][valid[n]]
            assert (places == position).all(-1).any()


def test_worlds_and_survey_must_belong_together(survey: Survey, world: Deployment) -> None:
    worlds = surveyed(survey)
    assert deployment_of_tile(worlds, survey) == {name: n for n, name in enumerate(survey.tiles)}
    moved_masts = replace(worlds[0], maps=replace(worlds[0].maps, radio=replace(worlds[0].maps.radio, sites=WRONG)))
    with pytest.raises(UelError, match="sites changed after the survey"):
        deployment_of_tile([moved_masts], survey)
    with pytest.raises(UelError, match="in the survey and given once"):
        deployment_of_tile([worlds[0], worlds[0]], survey)
    with pytest.raises(UelError, match="too few tracks"):
        list(stream(worlds, survey, range(3), rank=(0, 1000)))


def test_validation_is_the_same_phones_under_every_condition(world: Deployment) -> None:
    recipe = LocatorTrainingConfig(
        conditions={"exact": 1.0, "wrong_sites": 2.0}, training=OptimizationConfig(validation=80)
    )
    batches = LocatorDataModule(recipe, [world], [world]).validation
    assert [(b.condition, len(b.position)) for b in batches] == [
        ("exact", 64),
        ("exact", 16),
        ("wrong_sites", 64),
        ("wrong_sites", 16),
    ]
    assert torch.equal(batches[0].position, batches[2].position)
    with pytest.raises(UelError, match="needs deployments"):
        LocatorDataModule(recipe, [], [world])


def test_a_batch_moves_with_all_that_it_holds(world: Deployment) -> None:
    batch = BatchDataset([world], drawing())[0]
    assert batch.to("cpu") is batch
    there = to_device(batch, "meta")
    assert there.reports.rsrp_dbm.is_meta
    assert there.maps.radio.gain.is_meta
    assert there.maps.radio.channels.departure.is_meta
    assert there.condition == batch.condition
