"""Artefacts that changed since they were made: every JSON file by every damage, and bits of the binary ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numcodecs.zstd import Zstd

from scenes.tiles.writer import update_files
from tests.helpers.artefacts import JSON_ARTEFACTS, changed_json, make_artefacts, open_traced_tile
from tests.helpers.outside import flipped, refusal
from tests.helpers.village_tile import village, write
from uel.cli import main
from uel.core.outside.checksums import CHECKSUM_NAME
from uel.errors import UelError
from uel.geo.scene_files import read_ply, require_sound_scene
from uel.geo.tile import Tile
from uel.models.config import RestorerConfig
from uel.models.locator import Locator
from uel.models.map_restorer import MapRestorer
from uel.radio import radio_map_io


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One artefact of each kind, as it was made."""
    return make_artefacts(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


# ---- JSON files -----------------------------------------------------------------------------------------

BYTE_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a list": lambda content: b"[1]",
    "null": lambda content: b"null",
    "deep": lambda content: b'{"a":' * 100_000,
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "a name twice": lambda content: content.rstrip()[:-1] + b', "x": 1, "x": 2}',
    "NaN": lambda content: content.rstrip()[:-1] + b', "x": NaN}',
    "1e999": lambda content: content.rstrip()[:-1] + b', "x": 1e999}',
}
VALUE_DAMAGES: dict[str, Callable[[object], object] | None] = {
    "missing": None,
    "null": lambda value: None,
    "a text": lambda value: "abc" if not isinstance(value, str) else 7,
    "a list": lambda value: [{"x": [value]}] if not isinstance(value, list) else {"x": value},
    "negative": lambda value: -1,
    "huge": lambda value: 10**300,
}


def test_all_are_sound_as_they_were_made(root: Path) -> None:
    for artefact in JSON_ARTEFACTS.values():
        artefact.open(root / artefact.folder)


@pytest.mark.parametrize("damage", BYTE_DAMAGES)
@pytest.mark.parametrize("name", JSON_ARTEFACTS)
def test_damaged_json_is_refused(name: str, damage: str, root: Path) -> None:
    artefact = JSON_ARTEFACTS[name]
    file = root / artefact.folder / artefact.file
    file.write_bytes(BYTE_DAMAGES[damage](file.read_bytes()))
    refusal(lambda: artefact.open(root / artefact.folder))


@pytest.mark.parametrize("damage", VALUE_DAMAGES)
@pytest.mark.parametrize("name", JSON_ARTEFACTS)
def test_a_value_that_cannot_be_is_refused(name: str, damage: str, root: Path) -> None:
    """Each vital value in turn, without the file's checksum, which would find the change before."""
    artefact = JSON_ARTEFACTS[name]
    file = root / artefact.folder / artefact.file
    content = file.read_bytes()
    for path in artefact.vital:
        file.write_bytes(changed_json(content, path, VALUE_DAMAGES[damage]))
        refusal(lambda: artefact.open(root / artefact.folder))


WITH_CHECKSUM = ("tile", "radio map", "survey", "record of a unit", "sweep", "atlas")


