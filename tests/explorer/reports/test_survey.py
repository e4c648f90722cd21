"""The report of a survey: its statistics against values made by hand, and what is written of a tiny one."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
import torch
from torch import Tensor

from explorer.reports import survey as survey_report
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.engines.units import LocalEngine, UnitDone, run_units
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import MeasureFunction, SurveyJob, TileWithSites, UnitValues
from tests.helpers.surveys import PLAN, free_space, toy_work
from uel.cli import main
from uel.core.constants import SPEED_OF_LIGHT
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.trajectories import Tracks
from uel.radio.sites import cell_positions
from uel.survey.checks import (
    Links,
    excess_statistics,
    friis_db,
    los_fraction_by_distance,
    los_probability_3gpp,
    survey_checks,
)
from uel.survey.dataset import Survey
from uel.survey.manifest import WorkUnit
from uel.survey.sample import draw_sample
from uel.survey.statistics import StreamingStatistics

LATE = 12.0  # m, of every blocked link
ECHO_DB = 3.0  # what an echo adds to every link in sight
HEIGHT = 1.5
ALL = replace(PLAN, measure=FeatureConfig(paths=2, taps=2, frequencies=4, csi_taps=2, neighbours=2))


def street(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """Every other cell is in sight, its direct path kept beside an echo; the others are late and 20 dB weaker."""
    quick = free_space(work, place)

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        values, there = quick(unit, tracks), tracks.valid.unsqueeze(-1)
        seen = torch.tensor([True, False, True, False]) & there
        blocked, way = ~seen & there, tracks.position.unsqueeze(-2) - cell_positions(place.sites)[:, :2]
        alone = values["gain_db"]
        values["path_known"][..., 0] = seen
        values["path_gain_db"][..., 0] = torch.where(seen, alone, 0.0)
        down = torch.atan2(HEIGHT - cell_positions(place.sites)[:, 2], way.norm(dim=-1))
        values["path_departure_elevation_deg"][..., 0] = torch.where(seen, torch.rad2deg(down), 0.0)
        values["los"] = seen
        values["gain_db"] = torch.where(there, alone + torch.where(seen, ECHO_DB, -20.0), 0.0)
        values["delay"] = values["delay"] + torch.where(blocked, LATE / SPEED_OF_LIGHT, 0.0)
        if "serving" in values:
            values["serving"][tracks.valid], values["serving_known"] = 2, tracks.valid
            values["sinr_db"] = torch.where(there, 7.0, 0.0).expand(seen.shape).clone()
        return values

    return measured


def silent(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """Nobody hears anything."""
    quick = free_space(work, place)

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        values = quick(unit, tracks)
        gone = {name: torch.zeros_like(values[name]) for name in ("known", "los", "gain_db", "delay")}
        return values | gone

    return measured


def made(folder: Path, opened=street, plan: SurveyMakingConfig = PLAN, tiles: int = 1) -> Survey:
    work = toy_work(folder, plan, tiles, opened)
    manifest = work.prepare()
    outcomes = list(run_units(LocalEngine(work), range(len(manifest.units))))
    assert all(isinstance(outcome, UnitDone) for outcome in outcomes), outcomes
    return Survey.open(folder)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("street") / "survey", tiles=2)


@pytest.fixture
def copied(survey: Survey, tmp_path: Path) -> Survey:
    """One to damage."""
    shutil.copytree(survey.folder, tmp_path / "survey")
    return Survey.open(tmp_path / "survey")


def places(survey: Survey) -> list[Path]:
    return [survey.folder.parent / "tiles" / name for name in survey.tiles]


def links_of(survey: Survey, with_tile: bool = True) -> Links:
    samples = draw_sample(survey)
    tiles = [Tile.open(folder) if with_tile else None for folder in places(survey)]
    found = [sample.phone_positions(tile, HEIGHT) for sample, tile in zip(samples, tiles, strict=True)]
    return Links.cat([Links.from_sample(sample, *place) for sample, place in zip(samples, found, strict=True)])


# ---- the sample --------------------------------------------------------------------------------------------


def test_a_sample_of_a_small_survey_is_all_of_it(survey: Survey) -> None:
    for sample in draw_sample(survey):
        own = survey[sample.tile]
        assert len(sample) == int(own.valid.sum())
        torch.testing.assert_close(sample.truth.position, own.truth.position[own.valid], atol=0, rtol=0)
        assert torch.equal(sample.values["track"], own.valid.nonzero()[:, 0])
        assert len(sample.known_values["gain_db"]) == 4 * len(sample)
        assert len(sample.known_values["path_gain_db"]) == 2 * len(sample)  # one path of every other cell


def test_a_bounded_sample_comes_from_all_tiles_and_units(survey: Survey) -> None:
    samples = draw_sample(survey, reports=40)
    assert [sample.tile for sample in samples] == list(survey.tiles)
    assert 20 < sum(map(len, samples)) < 80
    for sample in samples:
        assert set((sample.values["track"] // 8).tolist()) == {0, 1, 2, 3, 4}
        assert all(len(of) <= 5 * 4 for of in sample.known_values.values())  # ten units share forty values
    again = draw_sample(survey, reports=40)
    assert all(torch.equal(a.values["track"], b.values["track"]) for a, b in zip(samples, again, strict=True))


def test_no_more_units_are_opened_than_needed(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uel.survey.sample.MAX_UNITS", 4)
    opened = []
    draw_sample(survey, watch=lambda parts: opened.extend(parts) or parts)
    assert [part.unit.name for part in opened] == ["toy-0", "toy-2", "toya_1-0", "toya_1-2"]


def test_an_unfinished_survey_has_no_sample(copied: Survey) -> None:
    copied.discard(["toya_1-3"])
    with pytest.raises(UelError, match=r"not finished[\s\S]*toya_1-3"):
        survey_report.write_survey_report(copied.folder)
    assert not (copied.folder / "report.md").exists()


# ---- checks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_tile", [True, False])
def test_links_are_judged_with_the_tile_and_without(survey: Survey, with_tile: bool) -> None:
    """Without it phones are as high as their direct paths tell."""
    links = links_of(survey, with_tile)
    reports = sum(int(survey[tile].valid.sum()) for tile in survey.tiles)
    assert len(links.distance) == 4 * reports
    assert int(links.los.sum()) == int(links.has_direct_path.sum()) == 2 * reports
    assert links.direct_excess_db[links.has_direct_path].abs().max() < 1e-4
    torch.testing.assert_close(
        links.excess_gain_db[links.in_sight], torch.full((2 * reports,), ECHO_DB).double(), atol=1e-4, rtol=0
    )
    assert links.excess_range[links.in_sight].abs().max() < 1e-3
    torch.testing.assert_close(
        links.excess_range[links.blocked], torch.full((2 * reports,), LATE).double(), atol=1e-3, rtol=0
    )
    assert all(check.passed for check in survey_checks(links, survey.statistics()))


def spoiled(links: Links, name: str, by: float) -> Links:
    """One link of those that a check looks at, changed."""
    of = {"direct_excess_db": links.has_direct_path, "excess_gain_db": links.in_sight, "los": links.los}
    at = int(of.get(name, links.in_sight if by > 0 else links.blocked).nonzero()[0, 0])
    value = getattr(links, name).clone()
    value[at] += by
    return replace(links, **{name: value})


@pytest.mark.parametrize(
    ("name", "by", "failing"),
    [
        ("direct_excess_db", 0.02, "direct paths obey Friis' law"),
        ("direct_excess_db", -0.02, "direct paths obey Friis' law"),
        ("excess_gain_db", -ECHO_DB - 0.02, "links in sight have the power of the direct path at least"),
        ("excess_range", 0.02, "links in sight arrive after distance / c"),
        ("excess_range", -LATE - 0.02, "no blocked link arrives before distance / c"),
    ],
)
def test_one_wrong_link_fails_its_check_alone(survey: Survey, name: str, by: float, failing: str) -> None:
    found = survey_checks(spoiled(links_of(survey), name, by), survey.statistics())
    assert [check.name for check in found if not check.passed] == [failing]


def test_a_link_in_sight_without_a_path_and_a_value_that_is_none(survey: Survey) -> None:
    links = links_of(survey)
    lost = replace(links, known=links.known & (torch.arange(len(links.known)) != int(links.los.nonzero()[0, 0])))
    wrong = survey.statistics() | {"delay": StreamingStatistics(3, math.nan, 0.0, 0.0, 1.0)}
    found = {check.name: check for check in survey_checks(lost, wrong)}
    assert not found["links in sight have a path"].passed
    assert found["links in sight have a path"].detail.startswith("1 of ")
    assert not found["all values are finite"].passed
    assert found["all values are finite"].detail.endswith("not: delay")


def test_friis_by_hand() -> None:
    """20·lg(c / 4π·100 m·3.5 GHz), and 6 dB for every doubling."""
    got = friis_db(torch.tensor([100.0, 200.0], dtype=torch.float64), 3.5e9)
    assert got.tolist() == pytest.approx([-83.3295, -89.3501], abs=1e-3)


# ---- distributions -----------------------------------------------------------------------------------------


def of_excess(excess: Tensor) -> Links:
    """Blocked links."""
    zero, no = torch.zeros_like(excess), torch.zeros(len(excess), dtype=torch.bool)
    return Links(zero + 100, zero + 100, ~no, no, zero, zero, excess, no, zero)


def test_the_law_of_excess_is_found_again() -> None:
    """Quantiles of an exponential law of 30 m, and as many links that go straight through walls."""
    share = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    law = -30 * torch.log1p(-share)
    found = excess_statistics(of_excess(torch.cat([1.0 + law, torch.zeros(1000, dtype=torch.float64)])))
    assert found.count == 2000
    assert found.through == pytest.approx(0.5)
    assert found.scale == pytest.approx(30, rel=2e-3)
    assert found.mean == pytest.approx(15.5, rel=2e-3)
    assert found.misfit < 2e-3
    # All links equally late: a law of this mean has 1 - 1/e below it, of none of them.
    same = excess_statistics(of_excess(torch.full((50,), 11.0, dtype=torch.float64)))
    assert (same.through, same.scale) == (0.0, 10.0)
    assert same.misfit == pytest.approx(1 - math.exp(-1))
    assert excess_statistics(of_excess(torch.zeros(0))).count == 0


def test_sight_is_counted_by_distance() -> None:
    level = torch.tensor([5.0, 20.0, 30.0, 80.0])
    middle, share, count = los_fraction_by_distance(level, torch.tensor([True, False, True, False]), width=25.0)
    assert middle.tolist() == [12.5, 37.5, 62.5, 87.5]
    assert share.tolist() == [0.5, 1.0, 0.0, 0.0]
    assert count.tolist() == [2, 1, 0, 1]


def test_sight_by_3gpp() -> None:
    """Values of TR 38.901, table 7.4.2-1, worked out by hand."""
    assert los_probability_3gpp(torch.tensor([5.0, 18.0, 36.0]), "UMi").tolist() == pytest.approx(
        [1, 1, 0.5 + 0.5 / math.e]
    )
    assert float(los_probability_3gpp(torch.tensor([63.0]), "UMa")) == pytest.approx(18 / 63 + 45 / 63 / math.e)


# ---- the report --------------------------------------------------------------------------------------------


def pictures(folder: Path) -> set[str]:
    """Names of a report's pictures, each of which shows something and is shown."""
    text, found = (folder / "report.md").read_text(), set()
    for path in (folder / "figures").iterdir():
        assert f"(figures/{path.name})" in text
        assert matplotlib.image.imread(path)[..., :3].std() > 0.02, path
        found.add(path.stem)
    return found


