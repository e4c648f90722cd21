"""One road on a tile of one's own: a map file, sites, a radio map, a locator that is trained, evaluated, located with.

By the closed form in free space in `make test`; by the ray tracer, with few rays, among the slow tests, as are ablation
and sweep.
"""

import json
from pathlib import Path

import geopandas
import pytest
import rasterio
import torch

from tests.helpers.village_map import EAST, NORTH, SQUARE, map_file
from uel.cli import main
from uel.geo.tile import Tile
from uel.inference.deployment import Deployment
from uel.inference.run_folder import Run
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.results.run_summary import run_metrics

MAPS = "{pixel: 8.0, few_rays: 20000, tracing: {samples: 1000, map_rays: 50000, max_depth: 2, diffraction: false}}"
NETWORK = "{patches: 16, width: 16, pixel_width: 8, depth: 1, radio_depth: 1}"
TRAIN = f"""
run: mine
deployments: 1
maps: {MAPS}
locator: {NETWORK}
tracks: {{tracks: 8}}
training: {{epochs: 1, steps_per_epoch: 2, batch: 4, rt_fraction: 0.0, validation: 8}}
"""
EVALUATE = f"""
name: own
maps: {MAPS}
deployments: 1
phones: 24
fingerprints: 16
truths: [map]
tiers: [rsrp_ta_azimuth]
conditions: []
sigmas: []
correlations: []
cells: []
dropouts: []
speeds: []
"""
ABLATE = f"""
run: own
maps: {MAPS}
locator: {NETWORK}
atlas: {{rays: 20000, settle: 64, audit: 0}}
pool: 40
phones: 24
labels: [20]
seeds: 1
losses: [none, map]
fractions: [0.5]
single_features: []
conditions: [exact]
budgets: [steps]
evidence: [input]
unlabelled: 2
training: {{epochs: 1, steps_per_epoch: 2, batch: 4, patience: 9, candidates: 2, features: [rsrp]}}
"""
SWEEP = "parameters: {training.learning_rate: {values: [1e-3, 1e-4]}}\n"


