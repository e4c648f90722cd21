"""Surveys on disk: what goes in comes out, byte for byte repeatable, and damage is noticed."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import zarr

from tests.small import CORNERS, masts
from uel.errors import UelError
from uel.measurement import MeasurementModel
from uel.reports import Truth
from uel.simulator import FreeSpace
from uel.survey import SCHEMA, UNITS, Survey

TRACKS, REPORTS, CELLS = 300, 2, 3  # more tracks than a chunk holds


def survey(seed: int = 0) -> Survey:
    world = FreeSpace(masts(*CORNERS[:CELLS]), size=256.0)
    generator = torch.Generator().manual_seed(seed)
    position = (torch.rand(TRACKS * REPORTS, 2, generator=generator) - 0.5) * 256
    flat = world.paths(position)
    truth = Truth(**{f.name: getattr(flat, f.name).unflatten(0, (TRACKS, REPORTS)) for f in fields(Truth)})
    time = (torch.arange(REPORTS) * 0.5).expand(TRACKS, -1).clone()
    return Survey(truth, time, world.sites, {"seed": seed, "tile": "nowhere"})


def folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def chunks(folder: Path, array: str) -> list[Path]:
    return sorted(p for p in (folder / array / "c").rglob("*") if p.is_file())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    survey().save(tmp_path / "survey")
    return tmp_path / "survey"


def test_round_trip(saved: Path) -> None:
    back, first = Survey.open(saved), survey()
    for f in fields(Truth):
        got, want = getattr(back.truth, f.name), getattr(first.truth, f.name)
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
    assert torch.equal(back.time, first.time)
    assert back.sites == first.sites
    assert back.meta == first.meta


def test_arrays_name_their_axes_and_units(saved: Path) -> None:
    group = zarr.open_group(saved, mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["schema"] == SCHEMA
    axes = {name: array.metadata.dimension_names for name, array in group.arrays()}
    assert axes["position"] == ("track", "report", "xy")
    assert axes["time"] == ("track", "report")
    assert all(
        axes[name] == ("track", "report", "cell") for name in ("gain_db", "known", "delay", "azimuth_deg", "los")
    )
    assert {name: array.attrs["units"] for name, array in group.arrays()} == {n: UNITS.get(n, "1") for n in axes}


def test_same_seed_same_bytes(saved: Path, tmp_path: Path) -> None:
    survey().save(tmp_path / "again")
    survey(seed=1).save(tmp_path / "other")
    assert folder_hash(saved) == folder_hash(tmp_path / "again")
    assert folder_hash(saved) != folder_hash(tmp_path / "other")


def test_saving_replaces_and_leaves_nothing_aside(saved: Path) -> None:
    survey(seed=1).save(saved)
    assert Survey.open(saved).meta["seed"] == 1
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_realism_is_applied_on_read_by_seed(saved: Path) -> None:
    opened, model = Survey.open(saved), MeasurementModel()
    first, again, other = (opened.observe(model, seed) for seed in (1, 1, 2))
    assert first.rsrp_dbm.shape == (TRACKS, REPORTS, CELLS)
    assert torch.equal(first.rsrp_dbm, again.rsrp_dbm)
    assert not torch.equal(first.rsrp_dbm, other.rsrp_dbm)


def test_traced_delays_get_no_second_excess() -> None:
    """A blocked path's delay is the traced one: the model's own excess would count it twice."""
    clear = survey()
    blocked = replace(clear, truth=replace(clear.truth, los=torch.zeros_like(clear.truth.los)))
    quiet = MeasurementModel(nlos_excess=500.0)
    assert torch.equal(blocked.observe(quiet, 0).timing_advance, clear.observe(quiet, 0).timing_advance)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UelError, match=r"no readable survey[\s\S]*do:"):
        Survey.open(tmp_path / "nothing")


def test_a_file_or_an_array_is_no_survey(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    zarr.create_array(tmp_path / "array", shape=(3,), dtype="f4")
    for name in ("file", "array"):
        with pytest.raises(UelError):
            Survey.open(tmp_path / name)


def test_foreign_zarr_and_other_schema(saved: Path, tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "foreign", mode="w").attrs["title"] = "weather"
    with pytest.raises(UelError, match=r"not a survey[\s\S]*None"):
        Survey.open(tmp_path / "foreign")
    zarr.open_group(saved, mode="r+").attrs["schema"] = "uel-survey-0"
    with pytest.raises(UelError, match="uel-survey-0"):
        Survey.open(saved)


def test_damaged_metadata(saved: Path) -> None:
    (saved / "zarr.json").write_text("{ not json")
    with pytest.raises(UelError):
        Survey.open(saved)


def test_missing_array(saved: Path) -> None:
    for path in sorted((saved / "delay").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (saved / "delay").rmdir()
    with pytest.raises(UelError, match="damaged"):
        Survey.open(saved)


@pytest.mark.parametrize("array", ["gain_db", "los", "time"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_chunk(saved: Path, array: str, damage: str) -> None:
    chunk = chunks(saved, array)[0]
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0x10
    if damage == "gone":
        chunk.unlink()
    else:
        chunk.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    with pytest.raises(UelError, match="damaged"):
        Survey.open(saved)