def test_a_report_of_rays_alone(copied: Survey, survey: Survey) -> None:
    path = survey_report.write_survey_report(copied.folder, places(survey))
    text = path.read_text()
    assert pictures(copied.folder) == {"free_space", "arrivals", "levels", "sight", "map", "values", "counts"}
    assert text.count("| pass |") == 6
    assert "The heights of phones are above the tiles' ground." in text
    reports = sum(record.reports for record in map(copied.record, copied.manifest.units) if record)
    assert f"| valid reports | {reports:,} |" in text
    assert f"| links | {4 * reports:,} |" in text
    assert "holds no SYS layer. Not in this survey: SINR after reception" in text
    assert f"arrive {LATE:.1f} m late on average" in text
    assert "| `gain_db` | rt | dB | 100.0% |" in text
    assert "| `path_gain_db` | rt | dB | 25.0% |" in text
    assert "| `los` | rt |  | 100.0% | true in 50.0% |" in text


@pytest.mark.slow  # 16 s
def test_a_report_of_all_layers(tmp_path: Path) -> None:
    survey = made(tmp_path / "survey", plan=ALL)
    text = survey_report.write_survey_report(survey.folder, places(survey)).read_text()
    assert "median SINR after reception, serving cell, dB" in text
    assert "Not in this survey" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| toy |"))
    assert " 7.0 |" in row
    assert "| `csi` | phy |" in text
    assert "counts" in pictures(survey.folder)


