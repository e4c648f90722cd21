"""`uel locate` through the command line, and fixes as GeoJSON."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.helpers.demo_run import SIZE, make_run
from uel.adaptation.mast_heights import with_height_offsets
from uel.cli import main
from uel.core.grid import Grid
from uel.errors import UelError
from uel.estimation.config import RefinementConfig
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.inference import geojson
from uel.inference.config import LocateConfig
from uel.inference.locate import locate as located
from uel.inference.run_folder import Run
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.models.config import LocatorConfig, RestorerConfig
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site, cell_positions


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with a locator that nobody trained: it answers like grid Bayes."""
    folder = make_run(tmp_path_factory.mktemp("locate") / "run", paths=False)
    torch.manual_seed(0)
    Locator(LocatorConfig(), ObservationModel()).save(folder)
    return folder


def never_traced(tile: Tile, pixel: float) -> Path:
    raise AssertionError("this run has a radio map")


def reports_at(run: Run, places: torch.Tensor) -> ReportSequence:
    generator = torch.Generator().manual_seed(0)
    truth = run.maps.radio.pixel_truth(places)
    model = ObservationModel(shadowing_db=2.0)
    return ReportSequence(torch.arange(len(places)) * 1.0, model.observe(truth, run.maps.power_dbm, generator))


