"""Artefacts that do not belong together, or that lost a part: each is refused with its folder and a remedy."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scenes.tiles.writer import write_sites
from tests.helpers.surveys import made
from tests.helpers.toy_city import SITES, SIZE, toy_tile
from training.locator.datamodule import deployment_of_tile
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import draw_tracks
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site
from uel.survey.dataset import Survey, TileSurvey


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tile, Tile]:
    """Two towns of the same size."""
    folder = tmp_path_factory.mktemp("tiles")
    return toy_tile(folder / "here", "here"), toy_tile(folder / "there", "there")


def free_space_map(tile: Tile, sites: tuple[Site, ...] = SITES, pixel: float = 8.0) -> RadioMap:
    """A map that names its tile, as those of every simulator do that was opened on a tile."""
    return FreeSpace(sites, size=tile.size, made_on=tile.reference).radio_map(tile.grid(pixel))


# ---- artefacts of two tiles ----------------------------------------------------------------------------

Pair = tuple[Tile, RadioMap]


def open_deployment(pair: Pair, folder: Path) -> None:
    radio_map_io.save(pair[1], folder)
    Deployment.open(pair[0].folder, folder)


def survey_of(tile: Tile, made_on: Tile) -> TileSurvey:
    drawn = draw_tracks(tile, SITES, TrackConfig(tracks=2, reports=2), seed=3)
    flat = FreeSpace(SITES, size=SIZE).paths(drawn.position.reshape(-1, 2))
    truth = type(flat)(**{name: value.reshape(2, 2, *value.shape[1:]) for name, value in vars(flat).items()})
    return TileSurvey(truth, drawn.time, drawn.valid, drawn.velocity, SITES, made_on.reference)


MEETINGS: dict[str, Callable[[Pair, Path], Any]] = {
    "Deployment.open": open_deployment,
    "TileMaps.from_tile": lambda pair, folder: TileMaps.from_tile(*pair),
    "Deployment": lambda pair, folder: Deployment(
        pair[0], TileMaps(pair[1], torch.zeros(8, 32, 32), torch.ones(32, 32))
    ),
    "tracks that keep to coverage": lambda pair, folder: draw_tracks(
        pair[0], SITES, TrackConfig(tracks=2, coverage_dbm=-110.0), 0, radio=pair[1]
    ),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_a_radio_map_of_another_tile_is_refused(meeting: str, tiles: tuple[Tile, Tile], tmp_path: Path) -> None:
    here, there = tiles
    MEETINGS[meeting]((here, free_space_map(here)), tmp_path)
    with pytest.raises(UelError, match=r"of another tile[\s\S]*made on there[\s\S]*used with here[\s\S]*uel map"):
        MEETINGS[meeting]((here, free_space_map(there)), tmp_path)


def test_a_survey_of_another_tile_or_of_other_sites_is_refused(tiles: tuple[Tile, Tile]) -> None:
    here, there = tiles
    maps = TileMaps.from_tile(here, free_space_map(here))
    assert Deployment(here, maps, survey_of(here, here)).survey is not None
    with pytest.raises(UelError, match=r"this survey is of another tile[\s\S]*uel survey"):
        Deployment(here, maps, survey_of(here, there))
    with pytest.raises(UelError, match="other sites than the radio map"):
        Deployment(here, maps, replace(survey_of(here, here), sites=SITES[:2]))


def test_a_tile_whose_sites_changed_is_another_tile(tiles: tuple[Tile, Tile], tmp_path: Path) -> None:
    """The fingerprint covers the sites: a map of the former network is refused, and the message says why."""
    folder = tmp_path / "moved"
    shutil.copytree(tiles[0].folder, folder)
    before = free_space_map(Tile.open(folder))
    write_sites(Tile.open(folder), SITES)
    with pytest.raises(UelError, match="the tile or its sites changed since"):
        TileMaps.from_tile(Tile.open(folder), before)


def test_training_on_a_survey_of_the_former_tile_is_refused(tmp_path: Path) -> None:
    survey = made(tmp_path / "survey")
    tile = Tile.open(tmp_path / "tiles" / "toy")
    (tile.folder / "tile.json").write_text((tile.folder / "tile.json").read_text() + "\n")
    changed = Tile.open(tile.folder)
    with pytest.raises(UelError, match=r"survey \([\s\S]*of another tile[\s\S]*uel survey"):
        deployment_of_tile([Deployment(changed, TileMaps.from_tile(changed, free_space_map(changed)))], survey)


@pytest.mark.parametrize(
    ("sites", "size", "ground", "expected"),
    [
        (tuple(Site(position=(-120.0, -110.0, 5.0)) for _ in range(2)), SIZE, 0.0, "names no tile[\\s\\S]*wall"),
        (tuple(Site(position=(10.0, 10.0, -5.0)) for _ in range(2)), SIZE, 0.0, "names no tile"),
        (SITES, SIZE, 400.0, "phones at 40. to 40. m above the ground"),
        (SITES, 2 * SIZE, 0.0, "of another tile[\\s\\S]*512 m"),
    ],
    ids=["masts in walls", "masts in the ground", "a town on a mountain", "a larger town"],
)
def test_a_map_that_names_no_tile_must_fit_the_tile(
    sites: tuple[Site, ...], size: float, ground: float, expected: str, tiles: tuple[Tile, Tile], tmp_path: Path
) -> None:
    raised = FreeSpace(sites, size=size, ground=lambda position: position[..., 0] * 0 + ground)
    radio_map_io.save(raised.radio_map(replace(tiles[0].grid(8.0), size=size)), tmp_path)
    with pytest.raises(UelError, match=expected):
        Deployment.open(tiles[0].folder, tmp_path)


# ---- radio maps that lost a part -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    radio_map_io.save(FreeSpace(SITES[:2], size=64.0 * 4).radio_map(radio_map_io.Grid(size=256.0, pixel=16.0)), folder)
    return folder


def chunk(root: Path, array: str = "gain", cell: int = 0) -> Path:
    return sorted(p for p in (root / "radiomap.zarr" / array / "c").rglob("*") if p.is_file())[cell]


def edit(name: str, change: Callable[[dict], Any]) -> Callable[[Path], None]:
    """Change a `zarr.json`."""

    def damage(root: Path) -> None:
        file = root / "radiomap.zarr" / name / "zarr.json"
        stored = json.loads(file.read_text())
        change(stored)
        file.write_text(json.dumps(stored))

    return damage


def swap_cells(root: Path) -> None:
    one, other = chunk(root, cell=0), chunk(root, cell=1)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def flip_bit(root: Path) -> None:
    content = bytearray(chunk(root).read_bytes())
    content[len(content) // 2] ^= 4
    chunk(root).write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a chunk is missing": lambda root: chunk(root).unlink(),
    "a chunk is empty": lambda root: chunk(root).write_bytes(b""),
    "a chunk is cut off": lambda root: chunk(root).write_bytes(chunk(root).read_bytes()[:-7]),
    "a bit is flipped": flip_bit,
    "a chunk is a pointer": lambda root: chunk(root).write_text("version https://git-lfs.github.com/spec/v1\n"),
    "two cells are swapped": swap_cells,
    "a chunk of the channels is missing": lambda root: chunk(root, "arrival").unlink(),
    "a chunk of the elevation is missing": lambda root: chunk(root, "elevation").unlink(),
    "an array is missing": lambda root: shutil.rmtree(root / "radiomap.zarr" / "known"),
    "an array has no metadata": lambda root: (root / "radiomap.zarr/gain/zarr.json").unlink(),
    "one of the channels is missing": lambda root: shutil.rmtree(root / "radiomap.zarr" / "sight"),
    "half of the metadata": lambda root: (root / "radiomap.zarr/zarr.json").write_bytes(
        (root / "radiomap.zarr/zarr.json").read_bytes()[:200]
    ),
    "no metadata": lambda root: (root / "radiomap.zarr/zarr.json").unlink(),
    "no sites": edit("", lambda m: m["attributes"].update(sites=[])),
    "a site too few": edit("", lambda m: m["attributes"]["sites"].pop()),
    "a site too many": edit("", lambda m: m["attributes"]["sites"].append(m["attributes"]["sites"][0])),
    "sites that are none": edit("", lambda m: m["attributes"].update(sites="two")),
    "a site without a place": edit("", lambda m: m["attributes"]["sites"][0].update(position=[float("nan"), 0.0, 9.0])),
    "smaller pixels": edit("", lambda m: m["attributes"].update(pixel=8.0)),
    "another size": edit("", lambda m: m["attributes"].update(size=512.0)),
    "no size": edit("", lambda m: m["attributes"].pop("size")),
    "pixels that do not divide": edit("", lambda m: m["attributes"].update(pixel=7.0)),
    "another schema": edit("", lambda m: m["attributes"].update(schema="uel-radiomap-1")),
    "a doubled shape": edit("gain", lambda m: m["shape"].__setitem__(0, 4)),
    "a halved shape": edit("gain", lambda m: m["shape"].__setitem__(0, 1)),
    "bytes read as integers": edit("gain", lambda m: m.update(data_type="int32", fill_value=0)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_radio_map_is_refused(name: str, whole_map: Path, tmp_path: Path) -> None:
    folder = tmp_path / "map"
    shutil.copytree(whole_map, folder)
    assert radio_map_io.load(folder).known.all()
    DAMAGES[name](folder)
    with pytest.raises(UelError) as refused:
        radio_map_io.load(folder)
    assert str(folder) in str(refused.value)
    assert "do:" in str(refused.value)


VALUES = {
    "gain that is no number": (
        "gain",
        float("nan"),
        "'gain' are not 0 to 1, the first is nan at cell 1, row 2, column 3",
    ),
    "gain without end": ("gain", float("inf"), "'gain' are not 0 to 1"),
    "gain below 0": ("gain", -1e-9, "'gain' are not 0 to 1"),
    "gain in decibels": ("gain", 80.0, "'gain' are not 0 to 1"),
    "known without gain": ("gain", 0.0, "1 pixels are known and have a gain of 0"),
    "error without end": ("relative_error", float("inf"), "'relative_error' are not finite and at least 0"),
    "negative error": ("relative_error", -0.5, "'relative_error'"),
    "elevation that is no number": ("elevation", float("nan"), "'elevation' are not finite"),
    "arrival before it left": ("first_arrival", -1e-6, "'first_arrival'"),
    "spread that is no number": ("delay_spread", float("nan"), "'delay_spread'"),
    "direction that is no number": ("arrival", float("nan"), "'arrival' are not finite"),
    "more than all in sight": ("sight", 1.5, "'sight' are not 0 to 1"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_radio_map_of_impossible_values_is_refused(name: str, whole_map: Path, tmp_path: Path) -> None:
    field, value, expected = VALUES[name]
    radio = radio_map_io.load(whole_map)
    assert radio.channels is not None
    of_map = hasattr(radio, field)
    values = getattr(radio if of_map else radio.channels, field).clone()
    values[(..., 2, 3) if values.ndim < 3 else (1, ..., 2, 3)] = value
    changed = (
        replace(radio, **{field: values})
        if of_map
        else replace(radio, channels=replace(radio.channels, **{field: values}))
    )
    radio_map_io.save(changed, tmp_path)
    with pytest.raises(UelError, match=expected):
        radio_map_io.load(tmp_path)


# ---- tiles and surveys that lost a part ----------------------------------------------------------------


def chunk_of_raster(root: Path, name: str) -> Path:
    return next(path for path in (root / "rasters.zarr" / name / "c").rglob("*") if path.is_file())


TILE_DAMAGES: dict[str, Callable[[Path, Path], Any]] = {
    "a chunk is missing": lambda root, other: chunk_of_raster(root, "height").unlink(),
    "an array is missing": lambda root, other: shutil.rmtree(root / "rasters.zarr" / "ground"),
    "a chunk is empty": lambda root, other: chunk_of_raster(root, "footprint").write_bytes(b""),
    "rasters of another tile": lambda root, other: (
        shutil.rmtree(root / "rasters.zarr"),
        shutil.copytree(other / "rasters.zarr", root / "rasters.zarr"),
    ),
    "tile.json without hashes": lambda root, other: (root / "tile.json").write_text(
        json.dumps({**json.loads((root / "tile.json").read_text()), "files": None})
    ),
}


@pytest.mark.parametrize("name", TILE_DAMAGES)
def test_a_tile_of_damaged_rasters_is_refused(name: str, tiles: tuple[Tile, Tile], tmp_path: Path) -> None:
    folder, other = tmp_path / "tile", tmp_path / "other"
    shutil.copytree(tiles[0].folder, folder)
    rough = toy_tile(other, "rough")
    (rough.folder / "rasters.zarr" / "ground" / "zarr.json").write_text("{}")
    TILE_DAMAGES[name](folder, other)
    with pytest.raises(UelError, match=r"this tile is damaged[\s\S]*build it again"):
        Tile.open(folder).rasters  # noqa: B018


def test_a_survey_of_damaged_shards_is_refused(tmp_path: Path) -> None:
    """Missing, cut off, and replaced by a shorter one: Zarr would read the first as zeros."""
    made(tmp_path / "survey")
    shard = next(p for p in sorted((tmp_path / "survey/toy.zarr/gain_db/c").rglob("*")) if p.is_file())
    whole = shard.read_bytes()
    for damage in (shard.unlink, lambda: shard.write_bytes(whole[:-9]), lambda: shard.write_bytes(b"")):
        damage()
        with pytest.raises(UelError, match=r"this survey is damaged[\s\S]*gain_db[\s\S]*uel survey --verify"):
            Survey.open(tmp_path / "survey")["toy"]
        shard.write_bytes(whole)
    meta = tmp_path / "survey/toy.zarr/gain_db/zarr.json"
    stored = json.loads(meta.read_text())
    meta.write_text(json.dumps({**stored, "shape": [stored["shape"][0] * 2, *stored["shape"][1:]]}))
    with pytest.raises(UelError, match=r"this survey is damaged[\s\S]*shape"):
        Survey.open(tmp_path / "survey")["toy"]
