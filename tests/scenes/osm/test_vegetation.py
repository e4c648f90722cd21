"""Trees, rows of trees and woods of a map become crowns with two ends; without the option a tile is as before."""

import json
from pathlib import Path

import pytest
import torch

import scenes
from tests.helpers.osm_town import node_line, square, tag_lines, way_line, write_osm
from uel.errors import UelError
from uel.geo.tile import Tile

OPTIONS = {"size": 128.0, "margin": 0.0, "center": (48.0, 9.0)}
WAYS = [
    (square(-50, -50, 10), {"building": "yes", "height": "12"}),
    (square(0, 0, 20), {"natural": "wood"}),
    (square(30, 0, 10), {"natural": "scrub", "height": "2 m"}),
    (square(0, -40, 10), {"landuse": "grass"}),
]
TREES = (
    (1001, -30.0, 30.0, {"natural": "tree", "height": "20", "diameter_crown": "12"}),
    (1002, -45.0, -45.0, {"natural": "tree"}),  # on the roof: the building's
    (1003, 30.0, 40.0, {"natural": "tree", "height": "quite high"}),
    (1004, 50.0, 50.0, {"natural": "tree_stump"}),
)
ROW = ((1010, -20.0, -20.0), (1011, 20.0, -20.0))


def woods(folder: Path) -> Path:
    nodes = [node_line(n, x, y).replace("/>", f">{tag_lines(tags)}</node>") for n, x, y, tags in TREES]
    row = [node_line(*place) for place in ROW]
    line = way_line(100, [place[0] for place in ROW], {"natural": "tree_row", "est_height": "8"})
    return write_osm(folder / "woods.osm", WAYS, "".join([*nodes, *row, line]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tile, Tile]:
    """With its trees, and without."""
    folder = tmp_path_factory.mktemp("woods")
    file = woods(folder)
    return scenes.build(file, folder / "with", **OPTIONS, vegetation=True), scenes.build(
        file, folder / "without", **OPTIONS
    )


@pytest.mark.parametrize(
    ("x", "y", "base", "top"),
    [
        (10.5, 10.5, 0.0, 15.0),  # wood
        (35.5, 5.5, 0.0, 2.0),  # scrub with a height
        (-30.5, 30.5, 6.0, 20.0),  # tree: the crown begins at 0.3 of its height
        (-25.5, 30.5, 6.0, 20.0),  # 5 m from its trunk, whose crown is 12 m wide
        (-23.5, 30.5, 0.0, 0.0),
        (30.5, 40.5, 3.0, 10.0),  # a height that is none: that of an ordinary tree
        (0.5, -20.5, 2.4, 8.0),  # row
        (0.5, -23.5, 0.0, 0.0),
        (-45.5, -45.5, 0.0, 0.0),  # building
        (5.5, -35.5, 0.0, 0.0),  # grass
        (50.5, 50.5, 0.0, 0.0),  # stump
    ],
)
def test_crowns_stand_where_the_map_says(built, x, y, base, top):
    tile, _ = built
    row, column = tile.pixel_of(torch.tensor([x, y]))
    ends = [float(tile.rasters[name][row, column]) for name in ("canopy_base", "canopy_top")]
    assert ends == pytest.approx([base, top], abs=1e-5)


def test_a_report_counts_the_crowns(built):
    tile, _ = built
    report = json.loads((tile.folder / "build_report.json").read_text(encoding="utf-8"))
    assert report["vegetation"] == {"count": 6, "median_top": 10.0}


def test_without_the_option_nothing_of_a_tile_changes(built):
    """Meshes, scene and rasters are those of the other tile, less two rasters; the key does not name the option."""
    tile, bare = built
    assert "canopy_top" not in bare.rasters
    assert "vegetation" not in json.dumps(bare.meta["recipe"])
    shared = {name: value for name, value in tile.meta["files"].items() if "/canopy_" not in name}
    for name in ("rasters.zarr/zarr.json", "build_report.json"):
        shared.pop(name, None)
    assert shared.items() <= bare.meta["files"].items()
    assert len(shared) > 10


def test_perturbed_and_calibrated_tiles_keep_their_trees(built, tmp_path: Path):
    tile, _ = built
    wrong = scenes.perturb_meshes(tile, tmp_path / "wrong", scenes.Perturbation(heights=0.2), seed=1)
    for name in ("canopy_base", "canopy_top"):
        assert torch.equal(wrong.rasters[name], tile.rasters[name])


def test_a_source_without_trees_says_so(tmp_path: Path):
    with pytest.raises(UelError, match="need a map"):
        scenes.build("etoile", tmp_path / "etoile", size=128.0, margin=0.0, vegetation=True, progress=False)
    bare = write_osm(tmp_path / "bare.osm", WAYS[:1])
    tile = scenes.build(bare, tmp_path / "tile", **OPTIONS, vegetation=True)
    report = json.loads((tile.folder / "build_report.json").read_text(encoding="utf-8"))
    assert any("neither trees nor woods" in note for note in report["notes"])