def test_reports_are_located_from_a_file(run, tmp_path, capsys):
    places = torch.tensor([[60.0, 20.0], [-40.0, -30.0]])
    (tmp_path / "report.json").write_bytes(report_io.to_json(reports_at(Run.open(run), places)))
    out = tmp_path / "out" / "fix.geojson"
    assert main(["locate", str(run), str(tmp_path / "report.json"), "--geojson", str(out)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == [0.0, 1.0]
    for line, place in zip(lines, places.tolist(), strict=True):
        spread = (line["covariance"][0][0] + line["covariance"][1][1]) ** 0.5
        assert torch.dist(torch.tensor(line["position"]), torch.tensor(place)) < 4 * spread + 10
        assert sum(c["probability"] for c in line["candidates"]) <= 1.001
    features = json.loads(out.read_text())
    assert features["note"] == geojson.LOCAL_COORDINATES_NOTE
    kinds = [feature["properties"]["kind"] for feature in features["features"]]
    assert kinds == ["position", *["candidate"] * 5, "region", "region"] * 2
    for number, line in enumerate(lines):
        feature = features["features"][8 * number]
        assert feature["properties"]["report"] == number
        assert feature["geometry"]["coordinates"] == pytest.approx(line["position"], abs=0.06)


def test_a_log_is_located_like_the_same_reports_in_json(run, tmp_path, capsys):
    """Levels alone, as a log has them; a row that cannot be is set aside, and the logged position is compared with."""
    places = torch.tensor([[60.0, 20.0], [-40.0, -30.0], [10.0, -90.0]])
    sequence = reports_at(Run.open(run), places)
    sequence = replace(sequence, reports=sequence.reports.with_tier("rsrp"))
    (tmp_path / "report.json").write_bytes(report_io.to_json(sequence, Run.open(run).maps.radio.sites))
    heard, level = sequence.reports.heard, sequence.reports.rsrp_dbm
    rows = [f"{n};{places[n, 0]};{places[n, 1]};{c};{level[n, c]:.6f}" for n, c in heard.nonzero().tolist()]
    (tmp_path / "log.csv").write_text("\n".join(["time;x;y;cell;rsrp", *rows, "9;0;0;1;2147483647"]).replace(".", ","))
    out = tmp_path / "out" / "fixes.csv"
    plain = told([str(run), str(tmp_path / "report.json")], capsys)
    log = told([str(run), str(tmp_path / "log.csv"), "--out", str(out), str(out.with_suffix(".jsonl"))], capsys)
    for line, same in zip(log, plain, strict=True):
        assert line["position"] == pytest.approx(same["position"], abs=0.2)
        assert (line["tile"], line["network"], line["latitude"]) == ("blocks", same["network"], None)
        off = float(torch.dist(torch.tensor(line["position"]), places[line["report"]]))
        assert line["distance_m"] == pytest.approx(off, abs=0.2)
    assert [json.loads(text) for text in out.with_suffix(".jsonl").read_text().splitlines()] == log
    assert len(out.read_text().splitlines()) == 4
    rejected = out.with_name("rejected.csv").read_text().splitlines()
    assert rejected[0] == "row,rule,value"
    assert rejected[1].startswith(f"{len(rows) + 1},no level,2147483647 stands for not available")


def test_a_log_of_few_cells_does_not_say_that_the_others_were_silent(run, tmp_path, capsys):
    """Two cells of each report are listed: the others may be as loud as these."""
    places = torch.tensor([[60.0, 20.0], [-40.0, -30.0], [10.0, -90.0], [80.0, -60.0]])
    reports = reports_at(Run.open(run), places).reports
    assert int(reports.heard.sum(-1).max()) > 2
    rows = ["time,cell,rsrp"]
    for n, level in enumerate(reports.rsrp_dbm.where(reports.heard, -torch.inf)):
        rows += [f"{n},{cell},{level[cell]:.0f}" for cell in level.topk(2).indices.tolist()]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    command = [str(run), str(tmp_path / "log.csv"), "--refine", "none", "--rejected", str(tmp_path / "rejected.csv")]
    spread = {}
    for name, more in {"log": [], "two": ["--cells-max", "2"], "all": ["--cells-max", "99"]}.items():
        spread[name] = torch.tensor([line["covariance"] for line in told([*command, *more], capsys)])
    assert torch.equal(spread["log"], spread["two"])
    areas = {name: covariance.det().sqrt().median() for name, covariance in spread.items()}
    assert areas["log"] > 1.2 * areas["all"]


def test_reports_of_another_network_are_not_answered(run, tmp_path, capsys):
    document = json.loads(report_io.to_json(reports_at(Run.open(run), torch.zeros(1, 2))))
    (tmp_path / "report.json").write_text(json.dumps({"network": "0123456789abcdef", **document}))
    assert main(["locate", str(run), str(tmp_path / "report.json")]) == 2
    assert "these reports are of another network" in capsys.readouterr().err
    (tmp_path / "log.csv").write_text("time,pci,earfcn,rsrp\n0,7,1300,-80\n")
    assert main(["locate", str(run), str(tmp_path / "log.csv"), "--rejected", str(tmp_path / "rejected.csv")]) == 2
    assert "have no identities" in capsys.readouterr().err
    (tmp_path / "log.csv").write_text("time,cell,rsrp\n0,77,-80\n")
    assert main(["locate", str(run), str(tmp_path / "log.csv"), "--rejected", str(tmp_path / "rejected.csv")]) == 2
    assert "1 × unknown cell" in capsys.readouterr().err
    assert (tmp_path / "rejected.csv").read_text().splitlines() == ["row,rule,value", "1,unknown cell,'77'"]


def told(args: list[str], capsys) -> list[dict]:
    assert main(["locate", *args]) == 0
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


def test_undecided_fixes_are_refined_and_sure_ones_are_not(run, tmp_path, capsys):
    file = tmp_path / "report.json"
    file.write_bytes(report_io.to_json(reports_at(Run.open(run), torch.tensor([[60.0, 20.0], [-40.0, -30.0]]))))
    plain, fine, never = (
        told([str(run), str(file), "--refine", *options], capsys)
        for options in (["none"], ["map", "--refinement.entropy", "0"], ["map", "--refinement.entropy", "50"])
    )
    assert never == plain
    assert fine != plain
    for a, b in zip(plain, fine, strict=True):  # an untrained locator is grid Bayes already, up to patches
        assert torch.dist(torch.tensor(a["position"]), torch.tensor(b["position"])) < 3.0


def test_reports_of_a_track_are_taken_together(run, tmp_path, capsys):
    """Fading that is new in every report, along a street: the last place is known the better for the others."""
    way = torch.stack([torch.linspace(-10.0, 80.0, 10), torch.full((10,), 20.0)], 1)
    generator = torch.Generator().manual_seed(2)
    maps = Run.open(run).maps
    reports = ObservationModel().observe(maps.radio.pixel_truth(way), maps.power_dbm, generator).with_tier("rsrp")
    file = tmp_path / "track.json"
    file.write_bytes(report_io.to_json(ReportSequence(torch.arange(10) * 1.0, reports)))
    alone = told([str(run), str(file)], capsys)
    track = told([str(run), str(file), "--speed", "10", "--likelihood-exponent", "1"], capsys)
    assert [line["time"] for line in track] == [line["time"] for line in alone]

    def off(lines):
        return torch.dist(torch.tensor(lines[-1]["position"]), way[-1])

    def spread(line):
        return line["covariance"][0][0] + line["covariance"][1][1]

    assert spread(track[-1]) < 0.5 * spread(alone[-1])
    assert off(track) < 3 * spread(track[-1]) ** 0.5 + 10
    assert told([str(run), str(file), "--speed", "10", "--likelihood-exponent", "1"], capsys) == track


def test_labelled_reports_put_a_wrong_map_right(run, tmp_path, capsys):
    """One mast sends 25 dB less than the map says, and all antennas look 20° further: labelled reports tell."""
    maps, generator = Run.open(run).maps, torch.Generator().manual_seed(3)
    places = 0.98 * SIZE * (torch.rand(240, 2, generator=generator) - 0.5)
    wrong = torch.zeros(len(maps.power_dbm))
    power, turn = maps.power_dbm + wrong.index_fill(0, torch.tensor([0]), -25.0), wrong + 20.0
    said = (
        ObservationModel(shadowing_db=3.0).observe(maps.radio.pixel_truth(places), power, generator).rotate_angles(turn)
    )
    heard = said.heard.any(-1)
    said, places = said[heard], places[heard]
    for name, part in (("labelled", slice(20, None)), ("asked", slice(20))):
        at = places[part] if name == "labelled" else None
        file = report_io.to_json(ReportSequence(torch.zeros(len(places[part])), said[part], at))
        (tmp_path / f"{name}.json").write_bytes(file)
    asked = [str(run), str(tmp_path / "asked.json"), "--refinement.entropy", "0"]
    before, after = told(asked, capsys), told([*asked, "--labelled-reports", str(tmp_path / "labelled.json")], capsys)
    off = [torch.dist(torch.tensor(line["position"]), at) for line, at in zip(before, places[:20], strict=True)]
    left = [torch.dist(torch.tensor(line["position"]), at) for line, at in zip(after, places[:20], strict=True)]
    assert torch.stack(left).median() < 0.5 * torch.stack(off).median()


@dataclass(frozen=True)
class Roofs(FreeSpace):
    """Every metre that a mast is lower than believed costs it 3 dB, and every one that it is higher gives as much."""

    believed: tuple[Site, ...] = ()

    def radio_map(self, grid: Grid) -> RadioMap:
        plain = super().radio_map(grid)
        up = cell_positions(self.sites)[:, 2] - cell_positions(self.believed)[:, 2]
        return replace(plain, gain=plain.gain * 10 ** (0.3 * up[:, None, None]))


@pytest.mark.slow
def test_labelled_reports_tell_how_high_masts_stand(run, tmp_path, caplog):
    maps, generator = Run.open(run).maps, torch.Generator().manual_seed(3)
    believed = maps.radio.sites

    def tracer(_, masts, __):
        return Roofs(masts, size=SIZE, believed=believed)

    low = tracer(None, with_height_offsets(believed, [0.0, -6.5, 0.0]), None)
    places = 0.98 * SIZE * (torch.rand(240, 2, generator=generator) - 0.5)
    said = ObservationModel().observe(low.radio_map(maps.radio.grid).pixel_truth(places), maps.power_dbm, generator)
    for name, at in (("labelled", places), ("asked", None)):
        (tmp_path / f"{name}.json").write_bytes(report_io.to_json(ReportSequence(torch.zeros(len(places)), said, at)))
    files = {"report": tmp_path / "asked.json", "labelled_reports": tmp_path / "labelled.json"}
    with caplog.at_level("INFO"):
        next(iter(located(LocateConfig(run=run, fit_mast_heights=True, **files), tracer, never_traced)))
    (told,) = [text for text in caplog.messages if "labelled reports" in text]
    raised = [part.split() for part in told.split("masts raised: ")[1].split(", ")]
    assert [(number, float(by)) for number, _, by, _ in raised] == [("1", pytest.approx(-6.5, abs=0.5))]


@pytest.mark.parametrize("more", [["--fit-mast-heights"], ["--restorer", "runs"]])
def test_heights_of_masts_and_restored_maps_need_labelled_reports(run, tmp_path, capsys, more):
    assert main(["locate", str(run), str(tmp_path / "asked.json"), *more]) == 2
    assert "add --labelled-reports" in capsys.readouterr().err


@pytest.mark.slow  # 26 s beside other work
def test_a_restored_map_is_what_labelled_reports_are_asked_about_too(run, tmp_path, caplog, monkeypatch):
    """A hundred of them, of a city whose map another run's network happens to know; without one it is in the dark."""
    maps = Run.open(run).maps
    dark = replace(maps, radio=replace(maps.radio, gain=maps.radio.gain * 1e-4))
    places = 0.98 * SIZE * (torch.rand(100, 2, generator=torch.Generator().manual_seed(3)) - 0.5)
    said = reports_at(Run.open(run), places)
    heard = said.reports.heard.any(-1)
    said, places = ReportSequence(said.time[heard], said.reports[heard]), places[heard]
    monkeypatch.setattr(Run, "maps", dark)
    monkeypatch.setattr(MapRestorer, "restore", lambda *_: maps.radio)
    for name, at in (("labelled", places), ("asked", None)):
        (tmp_path / f"{name}.json").write_bytes(report_io.to_json(replace(said, position=at)))
    files = {"report": tmp_path / "asked.json", "labelled_reports": tmp_path / "labelled.json", "restorer": tmp_path}
    with pytest.raises(UelError, match=r"no restorer\.pt in the folder"):
        LocateConfig(run=run, **files)
    MapRestorer(RestorerConfig(width=4, levels=2)).save(tmp_path)
    with caplog.at_level("INFO"):
        next(iter(located(LocateConfig(run=run, **files), FreeSpace, never_traced)))
    assert [("map restored" in text) for text in caplog.messages if "labelled reports" in text] == [True]


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        (None, [], "no such file of labelled reports"),
        ('[{"cells": [{"cell": 0, "rsrp_dbm": -80}]}]', [], "a labelled report has no position"),
        ('[{"cells": [{"cell": 0, "rsrp_dbm": -80}], "position": [9000, 0]}]', [], "off the tile"),
        ('[{"cells": [{"cell": 0, "rsrp_dbm": -80}], "position": [9]}]', [], "position.y is wrong"),
        (
            '[{"cells": [{"cell": 0, "rsrp_dbm": -80}], "position": [9, 9]}]',
            ["--refine", "none"],
            "leave out --labelled-reports",
        ),
    ],
)
def test_bad_labels_are_refused(run, tmp_path, capsys, content, more, expected):
    file, labels = tmp_path / "report.json", tmp_path / "labelled.json"
    file.write_bytes(report_io.to_json(reports_at(Run.open(run), torch.zeros(1, 2))))
    if content:
        labels.write_text(f'{{"schema": "{report_io.SCHEMA}", "reports": {content}}}')
    assert main(["locate", str(run), str(file), "--labelled-reports", str(labels), *more]) == 2
    assert expected in capsys.readouterr().err


