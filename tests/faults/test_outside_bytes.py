"""Bytes from outside: bombs, depths, double names and descriptions of other files, in every format that is read."""

import bz2
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenes.osm.files.map_file import read_map_file
from scenes.sites.cell_lists.tables import read_rows
from tests.helpers.log_tile import log_tile, parts_to_locate
from tests.helpers.outside import flipped, gzip_bomb, gzipped, refusal
from uel.core.outside.array_files import read_arrays
from uel.core.outside.checksums import json_with_checksum, read_checked_json
from uel.core.outside.compression import open_unpacked, read_unpacked
from uel.core.outside.json_text import parse_json, read_json
from uel.core.outside.weight_files import read_weights
from uel.core.outside.xml_text import parse_xml
from uel.core.outside.yaml_text import parse_yaml
from uel.core.tables.small_tables import read_table
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement import report_io

# ---- JSON, YAML, XML ------------------------------------------------------------------------------------

MANY_NAMES = "{" + ",".join(f'"name{number}":{number}' for number in range(75_000)) + "}"
JSON_FAULTS = {
    "200 000 brackets": ("[" * 200_000, "nested too deeply"),
    "200 000 closed brackets": ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
    "900 objects in one another": ('{"a":' * 900 + "1" + "}" * 900, "nested too deeply"),
    "65 levels": ("[" * 65 + "]" * 65, "nested too deeply"),
    "a name twice": ('{"size": 1, "size": 2}', "given twice"),
    "a name twice, deep": ('{"a": [{"b": {"c": 1, "c": 1}}]}', "given twice"),
    "a name twice among 75 000": (MANY_NAMES[:-1] + ',"name7":1}', "given twice"),
    "NaN": ("[NaN]", "not finite"),
    "Infinity": ('{"a": Infinity}', "not finite"),
    "-Infinity": ("-Infinity", "not finite"),
    "1e999": ("[1e999]", "too large"),
    "1e308": ('{"a": 1e308}', "too large"),
    "1E+400": ("[1E+400]", "too large"),
    "5000 digits": ("[" + "7" * 5000 + "]", "too large"),
    "10^400 as digits": ("1" + "0" * 400, "too large"),
    "half a surrogate pair": ('["\\ud800"]', "half a character"),
    "half a pair as a name": ('{"\\udc00": 1}', "half a character"),
    "text that never ends": ('["' + '\\"' * 100_000, "no JSON"),
    "cut off": ('{"a": [1, 2', "no JSON"),
    "nothing": ("", "no JSON"),
    "two values": ("1 2", "no JSON"),
    "a comment": ("{} // x", "no JSON"),
    "single quotes": ("{'a': 1}", "no JSON"),
    "a control letter": ('["\n"]', "no JSON"),
}


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_json_is_refused(name: str) -> None:
    text, pattern = JSON_FAULTS[name]
    message = refusal(lambda: parse_json(text, "tile.json"), pattern)
    assert "tile.json" in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "text",
    [MANY_NAMES, "[" * 64 + "]" * 64, '["e999 [[[[ {{{"]', '"\\\\ud800"', '["\\ud83d\\ude00"]', "[1e299, 1e-400]"],
)
def test_json_that_is_sound_is_read(text: str) -> None:
    assert parse_json(text, "x") == json.loads(text)


@pytest.mark.parametrize("content", [b"\xff\xfe{\0}\0", b"{\xe9}", b"\0" * 64])
def test_files_of_ours_are_in_utf_8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    refusal(lambda: read_json(tmp_path / "a.json"))


