"""What people get wrong, and what `uel` says: what was wrong, what was got, what to do next, and nothing written.

Elsewhere, beside what they test:

- a typo in a verb: `test_cli.test_a_typo_in_the_verb`; in a config file: `test_config.test_unknown_names_in_a_file`
- an unknown place, an empty tile, a square off the terrain: `test_scenes.test_unknown_place_suggests_the_nearest`,
  `test_empty_tile`, `test_terrain_must_cover_the_tile`, `test_impossible_squares`
- zero sites, no room for them, a site inside a wall, in the ground or off the tile:
  `test_scenes.test_counts_that_cannot_be`, `test_a_tile_refuses_bad_sites`; none at all: `test_bridge.test_no_sites`
- a corrupt or foreign Zarr: `test_survey.test_damaged_chunk`, `test_damaged_metadata`, `test_missing_array`,
  `test_foreign_zarr_and_other_schema`
- a corrupt radio map: `test_simulator.test_damaged_radio_map_is_refused`; a tile of another schema: here
- a checkpoint that is none or of another schema: `test_locator.test_foreign_checkpoint_is_refused`; damaged: here
- a training checkpoint that was cut: `test_training.test_a_damaged_checkpoint_is_refused_and_nothing_is_lost`
- positions that are NaN, off the tile, of another shape, an empty batch: `test_bridge`, section "bad input";
  at a map: `test_simulator.test_both_refuse_positions_off_the_tile`
- a pixel that does not divide the size: `test_grid.test_pixels_must_divide_the_side`
- a run folder with pieces missing or damaged: `test_explorer`
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.free_space import masts, radio_map, silent
from uel import cli
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps
from uel.measurement.model import ObservationModel
from uel.models.config import LocatorConfig
from uel.models.locator import Locator, require_nesting

SMALL = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1)


# ---- through the command line ----------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    yield tmp_path
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--train atlantis", ["unknown bundled city", "atlantis", "known are munich"]),
        ("--train munich florense@0,0", ["unknown bundled city", "perhaps you meant florence"]),
        ("--validate etoil", ["unknown bundled city", "perhaps you meant etoile"]),
        ("--test florence@x", ["cannot read this tile", "'florence@x'", "write city@x,y"]),
        ("--test florence@1,2,3", ["cannot read this tile", "write city@x,y"]),
        ("--test florence@nan,0", ["cannot read this tile", "write city@x,y"]),
        ("--test munich@0,0", ["must be unseen", "munich@0,0", "test on another city"]),
        ("--test etoile", ["must be unseen", "take etoile@0,0 out of"]),
        ("--train", ["train must name a tile", "give --train munich@0,0"]),
        ("--sites.count 0", ["sites.count must be at least 1", "got: 0", "give 1 or more"]),
        ("--sites.sectors 0", ["sites.sectors must be at least 1", "got: 0", "give 1 or more"]),
        ("--sites.mast nan", ["mast is out of range", "nan", "give mast a finite number"]),
        ("--pixel 5", ["whole number of pixels", "pixel 5.0 m", "choose a pixel that divides the size"]),
        ("--pixel 0", ["must nest", "pixel 0.0 m", "choose a multiple of 1 m"]),
        ("--pixel 0.5", ["must nest", "pixel 0.5 m", "choose a multiple of 1 m"]),
        ("--size 100.5 --pixel 4", ["whole number of pixels", "size 100.5 m", "choose a pixel"]),
        ("--locator.patches 30", ["patches must divide", "128 pixels, 30 patches", "try 32 patches"]),
        ("--locator.patches 0", ["must be even", "give an even number"]),
        ("--survey.tracks 0", ["tracks and reports must be at least 1", "give at least one"]),
        ("--evaluation.phones 0", ["evaluation.phones must be at least 1", "give 1 or more"]),
        ("--training.batch 1", ["training.batch is too small", "give 2 or more"]),
        ("--training.rt-samples 0", ["training.rt_samples is too small", "give 1 or more"]),
        ("--tracing.samples 0", ["tracing needs samples", "raise samples"]),
        ("--sites.cout 4", ["--sites.cout", "--sites.count"]),
        ("--seed one", ["--seed", "one"]),
        ("--config quik", ["no such config", "Perhaps you meant 'demo/quick'"]),
    ],
)
def test_a_demo_that_cannot_be_is_refused_before_any_work(
    nowhere: Path, capsys: pytest.CaptureFixture[str], line: str, said: list[str]
) -> None:
    assert cli.main(["demo", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("uel: ")
    for words in said:
        assert words in err
    assert "Traceback" not in out + err
    assert not list(nowhere.iterdir())


# ---- through public functions ----------------------------------------------------------------------------


def test_patches_that_do_not_divide_the_map() -> None:
    radio = radio_map(masts((10.0, 20.0)), pixel=8.0)  # 32 pixels
    maps = TileMaps(radio, torch.zeros(2 + len(MATERIAL_CLASSES), *radio.grid.shape), torch.ones(radio.grid.shape))
    locator = Locator(LocatorConfig(patches=30, width=16, pixel_width=8, depth=1, radio_depth=1), ObservationModel())
    with pytest.raises(UelError, match=r"patches must divide[\s\S]*32 pixels, 30 patches[\s\S]*do:  try 32"):
        locator(silent(1, 1), maps)
    with pytest.raises(UelError, match="even number"):
        require_nesting(Grid(size=9.0, pixel=3.0), 2)


@pytest.mark.parametrize("damage", ["a weight is missing", "another width", "an unknown setting", "no state"])
def test_a_damaged_checkpoint_of_our_own_schema(tmp_path: Path, damage: str) -> None:
    Locator(SMALL, ObservationModel()).save(tmp_path)
    content = torch.load(tmp_path / "locator.pt", weights_only=True)
    if damage == "a weight is missing":
        del content["state"]["fine.weight"]
    elif damage == "another width":
        content["config"]["width"] = 32
    elif damage == "an unknown setting":
        content["config"]["colour"] = "red"
    else:
        del content["state"]
    torch.save(content, tmp_path / "locator.pt")
    with pytest.raises(UelError, match=r"this checkpoint is damaged[\s\S]*do:  train again"):
        Locator.load(tmp_path)


def test_a_tile_that_is_none_or_of_another_schema(tmp_path: Path) -> None:
    with pytest.raises(UelError, match=r"no tile here[\s\S]*do:  build one"):
        Tile.open(tmp_path)
    (tmp_path / "tile.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(UelError, match=r"schema is not 2[\s\S]*do:  build it again"):
        Tile.open(tmp_path)
    (tmp_path / "tile.json").write_text("{ not json")
    with pytest.raises(UelError, match=r"damaged[\s\S]*do:  copy it again, or build it again"):
        Tile.open(tmp_path)