def test_hypotheses_are_traced_where_that_is_asked_for(run, tmp_path):
    """With free space as the tracer, whose map the run has: what was right stays right."""
    file = tmp_path / "report.json"
    file.write_bytes(report_io.to_json(reports_at(Run.open(run), torch.tensor([[60.0, 20.0]]))))
    asked = []

    def tracer(tile, sites, rays):
        asked.append(rays.max_depth)
        return FreeSpace(sites, size=SIZE)

    config = LocateConfig(run=run, report=file, refine="rt", refinement=RefinementConfig(entropy=0.0))
    (answer,) = [json.loads(text) for text in located(config, tracer, never_traced)]
    assert asked == [5]
    assert torch.dist(torch.tensor(answer["position"]), torch.tensor([60.0, 20.0])) < 40


@pytest.mark.parametrize(
    "options", [["--speed", "-1"], ["--likelihood-exponent", "2"], ["--speed", "3", "--refine", "rt"]]
)
def test_impossible_wishes_are_refused(run, tmp_path, options, capsys):
    assert main(["locate", str(run), str(tmp_path / "none.json"), *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_bad_files_are_refused_with_what_to_do(run, tmp_path, capsys):
    assert main(["locate", str(run), str(tmp_path / "none.json")]) == 2
    (tmp_path / "bad.json").write_text("[1, 2")
    assert main(["locate", str(run), str(tmp_path / "bad.json")]) == 2
    assert main(["locate", str(tmp_path), str(tmp_path / "bad.json")]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("no such file of reports", "no JSON", "no trained locator"))


def test_a_pickled_checkpoint_is_not_unpickled(run, tmp_path):
    import pickle
    import shutil

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "locator.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="weights is damaged"):
        Run.open(tmp_path / "run").locator  # noqa: B018
    assert not (tmp_path / "sprung").exists()


def one(position: tuple[float, float]) -> Fix:
    return Fix(
        torch.zeros(1, 4).log_softmax(-1), torch.tensor([[position] * 4]), torch.eye(2).expand(1, 4, 2, 2) * 25.0
    )


def test_coordinates_are_degrees_where_the_tile_has_a_crs(run):
    tile = Run.open(run).tile
    somewhere = Tile(tile.folder)
    somewhere.__dict__["meta"] = {**tile.meta, "crs": "EPSG:32631", "origin": [448250.0, 5411900.0]}
    place = geojson.coordinate_transform(somewhere)
    (lon, lat), (east, _), (_, north) = place([0.0, 0.0]), place([100.0, 0.0]), place([0.0, 100.0])
    assert (lon, lat) == pytest.approx((2.2945, 48.858), abs=0.01)  # the Eiffel tower
    assert (north - lat) * 111_200 == pytest.approx(100, rel=0.01)
    assert (east - lon) * 111_320 * 0.658 == pytest.approx(100, rel=0.02)
    told = geojson.feature_collection(one((0.0, 0.0)), somewhere, Grid(size=SIZE, pixel=8.0))
    assert "note" not in told
    assert told["features"][0]["geometry"]["coordinates"] == pytest.approx([lon, lat], abs=1e-6)
