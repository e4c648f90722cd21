"""`uel residuals` on the tile of a synthetic district, around a map in closed form."""

from pathlib import Path

import pytest

from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.commands.radio_map import make_maps
from tests.helpers.network_tiles import network_tile
from training.residuals.config import ResidualsConfig
from training.residuals.run import TABLE_HEADER, replace_between, run
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.tracing_config import TracingConfig


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return network_tile(tmp_path_factory.mktemp("residuals"))


def test_the_table_has_a_line_for_the_map_and_one_for_the_law(tile: Tile, tmp_path: Path) -> None:
    tracing = TracingConfig(backend="free-space")
    make_maps(RadioMapConfig(tiles=(tile.folder,), pixel=8.0, check=1, tracing=tracing, out=tmp_path / "maps"))
    document = tmp_path / "EVALUATION.md"
    document.write_text("before\n<!-- residuals -->\nold\n<!-- /residuals -->\nafter\n")
    config = ResidualsConfig(
        tiles=(tile.folder,), maps=tmp_path / "maps", backend="free-space", out=tmp_path / "out", document=document
    )
    text = run(config).read_text()
    lines = text.splitlines()
    rows = lines[lines.index(TABLE_HEADER[1]) + 1 :]
    assert [row.split(" | ")[1] for row in rows if row] == ["free-space", "law"]
    levels = {row.split(" | ")[2] for row in rows if row}
    assert len(levels) == 1  # both on the same levels
    assert text in document.read_text()
    assert "old" not in document.read_text()
    assert document.read_text().endswith("<!-- /residuals -->\nafter\n")


def test_a_tile_without_a_map_is_told_how_to_get_one(tile: Tile, tmp_path: Path) -> None:
    with pytest.raises(UelError, match="uel map"):
        run(ResidualsConfig(tiles=(tile.folder,), maps=tmp_path, out=tmp_path / "out"))


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "text.md"
    file.write_text("nothing\n")
    with pytest.raises(UelError, match="no place for the table"):
        replace_between(file, "table")
    assert file.read_text() == "nothing\n"
