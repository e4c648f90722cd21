"""What the explorer finds, from a folder of whatever kind; how it is started."""

import json
import shutil
from pathlib import Path

import pytest

from explorer.analysis import artefact_index
from explorer.analysis.artefact_index import ArtefactIndex, find_artefacts
from explorer.app import serve
from explorer.app.config import ExploreConfig
from tests.helpers.demo_run import make_run
from tests.helpers.surveys import made
from tests.helpers.toy_city import SITES
from uel.cli import main
from uel.core.grid import Grid
from uel.errors import UelError
from uel.inference.run_folder import write_sweep
from uel.radio import radio_map_io
from uel.radio.simulator import FreeSpace


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A run on one tile; another tile with a survey and a map."""
    root = tmp_path_factory.mktemp("stored")
    make_run(root / "runs" / "first", paths=False)
    made(root / "data" / "surveys" / "toy")
    tile = root / "data" / "surveys" / "tiles" / "toy"
    radio = FreeSpace(SITES, size=256.0).radio_map(Grid(size=256.0, pixel=8.0))
    fingerprint = artefact_index.find_artefacts(None, root / "data", root / "none").tiles[0].fingerprint
    radio_map_io.save(
        radio, root / "data" / "maps" / "toy-3.5GHz", provenance={"tile": "toy", "fingerprint": fingerprint}
    )
    assert (tile / "tile.json").is_file()
    return root


def found(root: Path, path: Path | None = None) -> ArtefactIndex:
    return find_artefacts(path, root / "data", root / "runs")


def test_places_hold_what_was_made_on_them(stored):
    index = found(stored)
    assert {place.name for place in index.tiles} == {"blocks", "toy"}
    toy, blocks = index.tile("toy"), index.tile("blocks")
    assert toy is not None
    assert blocks is not None
    assert [radio.name for radio in toy.maps] == ["toy-3.5GHz"]
    assert [(folder.name, name) for folder, name in toy.surveys] == [("toy", "toy")]
    assert [radio.name for radio in blocks.maps] == ["radio"]
    assert blocks.missing == [("survey", f"uel survey {blocks.folder} --out data/surveys/blocks")]
    assert not index.problems


def test_the_newest_run_and_its_tile_are_opened_unless_asked(stored):
    index = found(stored)
    assert index.run is not None
    assert (index.run.name, index.first_tile) == ("first", "blocks")


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("data/surveys/toy", "toy"),
        ("data/maps/toy-3.5GHz", "toy"),
        ("data/surveys/tiles/toy", "toy"),
        ("runs/first", "blocks"),
    ],
)
def test_what_is_asked_for_is_opened(stored, asked, first):
    artefact_index.require_artefact(stored / asked)
    assert found(stored, stored / asked).first_tile == first


def test_a_survey_goes_with_a_map_of_its_masts(stored, tmp_path):
    """Reports count the cells of their own masts: beside a map of others they would be read wrongly."""
    shutil.copytree(stored, tmp_path / "copy")
    toy = found(tmp_path / "copy").tile("toy")
    assert toy is not None
    of = {"tile": "toy", "fingerprint": toy.fingerprint}
    fewer = FreeSpace(SITES[:2], size=256.0).radio_map(Grid(size=256.0, pixel=8.0))
    radio_map_io.save(fewer, tmp_path / "copy" / "data" / "maps" / "fewer", provenance=of)
    both = found(tmp_path / "copy").tile("toy")
    assert both is not None
    assert [radio.name for radio in both.maps] == ["fewer", "toy-3.5GHz"]
    assert both.surveys == ()
    assert both.missing == [("survey", f"uel survey {both.folder} --out data/surveys/toy")]
    asked = found(tmp_path / "copy", tmp_path / "copy" / "data" / "surveys" / "toy").tile("toy")
    assert asked is not None
    assert [radio.name for radio in asked.maps] == ["toy-3.5GHz", "fewer"]
    assert [name for _, name in asked.surveys] == ["toy"]


def test_of_two_runs_on_a_tile_each_is_shown_its_own_map(stored, tmp_path):
    """The second run brings a copy of the tile, which is no other place."""
    runs = tmp_path / "copy" / "runs"
    shutil.copytree(stored, tmp_path / "copy")
    shutil.copytree(runs / "first", runs / "second")
    for run in (runs / "first", runs / "second"):
        blocks = found(tmp_path / "copy").tile("blocks", run.resolve())
        assert blocks is not None
        assert blocks.maps[0].is_relative_to(run.resolve())


@pytest.mark.parametrize("asked", ["sweep", "sweep/a=2", "ablate/own/cells/0123456789"])
def test_a_sweeps_best_run_and_an_ablations_cell_are_explored(stored, tmp_path, asked):
    """On the tile that they were validated on, with their own map; a sweep stands for its best run."""
    runs = tmp_path / "copy" / "runs"
    shutil.copytree(stored, tmp_path / "copy")
    for folder in ("sweep/a=1", "sweep/a=2", "ablate/own/cells/0123456789"):
        shutil.copytree(runs / "first", runs / folder)
        record = {"deployment": {"tile": str(runs / "tile"), "radio": "radio"}}
        (runs / folder / "run.json").write_text(json.dumps(record))
    write_sweep(runs / "sweep", "a=2")
    artefact_index.require_artefact(runs / asked)
    index = found(tmp_path / "copy", runs / asked)
    own = (runs / asked / "a=2" if asked == "sweep" else runs / asked).resolve()
    assert (index.run, index.first_tile) == (own, "blocks")
    blocks = index.tile("blocks")
    assert blocks is not None
    assert blocks.maps[0] == own / "radio"


def test_nothing_is_an_empty_shelf(tmp_path):
    assert found(tmp_path) == ArtefactIndex()


def test_what_cannot_be_read_is_told(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "copy")
    broken = tmp_path / "copy" / "data" / "surveys" / "toy" / "survey.json"
    broken.write_text("{")
    (tmp_path / "copy" / "runs" / "first" / "run.json").write_text(json.dumps({"deployment": 3}))
    index = found(tmp_path / "copy")
    assert len(index.problems) == 2
    assert any(str(broken) in problem for problem in index.problems)


def test_another_folder_is_refused(tmp_path, capsys):
    assert main(["explore", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "no run, tile, radio map or survey" in message
    assert "uel demo" in message


@pytest.mark.parametrize("port", [0, 70000])
def test_ports_that_are_none_are_refused(port):
    with pytest.raises(UelError, match="no TCP port"):
        ExploreConfig(port=port)


def test_nobody_else_is_let_in_unless_asked():
    arguments = serve.streamlit_arguments(ExploreConfig())
    assert "--server.address=127.0.0.1" in arguments
    arguments = serve.streamlit_arguments(ExploreConfig(server_address="0.0.0.0", base_url_path="/radio/", port=80))
    assert {"--server.address=0.0.0.0", "--server.baseUrlPath=radio", "--server.port=80"} <= set(arguments)


def test_what_never_changes_is_written_beside_the_pages():
    import tomllib

    config = tomllib.loads((serve.APP_FILE.parent / ".streamlit" / "config.toml").read_text())
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["maxUploadSize"] == 20


def test_no_service_is_asked_for_the_address_of_this_machine(monkeypatch):
    """Streamlit would, where it listens to everybody and where a page of a stranger knocks."""
    from streamlit import net_util
    from streamlit.web import cli
    from streamlit.web.server import server_util

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked outside")

    monkeypatch.setattr(net_util, "_make_blocking_http_get", refuse)
    monkeypatch.setattr(net_util, "get_external_ip", net_util.get_external_ip)  # put back afterwards
    monkeypatch.setattr(cli, "main", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="asked outside"):
        server_util.is_url_from_allowed_origins("http://elsewhere.example")
    serve.serve(ExploreConfig(server_address="0.0.0.0"))
    assert not server_util.is_url_from_allowed_origins("http://elsewhere.example")
