"""The map in a notebook: one page with all that it needs, and what is given lies on it."""

import json
import re

import pytest
import torch

import explorer
import scenes
from tests.helpers.free_space import radio_map
from tests.helpers.toy_city import SITES
from uel.errors import UelError
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.radio.simulator import FreeSpace


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    folder = tmp_path_factory.mktemp("notebook") / "etoile"
    return scenes.build("etoile", folder, size=128.0, margin=0.0, progress=False)


def fix(x: float, y: float) -> Fix:
    return Fix(torch.zeros(1, 1), torch.tensor([[[x, y]]]), 25.0 * torch.eye(2).expand(1, 1, 2, 2))


def test_a_page_asks_no_other_server(tile: Tile) -> None:
    page = explorer.explore(tile).page()
    outside = re.sub(r"<script type='text/javascript'>.*?</script>", "", page, flags=re.DOTALL)  # deck.gl itself
    assert "http" not in outside
    assert outside.count("data:model/gltf-binary;base64,") == 3  # ground, buildings, masts
    assert "createDeck" in page


def test_what_is_given_lies_on_the_map(tile: Tile) -> None:
    radio = FreeSpace(SITES[:2], size=tile.size, made_on=tile.reference).radio_map(tile.grid(4.0))
    shown = explorer.explore(
        tile, radio=radio, position=torch.zeros(5, 2), fix=fix(20.0, -30.0), truth=(25.0, -30.0), camera="close"
    )
    layers = {layer["id"]: layer for layer in json.loads(shown.deck.to_json())["layers"]}
    assert {"ground", "buildings", "cells", "phones", "fix", "truth", "region50", "region90"} <= set(layers)
    assert layers["fix"]["data"][0]["p"][:2] == pytest.approx([20.0, -30.0], abs=0.1)
    assert [legend.title for legend in shown.legends] == ["RSRP"]
    assert len(layers["phones"]["data"]) == 5


def test_a_saved_page_is_the_page(tile: Tile, tmp_path) -> None:
    shown = explorer.explore(tile)
    assert shown.save(tmp_path / "map.html").read_text(encoding="utf-8") == shown.page()
    assert 'srcdoc="' in shown._repr_html_()
    assert len(repr(shown)) < 100


def test_a_map_of_another_tile_is_refused(tile: Tile) -> None:
    with pytest.raises(UelError, match="another tile"):
        explorer.explore(tile, radio=radio_map(SITES[:1]))
