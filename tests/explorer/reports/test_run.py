"""The report of a small made-up run: complete, honest, and with figures that show something."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from explorer.figures import overview
from explorer.reports.run import SOURCE_COMMANDS, read_curves, read_errors, read_example, write_run_report
from explorer.style import RUN_METHOD_STYLES, tier_label
from tests.helpers.demo_run import make_run
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.tiers import TIERS
from uel.radio import radio_map_io


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("explorer") / "demo")
    write_run_report(run)
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
        *RUN_METHOD_STYLES,
        *(f"### {tier_label(tier)} (`{tier}`)" for tier in TIERS),
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
    monkeypatch.setattr(Figure, "savefig", lambda _, stream, **options: None)


def verdicts(run: Path) -> dict[str, str]:
    lines = write_run_report(run).read_text().splitlines()
    return {line[2:].split(":")[0]: line for line in lines if "does the locator's median error" in line}


@pytest.mark.usefixtures("no_pictures")
def test_verdict_says_yes_and_no_by_the_numbers(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["test"]["tier"]["rsrp"]["locator"]["p50_m"] = 1e3
    metrics["test"]["tier"]["rsrp_ta"]["locator"]["p50_m"] = 0.1
    (run / "metrics.json").write_text(json.dumps(metrics))
    lines = verdicts(run)
    assert "**no**: 1000.0 m" in lines["RSRP, map truth"]
    assert "**yes**: 0.1 m" in lines["RSRP + timing advance, map truth"]
    text = (run / "report.md").read_text()
    assert "RSRP + timing advance: r50 = 1.04, r95 = 1.09; this meets" in text
    assert "RSRP: r50 = 1.62, r95 = 1.59; this misses" in text


@pytest.mark.usefixtures("no_pictures")
def test_a_run_without_path_truth_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "demo", paths=False)
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test_paths"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "p50 (path truth)" not in write_run_report(run).read_text()
    assert (run / "figures/errors_map.png").exists()
    assert not (run / "figures/errors_paths.png").exists()


@pytest.mark.parametrize("name", SOURCE_COMMANDS)
def test_a_missing_piece_names_the_command_that_makes_it(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(UelError, match=rf"no {name}[\s\S]*do: .*uel (demo|train)"):
        write_run_report(run)


@pytest.mark.parametrize("name", ["metrics.json", "example.npz", "run.json"])
def test_a_damaged_piece_is_named(run: Path, name: str) -> None:
    (run / name).write_bytes((run / name).read_bytes()[:40])
    with pytest.raises(UelError, match=f"{name} of this run is (missing or )?damaged"):
        write_run_report(run)


def test_a_missing_map_or_tile_is_named(run: Path) -> None:
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(json.dumps({"deployment": {"tile": "nowhere", "radio": "radio"}}))
    with pytest.raises(UelError, match="no tile here"):
        write_run_report(run)
    (run / "run.json").write_text(record)
    shutil.rmtree(run / "radio")
    with pytest.raises(UelError, match="no readable radio map"):
        write_run_report(run)


def test_a_run_of_version_0_1_is_reported(run: Path) -> None:
    """Its deployment is in `artefacts.json`, its errors in `errors.npz`."""
    errors = read_errors(run)
    shutil.rmtree(run / "eval")
    with pytest.raises(UelError, match=r"not been evaluated[\s\S]*uel eval"):
        read_errors(run)
    np.savez(run / "errors.npz", **errors)
    (run / "artefacts.json").write_text(json.dumps({"test": json.loads((run / "run.json").read_text())["deployment"]}))
    (run / "run.json").unlink()
    assert "p50 (path truth)" in write_run_report(run).read_text()


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
    assert "RSRP + timing advance, 4 cells heard" in fix.axes[0].get_title()
