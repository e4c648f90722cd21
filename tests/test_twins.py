"""Wrong twins of a real place, as PROTOCOL's conditions M2, M3 and M4 want them: recorded, repeatable, and heard."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sim_bridge
from sim_bridge.tracing import Tracing
from uel.cli import main
from uel.tile import Tile
from uel.units import to_db

pytestmark = pytest.mark.slow

PLACE = "krems_altstadt"
CONDITIONS = {"M2": "materials=swap", "M3": "heights=0.2,missing=0.1", "M4": "antenna=10deg,3m"}
# The map of Krems tells no materials: all classes are concrete, and only what is drawn can be swapped.
DRAWN = ("--materials", "drawn")


def build(shared: Path, out: Path, *more: str) -> Tile:
    command = ["build", str(shared / "tiles" / f"{PLACE}.osm.gz"), "--out", str(out), "--no-render"]
    assert main([*command, "--sites", "2", "--sectors", "3", "--size", "192", "--margin", "32", *DRAWN, *more]) == 0
    return Tile.open(out / PLACE)


@pytest.fixture(scope="module")
def true(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return build(shared, tmp_path_factory.mktemp("true"))


@pytest.fixture(scope="module")
def phones(true: Tile) -> torch.Tensor:
    centres = true.raster_grid.centres().reshape(-1, 2)
    outdoors = centres[true.outdoor(centres)]
    return outdoors[torch.randperm(len(outdoors), generator=torch.Generator().manual_seed(0))[:40]]


def gain_db(tile: Tile, phones: torch.Tensor) -> torch.Tensor:
    """Gain of every phone and cell by reflections and the direct path, -300 dB where no path is."""
    sim = sim_bridge.open(tile, tile.sites, Tracing(samples=50_000, max_depth=2, diffraction=False))
    return to_db(sim.path_gain(phones).clamp(min=1e-30))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_wrong_twin_is_heard_recorded_and_repeatable(
    condition: str, true: Tile, phones: torch.Tensor, shared: Path, tmp_path: Path
) -> None:
    perturb = ("--perturb", CONDITIONS[condition])
    twin, again = (build(shared, tmp_path / name, *perturb) for name in ("one", "again"))
    other = build(shared, tmp_path / "other", *perturb, "--seed", "1")
    assert twin.meta["files"] == again.meta["files"]
    assert twin.meta["perturbation"] == again.meta["perturbation"]
    assert twin.meta["perturbation"] != other.meta["perturbation"]
    assert json.loads((twin.folder / "report.json").read_text())["problems"] == []
    {"M2": _materials, "M3": _heights, "M4": _antennas}[condition](true, twin)

    free = twin.outdoor(phones) & true.outdoor(phones)
    off = (gain_db(twin, phones[free]) - gain_db(true, phones[free])).abs()
    heard = gain_db(true, phones[free]) > -200
    # Rays of one seed on one tile give one answer: whatever is different comes from the twin.
    torch.testing.assert_close(gain_db(again, phones[free]), gain_db(twin, phones[free]), atol=1e-3, rtol=0)
    assert float((off[heard] > 0.1).float().mean()) > {"M2": 0.1, "M3": 0.3, "M4": 0.9}[condition]


def _materials(true: Tile, twin: Tile) -> None:
    """Every building has the walls and roof of the one that the record names; nothing else is different."""
    changed, was, now = twin.meta["perturbation"]["buildings"], true.meta["buildings"], twin.meta["buildings"]
    assert changed.keys() == was.keys() == now.keys()
    for name, change in changed.items():
        assert now[name]["drawn"] == was[change["materials_of"]]["drawn"] != was[name]["drawn"]
    torch.testing.assert_close(twin.rasters["height"], true.rasters["height"])
    assert twin.sites == true.sites


def _heights(true: Tile, twin: Tile) -> None:
    """One in ten is missing; the others are as much higher or lower as the record says, up to 20 %."""
    changed, was, now = twin.meta["perturbation"]["buildings"], true.meta["buildings"], twin.meta["buildings"]
    missing = {name for name, change in changed.items() if "missing" in change}
    assert now.keys() == was.keys() - missing
    assert missing <= twin.meta["exclusions"].keys()
    assert abs(len(missing) / len(was) - 0.1) < 3 * np.sqrt(0.09 / len(was))
    factors = np.array([now[name]["top"] / was[name]["top"] for name in now])
    np.testing.assert_allclose(factors, [changed[name]["height_factor"] for name in now])
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2


def _antennas(true: Tile, twin: Tile) -> None:
    """Masts are higher or lower and sectors turned by what the record says; the city is the same."""
    for was, now, change in zip(true.sites, twin.sites, twin.meta["perturbation"]["sites"], strict=True):
        off = now.position[2] - was.position[2]
        assert off == pytest.approx(change["height"]) or now.position[2] == pytest.approx(change["raised_to"])
        turned = [(b.azimuth_deg - a.azimuth_deg + 180) % 360 - 180 for a, b in zip(was.cells, now.cells, strict=True)]
        assert turned == pytest.approx(change["azimuth_deg"])
        assert max(map(abs, turned)) > 1
    meshes = [name for name in true.meta["files"] if name.startswith(("meshes", "scene", "rasters"))]
    assert [twin.meta["files"][name] for name in meshes] == [true.meta["files"][name] for name in meshes]
