"""The report of a small made-up run: complete, honest, and with pictures that show something."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import explorer
from explorer.figures import overview
from explorer.figures.overview import STYLE
from explorer.reports.run import SOURCE_COMMANDS, read_curves, read_example
from scenes.tiles.writer import write_tile
from tests.helpers.free_space import masts
from uel.core.grid import Grid
from uel.errors import UelError
from uel.estimation.metrics import error_summary
from uel.geo.tile import Tile
from uel.measurement.tiers import TIERS
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site

SIZE, UES = 512.0, 200
SCALE = dict(zip(STYLE, (150.0, 110.0, 80.0, 60.0, 70.0, 25.0, 40.0), strict=True))
SECTORS = tuple(Cell(azimuth_deg=a) for a in (0.0, 120.0, 240.0))
SITES = (*masts((-120.0, 90.0), (150.0, -60.0)), Site(position=(40.0, 160.0, 25.0), cells=SECTORS))


# ---- a run folder, made up ------------------------------------------------------------------------------


def make_run(run: Path, paths: bool = True) -> Path:
    (run / "training").mkdir(parents=True)
    tile, radio = make_tile(run.parent / "tile"), make_radio(run / "radio")
    errors = make_errors(("map", "paths") if paths else ("map",))
    np.savez(run / "errors.npz", **errors)
    (run / "artefacts.json").write_text(json.dumps({"test": {"tile": str(tile), "radio": radio.name}}))
    (run / "metrics.json").write_text(json.dumps(make_metrics(errors)))
    (run / "training/metrics.csv").write_text(make_csv())
    np.savez(run / "example.npz", **make_example())
    return run


def make_tile(folder: Path) -> Path:
    """Blocks of houses with streets between them, on a slope."""
    axis = np.arange(256) * 2.0
    x, y = np.meshgrid(axis, axis)
    footprint = ((x % 80 > 24) & (y % 96 > 30)).astype(np.float32)
    ground = (x / 60).astype(np.float32)
    height = ground + footprint * (8 + 5 * ((x // 80 + 2 * (y // 96)) % 4)).astype(np.float32)
    rasters = {"ground": ground, "height": height, "footprint": footprint, "material": footprint}
    meta = {"name": "blocks", "size": SIZE, "pixel": 2.0, "materials": ["air", "concrete"]}
    return write_tile(folder, [], {}, rasters, meta).folder


def make_radio(folder: Path) -> Path:
    radio = FreeSpace(SITES, size=SIZE).radio_map(Grid(size=SIZE, pixel=4.0))
    known = torch.ones_like(radio.known)
    known[:, 90:110, 20:70] = False
    noise = torch.rand(radio.gain.shape, generator=torch.Generator().manual_seed(0)) * 0.6
    noisy = RadioMap(radio.grid, SITES, radio.gain * known, noise, known, radio.los, radio.elevation)
    radio_map_io.save(noisy, folder)
    return folder


def make_errors(truths: tuple[str, ...]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        f"{truth}/{tier}/{method}": generator.rayleigh(scale / (1 + i), UES).astype(np.float32)
        for truth in truths
        for i, tier in enumerate(TIERS)
        for method, scale in SCALE.items()
    }


def make_metrics(errors: dict[str, np.ndarray]) -> dict[str, object]:
    def table(truth: str) -> dict[str, object]:
        rows = {k: error_summary(torch.from_numpy(v)) for k, v in errors.items() if k.startswith(f"{truth}/")}
        tiers = {t: {m: rows[f"{truth}/{t}/{m}"] for m in STYLE} for t in TIERS if rows}
        return {"tile": "blocks (made up)", "truth": truth, "tier": tiers}

    training = {
        "steps": 300,
        "batches": 300,
        "rt_batches": 75,
        "rt_links": 4800,
        "rt_gradient_norm": 0.0123,
        "wall_s": 61,
    }
    return {
        "test": table("map"),
        "test_paths": table("paths"),
        "r50": {"rsrp": 1.62, "rsrp_ta": 1.04, "rsrp_ta_azimuth": 1.6},
        "r95": {"rsrp": 1.59, "rsrp_ta": 1.09, "rsrp_ta_azimuth": 1.6},
        "training": training,
        "seed": 3,
        "versions": {"torch": "2.0", "sionna-rt": "2.2.0"},
        "stages": {"build": 12.0, "train": 61.5},
    }


def make_csv() -> str:
    lines = ["step,epoch,loss,coarse,fine,physics_map,physics_rt,val_p50_m"]
    generator = np.random.default_rng(1)
    for step in range(0, 300, 3):
        loss = 4 * np.exp(-step / 90) + 1 + 0.2 * generator.normal(size=4)
        traced = f"{loss[3]:.4f}" if step % 12 == 0 else ""
        lines.append(f"{step},0,{loss[0]:.4f},{loss[1]:.4f},{loss[2]:.4f},{loss[3] / 2:.4f},{traced},")
        if step % 60 == 0:
            lines.append(f"{step},0,,,,,,{60 + 80 * np.exp(-step / 90):.2f}")
    return "\n".join(lines) + "\n"


def make_example() -> dict[str, object]:
    def blob(count: int, places: list[tuple[float, float, float, float]]) -> np.ndarray:
        axis = (np.arange(count) + 0.5) * SIZE / count - SIZE / 2
        x, y = np.meshgrid(axis, axis)
        density = sum(w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2 / s**2) for a, b, s, w in places)
        return (density / density.sum()).astype(np.float32)

    return {
        "truth": np.array([60.0, -40.0]),
        "estimate": np.array([75.0, -22.0]),
        "covariance": np.diag([900.0, 400.0]),
        "heatmap": blob(32, [(70, -30, 30, 1.0), (-60, 40, 30, 0.3)]),
        "candidates": np.array([[72.0, -28.0], [-60.0, 40.0], [110.0, 10.0]]),
        "candidate_probability": np.array([0.7, 0.25, 0.05]),
        "candidate_std": np.array([[25.0, 15.0], [30.0, 30.0], [12.0, 20.0]]),
        "posterior": blob(128, [(63, -44, 12, 1.0), (-60, 40, 8, 0.1)]),
        "limit_estimate": np.array([62.0, -45.0]),
        "serving": 1,
        "rsrp_dbm": np.array([-80.0, -71.0, 0.0, -85.0, -92.0]),
        "heard": np.array([True, True, False, True, True]),
        "tier": "rsrp_ta",
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("explorer") / "demo")
    explorer.write_run_report(run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage: only the inputs, without the report."""
    copy = tmp_path / "demo"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("figures", "report.md"))
    return copy


