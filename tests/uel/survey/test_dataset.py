"""Surveys on disk: what goes in comes out, byte for byte repeatable, and damage is noticed."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr

from sim_bridge.survey.config import SurveyMakingConfig
from tests.helpers.surveys import PLAN, content, made, toy_work
from tests.helpers.toy_city import SITES
from uel.core.outside.checksums import json_with_checksum
from uel.errors import UelError
from uel.measurement.model import ObservationModel
from uel.mobility.trajectories import draw_tracks
from uel.radio.simulator import FreeSpace
from uel.survey.dataset import TRUTH_FEATURES, Survey
from uel.survey.feature_schema import REPORT_FEATURES, TRACK_FEATURES
from uel.survey.manifest import SCHEMA
from uel.survey.statistics import StreamingStatistics
from uel.survey.store import known_values

CELLS = len(SITES)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("made") / "survey", tiles=2)


@pytest.fixture
def copied(survey: Survey, tmp_path: Path) -> Path:
    """One to damage."""
    shutil.copytree(survey.folder, tmp_path / "survey")
    return tmp_path / "survey"


# ---- round trip --------------------------------------------------------------------------------------------


def test_what_is_drawn_and_measured_comes_back(survey: Survey) -> None:
    got, place = survey["toy"], toy_work(survey.folder, tiles=2).tiles[0]
    tracks = draw_tracks(place.tile, SITES, PLAN.tracks, PLAN.seed)
    valid = tracks.valid
    assert 40 < valid.sum() < 160
    assert torch.equal(got.valid, valid)
    assert torch.equal(got.time, tracks.time * valid)
    assert torch.equal(got.velocity, tracks.velocity * valid.unsqueeze(-1))
    truth = FreeSpace(SITES, size=256.0).paths(tracks.position[valid])
    for name in TRUTH_FEATURES:
        back, want = getattr(got.truth, name), getattr(truth, name)
        assert back.dtype == want.dtype
        assert torch.equal(back[valid], want)
        assert not back[~valid].any()
    assert got.sites == SITES


def test_a_part_of_it_is_read_by_track(survey: Survey) -> None:
    part = survey.read("toy", ("gain_db",), first=6, count=13)["gain_db"]
    assert torch.equal(part, survey["toy"].truth.gain_db[6:19])


def test_arrays_name_their_axes_units_and_masks(survey: Survey) -> None:
    group = zarr.open_group(survey.folder / "toy.zarr", mode="r")
    assert group.attrs["schema"] == SCHEMA
    arrays = dict(group.arrays())
    assert set(arrays) == {*survey.features, "cell_site", "cell_position", "cell_azimuth_deg"}
    for name in survey.features:
        feature = (REPORT_FEATURES | TRACK_FEATURES)[name]
        assert arrays[name].metadata.dimension_names == ("track", "report", *feature.axes)
        assert arrays[name].attrs["units"] == feature.unit
        assert arrays[name].attrs["long_name"] == feature.description
        assert arrays[name].attrs.get("ancillary_variables", "") == feature.mask
        assert arrays[name].shards[0] == 8
        assert arrays[name].dtype == np.dtype(feature.dtype)


def test_xarray_opens_it(survey: Survey) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(survey.folder / "toy.zarr", consolidated=False)
        gain = data["gain_db"].where(data["known"] & data["valid"]).load()
    assert gain.dims == ("track", "report", "cell")
    assert data["delay"].dtype == np.float32
    assert data["delay"].attrs["units"] == "s"
    want = torch.where(survey["toy"].truth.known, survey["toy"].truth.gain_db, torch.nan)
    np.testing.assert_array_equal(gain.values, want.numpy())
    np.testing.assert_array_equal(data["cell_position"], [site.position for site in SITES])


def test_same_plan_same_bytes(survey: Survey, tmp_path: Path) -> None:
    assert content(survey.folder) == content(made(tmp_path / "survey", tiles=2).folder)
    other = made(tmp_path / "other" / "survey", replace(PLAN, seed=2), tiles=2)
    assert content(survey.folder) != content(other.folder)


def test_units_of_any_size_hold_the_same_tracks(survey: Survey, tmp_path: Path) -> None:
    whole = made(tmp_path / "survey", replace(PLAN, unit=256))
    assert len(whole.manifest.units) == 1
    for name in ("position", "gain_db", "valid"):
        assert torch.equal(whole.read("toy", [name])[name], survey.read("toy", [name])[name])


def test_realism_is_applied_on_read_by_seed(survey: Survey) -> None:
    tile, model = survey["toy"], ObservationModel()
    first, again, other = (tile.observe(model, seed) for seed in (1, 1, 2))
    assert first.rsrp_dbm.shape == (40, 4, CELLS)
    assert torch.equal(first.rsrp_dbm, again.rsrp_dbm)
    assert not torch.equal(first.rsrp_dbm, other.rsrp_dbm)
    assert not first.received[~tile.valid].any()


def test_traced_delays_get_no_second_excess(survey: Survey) -> None:
    """A blocked path's delay is the traced one: the model's own excess would count it twice."""
    clear = survey["toy"]
    blocked = replace(clear, truth=replace(clear.truth, los=torch.zeros_like(clear.truth.los)))
    quiet = ObservationModel(nlos_excess=500.0)
    assert torch.equal(blocked.observe(quiet, 0).timing_advance, clear.observe(quiet, 0).timing_advance)


# ---- statistics and splits ---------------------------------------------------------------------------------


def test_statistics_are_those_of_all_known_values(survey: Survey) -> None:
    found = survey.statistics()
    for name, feature in survey.manifest.arrays.items():
        names = {name, "valid", feature.mask} - {""}
        parts = [known_values(survey.read(tile, names), name, feature).double().numpy() for tile in survey.tiles]
        values, got = np.concatenate(parts), found[name]
        assert got.count == values.size
        if values.size:
            assert got.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
            assert got.std == pytest.approx(values.std(), rel=1e-12, abs=1e-15)
            assert (got.least, got.greatest) == (values.min(), values.max())
    assert found["gain_db"].count == CELLS * found["time"].count
    assert survey.statistics(["toy"])["time"].count < found["time"].count


def test_moments_do_not_depend_on_order() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1000, generator=generator) * 1e-3 + 1e4
    parts = [StreamingStatistics.from_values(part) for part in values.split([1, 0, 499, 37, 463])]
    assert (
        StreamingStatistics.merge(parts)
        == StreamingStatistics.merge(parts[::-1])
        == StreamingStatistics.merge([parts[i] for i in (3, 0, 4, 2, 1)])
    )
    assert StreamingStatistics.merge(parts).std == pytest.approx(float(values.double().numpy().std()), rel=1e-9)
    assert StreamingStatistics.merge([]) == StreamingStatistics.from_values(values[:0]) == StreamingStatistics()


def test_splits_are_by_city(survey: Survey) -> None:
    assert survey.split(train=("toy",), test=("toya",)) == {"train": ("toy",), "test": ("toya_1",)}
    with pytest.raises(UelError, match="no tile of this city"):
        survey.split(train=("paris",))
    with pytest.raises(UelError, match="in two parts"):
        survey.split(train=("toy", "toya"), test=("toya_1",))


def test_a_citys_tiles_stay_together(copied: Path) -> None:
    manifest = json.loads((copied / "survey.json").read_text())
    for entry in manifest["tiles"].values():
        entry["city"] = "toyville"
    (copied / "survey.json").write_bytes(json_with_checksum(manifest))
    assert Survey.open(copied).split(train=("toyville",)) == {"train": ("toy", "toya_1")}
    with pytest.raises(UelError, match=r"a city is in two parts[\s\S]*toyville"):
        Survey.open(copied).split(train=("toy",), test=("toya",))


# ---- what is refused ---------------------------------------------------------------------------------------


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UelError, match=r"no readable survey[\s\S]*do:"):
        Survey.open(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["{ not json", "[]", '{"schema": "uel-survey-1"}', "{}"])
def test_another_schema_or_none(copied: Path, text: str) -> None:
    (copied / "survey.json").write_text(text)
    with pytest.raises(UelError, match=r"no readable survey|not a survey of schema"):
        Survey.open(copied)


@pytest.mark.parametrize("change", [{"features": ["smell"]}, {"tiles": {"toy": {}}}, {"plan": None, "unit": []}])
def test_a_manifest_that_says_nothing(copied: Path, change: dict) -> None:
    stored = json.loads((copied / "survey.json").read_text()) | change
    del stored["reports"]
    (copied / "survey.json").write_bytes(json_with_checksum(stored))
    with pytest.raises(UelError, match="manifest cannot be read"):
        Survey.open(copied)


def test_unknown_tile_and_feature(survey: Survey) -> None:
    with pytest.raises(UelError, match="choose from toy, toya_1"):
        survey["florence"]
    with pytest.raises(UelError, match="no such feature"):
        survey.read("toy", ["smell"])


def test_an_unfinished_survey_says_so(copied: Path) -> None:
    (copied / "units" / "toy-3.json").unlink()
    with pytest.raises(UelError, match=r"not finished[\s\S]*toy-3"):
        Survey.open(copied)["toy"]
    assert [unit.name for unit in Survey.open(copied).unfinished_units()] == ["toy-3"]


@pytest.mark.parametrize("array", ["gain_db", "los", "time"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_shard(copied: Path, array: str, damage: str) -> None:
    shard = next(p for p in sorted((copied / "toy.zarr" / array / "c").rglob("*")) if p.is_file())
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0x10
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    with pytest.raises(UelError, match="damaged"):
        Survey.open(copied)["toy"]
    assert list(Survey.open(copied).verify()) == ["toy-0"]


def test_damaged_metadata(copied: Path) -> None:
    (copied / "toy.zarr" / "delay" / "zarr.json").write_text("{ not json")
    with pytest.raises(UelError, match="damaged"):
        Survey.open(copied)["toy"]


def test_another_plan_is_refused_by_the_field_that_differs(copied: Path) -> None:
    longer = replace(PLAN, tracks=replace(PLAN.tracks, reports=5), seed=7)
    with pytest.raises(UelError, match=r"plan\.tracks\.reports: 4 in the folder, 5 requested[\s\S]*plan\.seed: 1 in"):
        toy_work(copied, longer, tiles=2).prepare()
    with pytest.raises(UelError, match=r"tiles\.toya_1"):
        toy_work(copied, tiles=1).prepare()


def test_two_tiles_of_one_name(tmp_path: Path) -> None:
    work = toy_work(tmp_path / "survey")
    with pytest.raises(UelError, match="two tiles of the survey have one name"):
        replace(work, tiles=work.tiles * 2).prepare()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey" / "thesis.tex").write_text("precious")
    with pytest.raises(UelError, match="holds other files"):
        toy_work(tmp_path / "survey").prepare()
    assert [p.name for p in (tmp_path / "survey").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("wrong", "remedy"), [({"unit": 0}, "try unit 256"), ({"seed": -1}, "a number from 0")])
def test_impossible_survey_configurations_are_refused(wrong: dict, remedy: str) -> None:
    with pytest.raises(UelError, match=remedy):
        SurveyMakingConfig(**wrong)