@pytest.mark.parametrize("name", [*WITH_CHECKSUM, "sites"])
def test_a_changed_digit_is_noticed(name: str, root: Path) -> None:
    """A value that is possible, but is not the one that was written: another mast, another size."""
    artefact = JSON_ARTEFACTS[name]
    file = root / artefact.folder / artefact.file
    content = file.read_bytes()
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    for at in digits[:: max(1, len(digits) // 12)]:
        file.write_bytes(content[:at] + (b"7" if content[at : at + 1] != b"7" else b"3") + content[at + 1 :])
        refusal(lambda: artefact.open(root / artefact.folder))


@pytest.mark.parametrize("name", [name for name in WITH_CHECKSUM if name != "radio map"])
def test_files_without_a_checksum_are_read(name: str, root: Path) -> None:
    """As version 0.2 wrote them."""
    artefact = JSON_ARTEFACTS[name]
    file = root / artefact.folder / artefact.file
    document = json.loads(file.read_text())
    del document[CHECKSUM_NAME]
    file.write_text(json.dumps(document))
    artefact.open(root / artefact.folder)


def test_a_radio_map_without_a_checksum_is_read(root: Path) -> None:
    file = root / "map" / "radiomap.zarr" / "zarr.json"
    document = json.loads(file.read_text())
    del document["attributes"][CHECKSUM_NAME]
    file.write_text(json.dumps(document))
    radio_map_io.load(root / "map")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_tile_names_no_file_elsewhere(name: str, root: Path) -> None:
    file = root / "tile" / "tile.json"
    document = json.loads(file.read_text())
    del document[CHECKSUM_NAME]
    document["files"][name] = "0" * 64
    file.write_text(json.dumps(document))
    refusal(lambda: Tile.open(root / "tile"), "this tile is damaged")


def test_meshes_that_lie_elsewhere_are_refused(root: Path) -> None:
    (root / "village" / "meshes").rename(root / "elsewhere")
    (root / "village" / "meshes").symlink_to(root / "elsewhere")
    refusal(lambda: open_traced_tile(root / "village"), "outside its folder|this tile is damaged")


# ---- binary files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["flipped", "cut", "missing", "empty"])
def test_a_damaged_mesh_is_never_traced(harm: str, root: Path) -> None:
    """A flipped bit in a face's index was a segmentation fault of the ray tracer."""
    for file in sorted((root / "village" / "meshes").glob("*.ply"))[:3]:
        content = file.read_bytes()
        damages = {"flipped": flipped(content, -2, 6), "cut": content[:-9], "empty": b""}
        file.unlink()
        if harm in damages:
            file.write_bytes(damages[harm])
        refusal(lambda: open_traced_tile(root / "village"), "this tile is damaged")
        file.write_bytes(content)


def test_no_bit_of_a_mesh_leads_out_of_it(tmp_path: Path) -> None:
    """With hashes that fit, as a stranger's tile has: every face is of vertices that there are, or is refused."""
    write(tmp_path / "tile", village())
    file = sorted((tmp_path / "tile" / "meshes").glob("*roof*.ply"))[0]
    content = file.read_bytes()
    refused = 0
    for position in range(len(content)):
        file.write_bytes(flipped(content, position, 7))
        try:
            mesh = read_ply(file)
        except UelError:
            refused += 1
        else:
            assert mesh.face.min() >= 0
            assert mesh.face.max() < len(mesh.vertex)
            assert np.isfinite(mesh.vertex).all()
    assert refused > 100


SCENE_CHANGES = {
    "a texture": '<texture type="bitmap"><string name="filename" value="/etc/passwd"/></texture>',
    "an include": '<include filename="other.xml"/>',
    "a mesh elsewhere": '<shape type="ply"><string name="filename" value="../a.ply"/><ref id="brick"/></shape>',
    "a sphere": '<shape type="sphere"><ref id="brick"/></shape>',
    "a shape without a material": '<shape type="ply"><string name="filename" value="meshes/a.ply"/></shape>',
    "a material from a file": '<bsdf type="measured" id="x"><string name="filename" value="/etc/passwd"/></bsdf>',
}


@pytest.mark.parametrize("name", SCENE_CHANGES)
def test_a_stranger_s_scene_reads_no_other_file(name: str, tmp_path: Path) -> None:
    tile = write(tmp_path / "tile", village())
    text = tile.scene_file.read_text().replace("</scene>", f"{SCENE_CHANGES[name]}</scene>")
    changed = update_files(tile, {"scene.xml": text.encode()})
    refusal(lambda: require_sound_scene(changed))


@pytest.mark.parametrize("position", range(400, 40_000, 5_000))
def test_a_flipped_bit_in_a_locator_is_no_other_answer(position: int, root: Path) -> None:
    """It is refused, or lies between the weights, where an archive is filled up."""
    file = root / "runs" / "small" / "locator.pt"
    before = Locator.load(file.parent).state_dict()
    file.write_bytes(flipped(file.read_bytes(), position, position % 8))
    try:
        after = Locator.load(file.parent).state_dict()
    except UelError:
        return
    assert all(torch.equal(after[name], values) for name, values in before.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, root: Path) -> None:
    locator = Locator.load(root / "runs" / "small")
    with torch.no_grad():
        locator.trust.weight[0, 0] = value
    locator.save(root / "runs" / "small")
    refusal(lambda: Locator.load(root / "runs" / "small"), "not finite")


def test_a_flipped_bit_in_a_restorer_is_noticed(tmp_path: Path) -> None:
    MapRestorer(RestorerConfig(width=4, levels=1)).save(tmp_path)
    file = tmp_path / "restorer.pt"
    content = file.read_bytes()
    before, refused = MapRestorer.load(tmp_path), 0
    assert before is not None
    for position in range(300, len(content), len(content) // 19):
        file.write_bytes(flipped(content, position, 3))
        try:
            after = MapRestorer.load(tmp_path)
        except UelError:
            refused += 1
            continue
        assert after is not None
        assert all(torch.equal(after.state_dict()[name], values) for name, values in before.state_dict().items())
    assert refused > 10


@pytest.mark.parametrize("size", [1 << 24, None])
def test_a_zstd_bomb_in_a_chunk_is_refused(size: int | None, root: Path) -> None:
    """A chunk that would unpack to 16 MB, or does not say to how much."""
    bomb = Zstd(level=3).encode(b"\0" * (1 << 24))
    if size is None:
        bomb = bomb[:4] + bytes([0x04]) + bytes([0x88]) + bomb[9:]  # no content size (RFC 8878, 3.1.1.1)
    chunk = next(path for path in sorted((root / "map" / "radiomap.zarr" / "gain" / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(bomb)
    message = refusal(lambda: radio_map_io.load(root / "map"), "this radio map is damaged")
    assert "would unpack" in message


@pytest.mark.parametrize("position", range(40, 700, 60))
def test_a_flipped_bit_in_an_atlas_is_noticed(position: int, root: Path) -> None:
    file = root / "atlas" / "atlas.npz"
    file.write_bytes(flipped(file.read_bytes(), position, 5))
    refusal(lambda: JSON_ARTEFACTS["atlas"].open(root / "atlas"), "no readable atlas")


# ---- uel verify -----------------------------------------------------------------------------------------


def test_verify_reads_all_and_names_what_is_damaged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(root)]) == 0
    said = capsys.readouterr().out
    assert all(f"{kind}, as it was made" in said for kind in ("tile", "radio map", "survey", "run", "atlas"))
    mesh = next((root / "village" / "meshes").glob("*.ply"))
    mesh.write_bytes(flipped(mesh.read_bytes(), -3))
    shard = next(p for p in sorted((root / "surveys/toy/toy.zarr/gain_db/c").rglob("*")) if p.is_file())
    shard.write_bytes(flipped(shard.read_bytes(), 30))
    assert main(["verify", str(root / "village"), str(root / "surveys" / "toy"), str(root / "map")]) == 1
    said = capsys.readouterr().out
    assert f"! meshes/{mesh.name} is missing, not listed, or not as it was written" in said
    assert "! toy.zarr/gain_db/c" in said
    assert said.count("make it again: uel") == 2
    assert "map: radio map, as it was made" in said


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_verify_needs_an_artefact(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["verify", str(tmp_path / name)]) == 2
    assert "there is no artefact here" in capsys.readouterr().err