def test_a_file_of_ours_is_bounded_in_size(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no room
    refusal(lambda: read_json(tmp_path / "a.json"), "too large")


def test_report_json_is_linear_in_its_names() -> None:
    content = MANY_NAMES.encode()[: report_io.MAX_BYTES]
    refusal(lambda: report_io.from_json(content, 4))
    refusal(lambda: report_io.from_json(MANY_NAMES[:900_000].rpartition(",")[0].encode() + b"}", 4), "known are")


ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8)
)
YAML_FAULTS = {
    "alias bomb": (ALIASES, "too large"),
    "an alias of itself": ("a: &a [*a]", "too large"),
    "10 000 brackets": ("a: " + "[" * 10_000, "nested too deeply"),
    "10 000 levels of lists": ("- " * 10_000, "nested too deeply"),
    "a name twice": ("seed: 1\nseed: 2\n", "given twice"),
    "a name twice, deep": ("a:\n  b: 1\n  b: 2\n", "given twice"),
    "Python's objects": ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "a tab": ("a:\n\t- 1", "not valid YAML"),
    "a quote that never closes": ("a: 'x", "not valid YAML"),
    "a control letter": ("a: \x07", "not valid YAML"),
    "an unknown alias": ("a: *b", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
}


@pytest.mark.parametrize("name", YAML_FAULTS)
def test_yaml_is_refused(name: str) -> None:
    text, pattern = YAML_FAULTS[name]
    refusal(lambda: parse_yaml(text, "config.yaml"), pattern)


@pytest.mark.parametrize(
    "content", ["a: é".encode("latin-1"), "seed: 1".encode("utf-16"), b"\0\0\0", b"a: 1\n" * 60_000]
)
def test_a_config_of_another_encoding_or_size_is_refused(tmp_path: Path, content: bytes) -> None:
    from sim_bridge.commands.config import SurveyConfig
    from uel.config import load

    (tmp_path / "a.yaml").write_bytes(content)
    refusal(lambda: load(SurveyConfig, "survey", ["tile", "--config", str(tmp_path / "a.yaml")]))


XML_FAULTS = {
    "a document type": (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "document type"),
    "the same in UTF-16": ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>".encode("utf-16"), "document type"),
    "10 000 elements in one another": (b"<a>" * 10_000, "nested too deeply"),
    "cut off": (b"<a><b>", "no XML"),
    "nothing": (b"", "no XML"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><a/>', "no XML"),
}


@pytest.mark.parametrize("name", XML_FAULTS)
def test_xml_is_refused(name: str) -> None:
    content, pattern = XML_FAULTS[name]
    refusal(lambda: parse_xml(content, "scene.xml"), pattern)


# ---- packed files ---------------------------------------------------------------------------------------

UNPACKED_SIZE = 80 << 20  # bytes of what the bombs hold


@cache
def bomb() -> bytes:
    """80 MB in 80 kB."""
    return gzip_bomb(UNPACKED_SIZE)


PACKED_FAULTS: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "gzip bomb": (bomb, "unpacks to too much"),
    "bzip2 bomb": (lambda: bz2.compress(b"0" * UNPACKED_SIZE), "unpacks to too much"),
    "xz bomb": (lambda: lzma.compress(b"0" * UNPACKED_SIZE, preset=0), "unpacks to too much"),
    "gzip with a flipped byte": (flipped(gzipped("x,y\n" * 999), 40, 3), "cannot be read"),
    "gzip that was cut": (gzipped("x,y\n" * 999)[:-9], "cannot be read"),
    "gzip's first bytes": (b"\x1f\x8b\x08", "cannot be read"),
    "bzip2 that is none": (b"BZh9" + b"\0" * 40, "cannot be read"),
    "xz that was cut": (lzma.compress(b"x,y\n" * 999)[:-20], "cannot be read"),
}


@pytest.mark.parametrize("name", PACKED_FAULTS)
def test_packed_bytes_are_refused(name: str, tmp_path: Path) -> None:
    content, pattern = PACKED_FAULTS[name]
    (tmp_path / "a").write_bytes(content() if callable(content) else content)
    refusal(lambda: read_unpacked(tmp_path / "a"), pattern)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "map file": ("a.osm.gz", read_map_file),
    "GeoJSON": ("a.geojson.gz", read_map_file),
    "list of cells": ("a.csv.gz", read_rows),
    "table of a measured network": ("a.csv.gz", lambda file: read_table(file, {})),
}