@pytest.mark.slow
def test_tiles_are_found_by_the_configuration_and_taken_only_as_they_were(
    copied: Survey, tmp_path: Path, survey
) -> None:
    lost = "Tiles not found, or changed since"
    assert lost in survey_report.write_survey_report(copied.folder).read_text()
    (copied.folder / "config.yaml").write_text(f"tiles: {json.dumps([str(p) for p in places(survey)])}")
    text = survey_report.write_survey_report(copied.folder).read_text()
    assert lost not in text
    assert "uel survey --config" in text
    other = tmp_path / "other"
    shutil.copytree(places(survey)[0], other)
    (other / "tile.json").write_text((other / "tile.json").read_text() + "\n")
    assert (
        f"{lost}: toy, toya_1."
        in survey_report.write_survey_report(copied.folder, [other, tmp_path / "nowhere"]).read_text()
    )
    (copied.folder / "config.yaml").write_text("- {")
    assert lost in survey_report.write_survey_report(copied.folder).read_text()


def test_a_survey_that_hears_nothing_has_a_report(tmp_path: Path) -> None:
    survey = made(tmp_path / "survey", silent)
    text = survey_report.write_survey_report(survey.folder, places(survey)).read_text()
    assert text.count("nothing to check") == 5
    assert "No blocked link has a path." in text
    assert len(pictures(survey.folder)) == 7


@pytest.mark.slow
def test_a_survey_that_hears_nothing_and_whose_tile_is_not_found_has_a_report(tmp_path: Path) -> None:
    survey = made(tmp_path / "survey", silent)
    assert survey_report.write_survey_report(survey.folder).is_file()  # no direct path: no link can be judged


@pytest.mark.slow  # 47 s beside other work
def test_a_report_is_written_again_when_its_units_are(copied: Survey) -> None:
    path = survey_report.refresh_survey_report(copied.folder, places(copied))
    path.write_text(path.read_text() + "a note")
    assert survey_report.refresh_survey_report(copied.folder).read_text().endswith("a note")
    record = copied.folder / "units" / "toy-0.json"
    record.write_text(record.read_text() + "\n")
    assert not survey_report.refresh_survey_report(copied.folder).read_text().endswith("a note")


@pytest.mark.slow  # 20 s beside other work
def test_the_verb_writes_the_report_alone(copied: Survey, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", "--out", str(copied.folder), "--report"]) == 0
    assert capsys.readouterr().out.strip() == str(copied.folder / "report.md")
    assert main(["survey", "--out", str(copied.folder / "nowhere"), "--report"]) == 2
    assert "no readable survey here" in capsys.readouterr().err
