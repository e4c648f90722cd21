"""A simulator is a choice: one that stands in a module of its own and one line of the registry runs every verb."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import sim_bridge
from sim_bridge.registry import SIMULATOR_BACKENDS, SimulatorBackend, require_paths
from sim_bridge.survey.config import SurveyMakingConfig
from tests.helpers.ablation_tile import CONFIG
from tests.helpers.toy_city import SITES, toy_tile
from tests.helpers.two_ray import TwoRay, two_ray_gain
from uel import cli
from uel.config import load, save
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.inference.config import LocateConfig
from uel.inference.run_folder import Run
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.radio import radio_map_io
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import FreeSpace, Simulator
from uel.radio.sites import reference_power_dbm
from uel.radio.tracing_config import TracingConfig
from uel.survey.dataset import Survey
from uel.survey.feature_schema import LINK_FEATURES

RAYS = TracingConfig(backend="two-ray")


@pytest.fixture(autouse=True)
def two_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line that adds the simulator; runs and data go to a folder of the test."""
    monkeypatch.setitem(SIMULATOR_BACKENDS, "two-ray", SimulatorBackend("tests.helpers.two_ray:open_tile"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))


@pytest.fixture
def tile(tmp_path: Path) -> Tile:
    """The toy city with four masts."""
    folder = toy_tile(tmp_path / "tile").folder
    assert cli.main(["place", str(folder), "--kind", "random", "--seed", "3"]) == 0
    return Tile.open(folder)


# ---- the registry --------------------------------------------------------------------------------------


def test_a_simulator_is_opened_by_its_name(tmp_path: Path) -> None:
    tile, position = toy_tile(tmp_path / "tile"), torch.tensor([[40.0, 30.0]])
    added, free = sim_bridge.open(tile, SITES, RAYS), sim_bridge.open(tile, SITES, RAYS, backend="free-space")
    assert isinstance(added, TwoRay)
    assert isinstance(free, FreeSpace)
    assert isinstance(added, Simulator)
    assert bool((added.path_gain(position) > free.path_gain(position)).all())


def test_an_unknown_simulator_is_refused_by_every_verb_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(UelError, match="sionna or free-space or two-ray"):
        sim_bridge.open(toy_tile(tmp_path / "tile"), SITES, backend="nope")
    tiles, run = ["no/tile"], ["run", "report.json"]
    verbs = {"map": tiles, "survey": tiles, "locate": run, "eval": ["run"], "train": [], "ablate": [], "demo": []}
    for verb, given in verbs.items():
        assert cli.main([verb, *given, "--backend", "nope"]) == 2
        assert "no simulator has this name" in capsys.readouterr().err