@pytest.mark.parametrize("damage", ["bomb", "flipped", "cut", "missing"])
@pytest.mark.parametrize("name", READERS)
def test_every_reader_of_packed_files_refuses(name: str, damage: str, tmp_path: Path) -> None:
    suffix, read = READERS[name]
    sound = gzipped("<osm>" + "x,y\n" * 999)
    contents = {"bomb": bomb(), "flipped": flipped(sound, len(sound) // 2, 2), "cut": sound[:-9]}
    if damage in contents:
        (tmp_path / suffix).write_bytes(contents[damage])
    refusal(lambda: read(tmp_path / suffix))


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    return log_tile(tmp_path_factory.mktemp("outside") / "tile")


HEADER = "time,latitude,longitude,earfcn,pci,rsrp"
LOG_FAULTS: dict[str, tuple[str, bytes | Callable[[], bytes]]] = {
    "gzip bomb": ("a.csv.gz", bomb),
    "flipped byte": ("a.csv.gz", flipped(gzipped(f"{HEADER}\n0,48.0,9.0,1300,101,-80\n" * 99), 60, 5)),
    "cut gzip": ("a.csv.gz", gzipped(f"{HEADER}\n" * 99)[:-9]),
    "a level twice": ("a.csv", f"{HEADER},rsrp\n0,48.0,9.0,1300,101,-80,-90\n".encode()),
    "a latitude twice": ("a.csv", f"{HEADER},latitude\n0,48.0,9.0,1300,101,-80,48.1\n".encode()),
    "200 000 brackets": ("a.json", b"[" * 200_000),
    "deep lines": ("a.json", (b'{"a":' * 999 + b"1" + b"}" * 999 + b"\n") * 3),
    "a workbook": ("a.csv", b"PK\x03\x04" + b"\0" * 99),
}


@pytest.mark.parametrize("name", LOG_FAULTS)
def test_a_log_is_refused(name: str, tile: Tile, tmp_path: Path) -> None:
    file, content = LOG_FAULTS[name]
    (tmp_path / file).write_bytes(content() if callable(content) else content)
    refusal(lambda: parts_to_locate(tile, tmp_path / file))


@pytest.mark.parametrize("content", ["x,y,x\n1,2,3\n", "a,\n1,2\n", "x , x\n1,2\n"])
def test_a_column_twice_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    if content.startswith("a,"):  # a name that is missing is none twice
        assert len(read_table(tmp_path / "a.csv", {}).columns) == 2
        return
    refusal(lambda: read_table(tmp_path / "a.csv", {}), "named twice")


def test_an_ordinary_file_is_read_whatever_its_ratio(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip_bomb(1 << 24))
    with open_unpacked(tmp_path / "a.gz") as stream:
        assert sum(len(part) for part in iter(lambda: stream.read(1 << 20), b"")) == 1 << 24


# ---- arrays and weights ---------------------------------------------------------------------------------


def npz(**entries: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in entries.items():
            archive.writestr(f"{name}.npy", value)
    return content.getvalue()


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def whole_npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.arange(500.0), b=np.zeros((3, 4), np.float32))
    return content.getvalue()


ARRAY_FAULTS: dict[str, bytes | Callable[[], bytes]] = {
    "a shape of 10^12": npz(a=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**6, 10**6), }")),
    "a shape of 80 TB": npz(a=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }")),
    "a negative shape": npz(a=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"12345678")),
    "Python's objects": npz(a=npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n.")),
    "no header": npz(a=b"abc"),
    "a bomb": lambda: npz(a=b"\0" * UNPACKED_SIZE),
    "one entry twice": npz(a=b"") + b"",
    "cut": whole_npz()[:-30],
    "no archive": b"PK",
    "nothing": b"",
    **{f"bit flipped at {at}": flipped(whole_npz(), at, 4) for at in (70, 300, 1500, 3900)},
}


@pytest.mark.parametrize("name", ARRAY_FAULTS)
def test_arrays_are_refused(name: str, tmp_path: Path) -> None:
    content = ARRAY_FAULTS[name]
    (tmp_path / "a.npz").write_bytes(content() if callable(content) else content)
    refusal(lambda: read_arrays(tmp_path / "a.npz"), "archive|array")


def test_arrays_come_back(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(whole_npz())
    assert read_arrays(tmp_path / "a.npz")["a"].sum() == 500 * 499 / 2


def test_every_flipped_bit_in_weights_is_noticed(tmp_path: Path) -> None:
    """`torch.load` does not compare the CRC-32 that `torch.save` writes: a bit in the weights was a silent answer."""
    file = tmp_path / "a.pt"
    weights = torch.randn(2000)
    torch.save({"state": {"w": weights}}, file)
    whole = file.read_bytes()
    first = whole.index(weights.numpy().tobytes())
    assert read_weights(file)["state"]["w"].shape == (2000,)
    for position in np.random.default_rng(0).integers(first, first + 8000, 12).tolist():
        file.write_bytes(flipped(whole, position, position % 8))
        with pytest.raises(UelError, match="weights is damaged"):
            read_weights(file)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}q\0.", b"cos\nsystem\n(S'true'\ntR."])
def test_weights_that_are_none_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    refusal(lambda: read_weights(tmp_path / "a.pt"), "weights is damaged")


def test_packed_weights_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * (1 << 24))
    refusal(lambda: read_weights(tmp_path / "a.pt"), "compressed")


def test_every_flipped_bit_in_a_checked_file_is_noticed(tmp_path: Path) -> None:
    """Every bit of a small file: an error, or the same values."""
    file, values = tmp_path / "a.json", {"size": 512.0, "name": "paris", "files": ["a", "b"]}
    whole = json_with_checksum(values)
    for position in range(len(whole)):
        for bit in range(8):
            file.write_bytes(flipped(whole, position, bit))
            try:
                read = read_checked_json(file)
            except UelError:
                continue
            read.pop(next((name for name in read if name not in values), ""), None)  # the checksum's own name
            assert read == values, (position, bit)