# ---- the report -----------------------------------------------------------------------------------------


def test_report_names_every_method_tier_and_fact(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    for word in (
        *STYLE,
        *(f"### {t}" for t in TIERS),
        "25.0 %",
        "0.0123",
        "sionna-rt",
        "--seed 3",
        "blocks (made up)",
    ):
        assert word in text


def test_report_links_to_pictures_that_exist(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    linked = {part.split(")")[0] for part in text.split("](")[1:]}
    assert linked == {f"figures/{p.name}" for p in (finished / "figures").iterdir()}
    assert len(linked) == 6


def test_pictures_are_not_blank(finished: Path) -> None:
    for path in (finished / "figures").glob("*.png"):
        pixels = imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 400
        assert pixels.std() > 0.05, path.name
        assert len(np.unique((pixels * 255).round() @ np.array([1, 256, 65536]))) > 50, path.name


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the text is asked for, pictures are files without content: `finished` draws them, once."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path: Path(path).touch())


def verdicts(run: Path) -> dict[str, str]:
    lines = explorer.write_run_report(run).read_text().splitlines()
    return {line[2:15]: line for line in lines if line.startswith("- T")}


@pytest.mark.usefixtures("no_pictures")
def test_verdict_says_yes_and_no_by_the_numbers(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["test"]["tier"]["rsrp"]["locator"]["p50_m"] = 1e3
    metrics["test"]["tier"]["rsrp_ta"]["locator"]["p50_m"] = 0.1
    (run / "metrics.json").write_text(json.dumps(metrics))
    lines = verdicts(run)
    assert "**no**: 1000.0 m" in lines["rsrp, map truth"]
    assert "**yes**: 0.1 m" in lines["rsrp_ta, map truth"]
    text = (run / "report.md").read_text()
    assert "rsrp_ta: r50 = 1.04, r95 = 1.09; this meets" in text
    assert "rsrp: r50 = 1.62, r95 = 1.59; this misses" in text


@pytest.mark.usefixtures("no_pictures")
def test_a_run_without_path_truth_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "demo", paths=False)
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test_paths"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "p50 (path truth)" not in explorer.write_run_report(run).read_text()
    assert (run / "figures/errors_map.png").exists()
    assert not (run / "figures/errors_paths.png").exists()


@pytest.mark.parametrize("name", SOURCE_COMMANDS)
def test_a_missing_piece_names_the_command_that_makes_it(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(UelError, match=rf"no {name}[\s\S]*do: .*uel (demo|train)"):
        explorer.write_run_report(run)


@pytest.mark.parametrize("name", ["metrics.json", "errors.npz", "example.npz", "artefacts.json"])
def test_a_damaged_piece_is_named(run: Path, name: str) -> None:
    (run / name).write_bytes((run / name).read_bytes()[:40])
    with pytest.raises(UelError, match=f"{name} of this run is damaged"):
        explorer.write_run_report(run)


def test_a_missing_map_or_tile_is_named(run: Path) -> None:
    shutil.rmtree(run / "radio")
    with pytest.raises(UelError, match="no readable radio map"):
        explorer.write_run_report(run)
    (run / "artefacts.json").write_text(json.dumps({"test": {"tile": "nowhere", "radio": "radio"}}))
    with pytest.raises(UelError, match="no tile here"):
        explorer.write_run_report(run)


# ---- its parts ------------------------------------------------------------------------------------------


def test_curves_leave_blanks_out(run: Path) -> None:
    curves = read_curves(run / "training/metrics.csv")
    assert {len(curves[n][0]) for n in ("loss", "coarse", "fine")} == {100}
    assert len(curves["physics_rt"][0]) == 25
    assert curves["val_p50_m"][0].tolist() == [0.0, 60.0, 120.0, 180.0, 240.0]
    assert "epoch" not in curves


def test_figures_are_made_without_global_state(finished: Path) -> None:
    tile, radio = Tile.open(finished.parent / "tile"), radio_map_io.load(finished / "radio")
    first, second = overview.tile_figure(tile, radio.sites), overview.tile_figure(tile, radio.sites)
    assert first is not second
    assert first.canvas.manager is None


def test_every_cell_has_its_number_and_the_example_its_tier(finished: Path) -> None:
    tile, radio = Tile.open(finished.parent / "tile"), radio_map_io.load(finished / "radio")
    (ax, _) = overview.tile_figure(tile, radio.sites).axes
    assert {t.get_text() for t in ax.texts} >= {str(n) for n in range(5)}
    fix = overview.fix_figure(tile, radio.sites, read_example(finished))
    assert "rsrp_ta, 4 cells heard" in fix.axes[0].get_title()