def test_what_needs_single_paths_says_so_before_any_work(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UelError, match="--backend sionna"):
        require_paths("two-ray", "an atlas")
    assert cli.main(["calibrate", "--backend", "two-ray"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "calibration needs a simulator that traces single paths" in message
    assert cli.main(["survey", "no/tile", "--backend", "two-ray"]) == 2
    assert "--measure.layers rt" in capsys.readouterr().err
    with pytest.raises(UelError, match="layer phy and sys of a survey"):
        SurveyMakingConfig(tracing=RAYS)


def test_the_choice_stands_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tracing: {backend: two-ray, ue_height: 2.0}\n")
    given = ["run", "report.json", "--config", str(file)]
    assert load(LocateConfig, "locate", given).tracing.backend == "two-ray"
    assert load(LocateConfig, "locate", [*given, "--backend", "free-space"]).tracing.backend == "free-space"
    assert load(LocateConfig, "locate", [*given, "--tracing.backend=sionna"]).tracing == TracingConfig(
        max_depth=5, samples=20_000, scattering=0.3, map_rays=20_000_000, ue_height=2.0
    )


def test_a_survey_without_paths_holds_what_every_simulator_answers() -> None:
    assert tuple(field.name for field in fields(LinkTruth)) == LINK_FEATURES


# ---- free space on a tile ------------------------------------------------------------------------------


def test_free_space_on_a_tile_takes_its_ground_its_size_and_its_sites(tile: Tile) -> None:
    tile.rasters["ground"] += 7.0
    simulator = sim_bridge.open(tile, tile.sites, TracingConfig(ue_height=2.0), backend="free-space")
    position = torch.tensor([[40.0, 30.0], [-100.0, 3.0]])
    points = torch.cat([position, torch.full((2, 1), 9.0)], -1)
    torch.testing.assert_close(simulator.path_gain(position), simulator.path_gain(points))
    torch.testing.assert_close(simulator.path_gain(points), FreeSpace(tile.sites, size=tile.size).path_gain(points))
    assert bool((simulator.radio_map(tile.grid(8.0)).elevation == 9.0).all())
    assert bool(simulator.paths(position).los.all())
    with pytest.raises(UelError, match="off the tile"):
        simulator.path_gain(torch.tensor([[0.0, 129.0]]))
    with pytest.raises(UelError, match="a site"):
        sim_bridge.open(tile, (replace(SITES[0], position=(0.0, 0.0, -1.0)),), backend="free-space")


# ---- every verb ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_added_simulator_runs_map_survey_ablation_and_locate(
    tile: Tile, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def at(position):
        return two_ray_gain(tile.sites, torch.nn.functional.pad(position, (0, 1), value=1.5))

    # A radio map, and its check against paths.
    assert cli.main(["map", str(tile.folder), "--backend", "two-ray", "--pixel", "8", "--check", "20"]) == 0
    folder = tmp_path / "data" / "maps" / "toy-3.5GHz-two-ray"
    radio, report = radio_map_io.load(folder), json.loads((folder / "map_report.json").read_text())
    torch.testing.assert_close(radio.gain, at(radio.grid.centres()).movedim(-1, 0))
    assert report["made_from"]["tracing"]["backend"] == "two-ray"
    assert report["paths"]["los"]["first_arrival_difference_m"] < 8.0

    # A survey of what every simulator answers.
    out, few = tmp_path / "survey", ["--tracks", "12", "--reports", "3", "--unit-tracks", "5"]
    options = ["--backend", "two-ray", "--measure.layers", "rt", "--out", str(out)]
    assert cli.main(["survey", str(tile.folder), *options, *few]) == 0
    truth = Survey.open(out)["toy"].truth
    assert set(Survey.open(out).features) == {*LINK_FEATURES, "time", "valid", "velocity"}
    assert truth.position.abs().max() > 1
    torch.testing.assert_close(truth.gain_db[truth.known], to_db(at(truth.position))[truth.known])
    assert "**FAIL**" not in (out / "report.md").read_text()

    # An ablation whose phones, maps and loss are its own.
    config = replace(CONFIG, tile=str(tile.folder), truth="paths", losses=("none", "rt"), pool=40, phones=20)
    config = replace(config, single_features=(), maps=replace(config.maps, tracing=RAYS, few_rays=RAYS.map_rays))
    save(config, tmp_path / "small.yaml")
    assert cli.main(["ablate", "--config", str(tmp_path / "small.yaml")]) == 0
    cells = sorted(path.parent for path in (tmp_path / "runs" / "ablate" / "toy" / "cells").glob("*/locator.pt"))
    assert len(cells) == 2
    run = Run.open(cells[0])
    torch.testing.assert_close(run.maps.radio.gain, at(run.maps.radio.grid.centres()).movedim(-1, 0))

    # A fix by its rays, on its map, with a run of that ablation.
    truth = sim_bridge.open(tile, tile.sites, RAYS).paths(torch.tensor([[30.0, -20.0]]))
    model = ObservationModel(shadowing_db=1.0)
    heard = model.observe(truth, reference_power_dbm(tile.sites), torch.Generator().manual_seed(0))
    file = tmp_path / "report.json"
    file.write_bytes(report_io.to_json(ReportSequence(torch.zeros(1), heard)))
    capsys.readouterr()
    fixes = {}
    for name in ("two-ray", "free-space"):
        options = ["--refine", "rt", "--refinement.entropy", "0", "--backend", name]
        assert cli.main(["locate", str(cells[0]), str(file), *options]) == 0
        fixes[name] = json.loads(capsys.readouterr().out)["position"]
    assert fixes["two-ray"] != fixes["free-space"]
    assert torch.dist(torch.tensor(fixes["two-ray"]), torch.tensor([30.0, -20.0])) < 40