@pytest.fixture(scope="module", params=["free-space", pytest.param("sionna", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest) -> list[str]:
    """The option that chooses the simulator."""
    return ["--backend", request.param]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, backend: list[str]) -> Path:
    """A folder with two tiles built from map files, with sites, and a locator trained on one of them."""
    home = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("UEL_DATA", raising=False)
        village = map_file(home)
        village.with_name("hamlet.osm").write_bytes(village.read_bytes())
        for name, text in {"train": TRAIN, "evaluate": EVALUATE, "ablate": ABLATE, "sweep": SWEEP}.items():
            Path(f"{name}.yaml").write_text(text)
        for name in ("village.osm", "hamlet.osm"):
            assert main(["build", name, *SQUARE]) == 0
        assert main(["place", "data/tiles/village", "--count", "3"]) == 0
        train = ["--config", "train.yaml", "--train", "data/tiles/village", "--validate", "data/tiles/hamlet"]
        assert main(["train", *train, *backend]) == 0
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.delenv("UEL_DATA", raising=False)


def write_reports(deployment: Deployment) -> torch.Tensor:
    """Write reports of three phones; returns their positions."""
    generator = torch.Generator().manual_seed(0)
    reports, position = deployment.reports_from_map(3, ObservationModel(shadowing_db=2.0), generator)
    Path("reports.json").write_bytes(report_io.to_json(ReportSequence(torch.arange(3.0), reports)))
    return position


def located(folder: Path | str, *options: str, capsys: pytest.CaptureFixture) -> torch.Tensor:
    """Positions that `uel locate` prints."""
    capsys.readouterr()
    assert main(["locate", str(folder), "reports.json", *options]) == 0
    return torch.tensor([json.loads(line)["position"] for line in capsys.readouterr().out.splitlines()])


TILE = ("--tile", "data/tiles/village")


def test_a_trained_run_locates_on_a_tile_that_it_was_not_validated_on(
    backend: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["map", "data/tiles/village", "--pixel", "8", "--tracing.map-rays", "50000", *backend]) == 0
    (radio,) = (file.parent.parent for file in Path("data/maps").glob("village-*/radiomap.zarr/zarr.json"))
    position = write_reports(Deployment.open("data/tiles/village", radio))
    fixes = located("runs/mine", *TILE, *backend, capsys=capsys)
    assert torch.equal(fixes, located("runs/mine", *TILE, "--radio", str(radio), capsys=capsys))
    assert (fixes - position).norm(dim=1).median() < 80


def test_without_a_tile_it_locates_where_it_was_validated(capsys: pytest.CaptureFixture) -> None:
    run = Run.open("runs/mine")
    assert run.tile.name == "hamlet"
    write_reports(run.deployment)
    assert located("runs/mine", capsys=capsys).abs().max() < run.tile.size / 2


def test_an_evaluation_takes_the_tiles_own_sites(backend: list[str]) -> None:
    options = ["--config", "evaluate.yaml", "--tiles", "data/tiles/village", *backend]
    assert main(["eval", "runs/mine", *options]) == 0
    tables = run_metrics(Path("runs/mine"))
    assert tables["test"]["tile"] == "data/tiles/village"
    assert {"limit", "locator", "grid_robust"} <= tables["test"]["tier"]["rsrp_ta_azimuth"].keys()
    protocol = json.loads(Path("runs/mine/eval/own/protocol.json").read_text())
    assert protocol["base"]["sites"] == len(Tile.open("data/tiles/village").sites) == 3


@pytest.mark.slow
def test_an_ablation_trains_runs_that_locate(backend: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["ablate", "--config", "ablate.yaml", "--tile", "data/tiles/village", *backend]) == 0
    cells = [file.parent for file in Path("runs/ablate/own/cells").glob("*/run.json")]
    assert len(cells) == 2
    run = Run.open(cells[0])
    assert run.deployment.sites == Tile.open("data/tiles/village").sites
    write_reports(run.deployment)
    assert len(located(cells[0], capsys=capsys)) == 3
    assert len(located(cells[0], *TILE, *backend, capsys=capsys)) == 3


@pytest.mark.slow
def test_a_sweep_locates_by_its_best_run(backend: list[str], capsys: pytest.CaptureFixture) -> None:
    train = ["--config", "train.yaml", "--train", "data/tiles/village", "--validate", "data/tiles/hamlet"]
    assert main(["train", *train, "--run", "swept", "--sweep", "sweep.yaml", *backend]) == 0
    run = Run.open("runs/swept")
    assert run.folder.parent == Path("runs/swept")
    write_reports(run.deployment)
    assert torch.equal(located("runs/swept", capsys=capsys), located(run.folder, capsys=capsys))
    assert main(["eval", "runs/swept", "--config", "evaluate.yaml", "--tiles", "data/tiles/village", *backend]) == 0
    assert (run.folder / "eval" / "own" / "table.csv").is_file()


def test_the_explorer_lists_the_run_with_its_tile_and_map() -> None:
    from explorer.analysis.artefact_index import find_artefacts

    index = find_artefacts(Path("runs/mine"), Path("data"), Path("runs"))
    assert Path("runs/mine").resolve() in index.runs
    hamlet = index.tile("hamlet", Path("runs/mine").resolve())
    assert hamlet is not None
    assert hamlet.maps[0] == Path("runs/mine/radio").resolve()


def in_degrees(x: float, y: float) -> str:
    return f"{48 + y / NORTH:.7f};{9 + x / EAST:.7f}"


def test_an_operators_list_and_an_apps_log_become_fixes_for_a_gis(home: Path, backend: list[str]) -> None:
    """The README's own city with real formats: a map file, a list of cells, a log of levels, files that QGIS opens."""
    masts = {101: (-100.0, 60.0), 102: (100.0, 60.0), 103: (0.0, -90.0)}
    rows = [f"{in_degrees(x, y)};30;{pci};1300;46;20" for pci, (x, y) in masts.items()]
    columns = "Latitude;Longitude;Antenna height (m);PCI;EARFCN;Power (dBm);Bandwidth (MHz)"
    Path("cells.csv").write_text("\n".join([columns, *rows]))
    assert main(["build", "village.osm", *SQUARE, "--sites", "0", "--name", "town"]) == 0
    assert main(["place", "data/tiles/town", "--kind", "custom", "--file", "cells.csv"]) == 0
    tile = Tile.open("data/tiles/town")
    assert tile.sites
    assert [cell.pci for site in tile.sites for cell in site.cells] == list(masts)
    assert main(["map", "data/tiles/town", "--pixel", "8", "--tracing.map-rays", "50000", *backend]) == 0
    (radio,) = (file.parent.parent for file in Path("data/maps").glob("town-*/radiomap.zarr/zarr.json"))
    deployment = Deployment.open(tile.folder, radio)
    model, generator = ObservationModel(shadowing_db=2.0, tier="rsrp"), torch.Generator().manual_seed(1)
    reports, position = deployment.reports_from_map(20, model, generator)
    log = ["Time,Latitude,Longitude,PCI,EARFCN,RSRP"]
    for k, (x, y) in enumerate(position.tolist()):
        degrees = in_degrees(x, y).replace(";", ",")
        heard = reports.heard[k].nonzero()[:, 0].tolist()
        log += [f"2026-11-29 12:00:{k:02d},{degrees},{[*masts][c]},1300,{reports.rsrp_dbm[k, c]:.0f}" for c in heard]
    log.append("2026-11-29 12:00:30,48.0,9.0,101,1300,2147483647")
    Path("log.csv").write_text("\n".join(log))
    assert main(["locate", "runs/mine", "log.csv", "--tile", str(tile.folder), *backend, "--out", "fixes.gpkg"]) == 0
    fixes = geopandas.read_file("fixes.gpkg").to_crs(4326)
    assert len(fixes) == 20
    off = torch.tensor([(9 + x / EAST, 48 + y / NORTH) for x, y in position.tolist()]) - torch.tensor(
        [(point.x, point.y) for point in fixes.geometry]
    )
    assert float((off * torch.tensor([EAST, NORTH])).norm(dim=1).median()) < 80
    rejected = next(Path().rglob("rejected.csv")).read_text()
    assert "no level" in rejected
    assert "2147483647" in rejected
    assert main(["convert", str(radio), "--to", "geotiff", "--out", "rsrp.tif"]) == 0
    with rasterio.open("rsrp.tif") as raster:
        assert raster.count == 3
        assert raster.crs is not None
