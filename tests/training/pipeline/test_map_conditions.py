"""Maps under every condition, by the ray tracer on a square of four houses: what differs, and what must not."""

from pathlib import Path

import pytest
import torch

from tests.helpers.four_houses import tile  # noqa: F401  (a fixture)
from training.cache import StageCache
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig
from training.pipeline.map_conditions import assumed_deployment, map_factory, maps_for_condition
from uel.adaptation.mast_heights import with_height_offsets
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.radio.sites import Site, cells_of
from uel.radio.tracing_config import TracingConfig

TRACING = TracingConfig(max_depth=1, map_rays=40_000, map_batches=4, samples=1000, chunk=4, diffraction=False)
PLAN = MapConditionConfig(pixel=4.0, tracing=TRACING, few_rays=4000)
SITES = (Site(position=(4.0, 4.0, 18.0)), Site(position=(-16.0, 16.0, 22.0)))


def maps(condition: str, tile: Tile, stages: StageCache) -> TileMaps:  # noqa: F811
    return maps_for_condition(condition, tile, SITES, PLAN, stages, seed=1)


@pytest.mark.slow
def test_each_condition_is_wrong_in_its_own_way(tile: Tile, tmp_path: Path) -> None:  # noqa: F811
    stages = StageCache(tmp_path / "data")
    found = {condition: maps(condition, tile, stages) for condition in MAP_CONDITIONS}
    exact = found["exact"]
    both = found["few_rays"].radio.known & exact.radio.known
    noise = (to_db(found["few_rays"].radio.gain[both]) - to_db(exact.radio.gain[both])).abs().mean()
    assert 0.1 < float(noise) < 10
    assert float(found["few_rays"].radio.relative_error[both].mean()) > float(exact.radio.relative_error[both].mean())
    for same in ("exact", "few_rays", "wrong_materials", "wrong_sites", "no_radio_map"):
        assert torch.equal(found[same].prior, exact.prior)
    assert not torch.equal(found["wrong_buildings"].buildings[0], exact.buildings[0])
    assert not torch.equal(found["wrong_materials"].buildings[2:], exact.buildings[2:])
    assert torch.equal(found["wrong_materials"].buildings[:2], exact.buildings[:2])
    height = [site.position[2] for site in found["wrong_sites"].radio.sites]
    assert height != [site.position[2] for site in SITES]
    assert [s.position[:2] for s in found["wrong_sites"].radio.sites] == [s.position[:2] for s in SITES]
    assert not found["no_radio_map"].radio.known.any()
    assert found["no_radio_map"].radio.sites == SITES
    for condition, given in found.items():
        there, its = assumed_deployment(condition, tile, SITES, PLAN, stages, seed=1)
        assert its == given.radio.sites
        assert torch.equal(TileMaps.from_tile(there, given.radio).buildings, given.buildings)
    torch.testing.assert_close(found["no_radio_map"].radio.elevation, exact.radio.elevation)


@pytest.mark.slow
def test_a_map_is_traced_once(tile: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    stages = StageCache(tmp_path / "data")
    first = maps("wrong_sites", tile, stages)
    monkeypatch.setattr("training.pipeline.scene_pipeline.open_simulator", None)
    again = maps("wrong_sites", tile, stages)
    assert torch.equal(first.radio.gain, again.radio.gain)


@pytest.mark.slow
def test_maps_are_traced_anew_on_the_place_that_is_believed(tile: Tile, tmp_path: Path) -> None:  # noqa: F811
    stages = StageCache(tmp_path / "data")
    exact = maps("exact", tile, stages)
    believed = maps("wrong_sites", tile, stages).radio.sites
    masts = map_factory("wrong_sites", tile, SITES, PLAN, stages, seed=1)
    assert masts.min_mast_z == pytest.approx([tile.min_mast_z(4.0, 4.0), tile.min_mast_z(-16.0, 16.0)])
    up = [right.position[2] - wrong.position[2] for right, wrong in zip(SITES, believed, strict=True)]
    again = masts.trace(with_height_offsets(believed, up), 1.0)
    assert [cell.azimuth_deg for _, cell in cells_of(again.sites)] == [c.azimuth_deg for _, c in cells_of(believed)]
    assert not torch.equal(again.gain, exact.radio.gain)  # rays of its own
    assert torch.equal(again.los, exact.radio.los)
    assert not torch.equal(masts.trace(believed, 1.0).los, exact.radio.los)
    wrong = maps("wrong_buildings", tile, stages).radio
    twin = map_factory("wrong_buildings", tile, SITES, PLAN, stages, seed=1).trace(wrong.sites, 0.1)
    assert torch.equal(twin.los, wrong.los)
    assert not torch.equal(twin.los, exact.radio.los)
    with pytest.raises(UelError, match="exact to wrong_sites"):
        map_factory("no_radio_map", tile, SITES, PLAN, stages, seed=1)


def test_unknown_conditions_and_impossible_plans_are_refused(tile: Tile, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UelError, match="exact, few_rays"):
        maps("M9", tile, StageCache(tmp_path))
    with pytest.raises(UelError, match="few_rays must lie"):
        MapConditionConfig(few_rays=10**9)
    with pytest.raises(UelError):
        MapConditionConfig(heights=1.5)
