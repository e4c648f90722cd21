"""The atlas against the full search that it stands for, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sim_bridge.backend import sionna_internals
from sim_bridge.chains.atlas import Atlas, geometry_key
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.engines.config import EngineConfig
from sim_bridge.paths import solver
from sim_bridge.paths.path_set import PathSet
from sim_bridge.simulator import Sionna
from tests.helpers.ray_traced_scenes import bundled, gradient, mast
from uel.core.grid import Grid
from uel.errors import UelError
from uel.radio.sites import Cell, Site

SITES = mast((-30.0, 2.0, 12.0)) + mast((30.0, -4.0, 9.0))
GRID, PLAN = Grid(size=128.0, pixel=4.0), AtlasConfig(pixel=4.0, rays=100_000, depth=2)


def canyon(sites: tuple[Site, ...] = SITES, **tracing: object) -> Sionna:
    return bundled("simple_street_canyon", sites, **{"samples": 20_000, "chunk": 32, "max_depth": 2, **tracing})


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return canyon().build_atlas(PLAN, GRID)


@pytest.fixture(scope="module")
def fast(atlas: Atlas) -> Sionna:
    sim = canyon()
    sim.attach_atlas(atlas)
    return sim


def street(count: int, seed: int = 0) -> torch.Tensor:
    """Places in the street and behind its houses, at UE height."""
    flat = (torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 0.5) * torch.tensor([110.0, 60.0])
    return torch.cat([flat, torch.full((count, 1), 1.5)], 1)


def test_it_finds_what_the_search_finds(fast: Sionna) -> None:
    found, full = (sim.path_gain(street(96)) for sim in (fast, canyon()))
    both = (found > 0) & (full > 0)
    assert int(((full > 0) & (found == 0)).sum()) <= 0.01 * int((full > 0).sum())
    assert float((10 * torch.log10(found[both] / full[both])).abs().median()) < 0.01
    assert float(found.sum() / full.sum()) > 0.98


def test_a_scene_is_the_same_however_often_it_is_opened(atlas: Atlas) -> None:
    """Mitsuba merges the meshes of a material and lists what comes of it in another order each time."""
    position, opened = street(32), [canyon() for _ in range(8)]
    assert {geometry_key(sim.facets.corner) for sim in opened} == {atlas.meta["walls"]}
    searched = [sim.trace(position) for sim in opened]
    for sim in opened:
        sim.attach_atlas(atlas)
    for found in (searched, [sim.trace(position) for sim in opened]):
        assert all(torch.equal(other.power, found[0].power) for other in found)
        assert all(torch.equal(other.interactions, found[0].interactions) for other in found)


def test_its_gradients_are_those_of_the_search(fast: Sionna) -> None:
    position = street(32, seed=1)
    same = (fast.trace(position).gain() / canyon().trace(position).gain() - 1).abs().amax(1) < 1e-4
    assert int(same.sum()) > 10

    def log(sim):
        return lambda p: sim.path_gain(p).clamp(min=1e-20).log()[same]

    ours, theirs = gradient(log(fast), position)[same], gradient(log(canyon()), position)[same]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_blocked_line_of_sight_is_not_there(fast: Sionna) -> None:
    position = street(64, seed=2)
    assert torch.equal(fast.trace(position).has_direct_path(), fast.line_of_sight(position))


def test_other_heights_are_searched(fast: Sionna) -> None:
    high = street(4) + torch.tensor([0.0, 0.0, 20.0])
    torch.testing.assert_close(fast.path_gain(high), canyon().path_gain(high), rtol=1e-5, atol=0)


def test_round_trip(tmp_path: Path, atlas: Atlas) -> None:
    atlas.save(tmp_path)
    back, sim = Atlas.load(tmp_path), canyon()
    sim.attach_atlas(back)
    one, other = (a.candidates(street(5)) for a in (atlas, back))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("damage", ["gone", "cut", "schema"])
def test_a_damaged_atlas_is_refused(tmp_path: Path, atlas: Atlas, damage: str) -> None:
    atlas.save(tmp_path)
    arrays, meta = tmp_path / "atlas.npz", tmp_path / "atlas.json"
    if damage == "gone":
        arrays.unlink()
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:400])
    else:
        meta.write_text('{"schema": 0}')
    with pytest.raises(UelError, match=r"do:[\s\S]*build it again"):
        Atlas.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sites": SITES[:1]}, "other sites"),
        ({"meta": {"walls": "elsewhere"}}, "other walls"),
        ({"config": replace(PLAN, depth=3)}, "other depth"),
    ],
)
def test_a_foreign_atlas_is_refused(atlas: Atlas, change: dict, message: str) -> None:
    with pytest.raises(UelError, match=rf"{message}[\s\S]*do:  build it again"):
        canyon().attach_atlas(replace(atlas, **change))


@pytest.mark.parametrize(
    ("more", "name"), [({"diffraction": True}, "diffraction"), ({"scattering": 0.3}, "scattering")]
)
def test_an_atlas_of_other_interactions_is_refused(atlas: Atlas, more: dict, name: str) -> None:
    with pytest.raises(UelError, match=rf"other {name}[\s\S]*do:  build it again"):
        canyon(**more).attach_atlas(atlas)


EVERYTHING = {"diffraction": True, "scattering": 0.3, "max_paths": 2_000_000}


@pytest.fixture(scope="module")
def whole() -> Sionna:
    """With an atlas of edges and scatterers, of few rays."""
    sim = canyon(**EVERYTHING)
    sim.build_atlas(replace(PLAN, rays=20_000, settle=0, audit=0), GRID)
    return sim


def test_with_edges_and_scatterers_it_finds_the_power_of_the_search(whole: Sionna) -> None:
    position = street(64, seed=5)
    position = position[position[:, 1].abs() < 8]  # in the street
    found, full = whole.trace(position), canyon(**EVERYTHING).trace(position)
    gain, everything = found.gain(), full.gain()
    assert bool((gain > 0).any(1).all())
    assert float(gain.sum() / everything.sum()) == pytest.approx(1.0, abs=0.02)
    assert float((10 * torch.log10(gain / everything)).abs().median()) < 0.3
    for kind, least in ((2, 0.6), (3, 0.6)):  # what reflections add to edges and to scatterers is the search's
        parts = [paths.power[paths.interactions[:, kind] > 0].sum() for paths in (found, full)]
        assert least < float(parts[0] / parts[1]) < 1.1
    assert int(found.count().max()) < 60 < int(full.count().max())


def test_it_gives_a_place_no_more_edges_and_scatterers_than_asked_for(whole: Sionna) -> None:
    paths = whole.trace(street(48, seed=6))
    for kind, most in ((2, PLAN.edges), (3, PLAN.scatterers)):
        assert 0 < int(paths.sum_of_links((paths.interactions[:, kind] > 0).float()).max()) <= most


def test_its_edges_are_those_of_the_search(whole: Sionna) -> None:
    """As many as are kept, the ones with the shortest detours, each with the field of the search."""
    position = street(24, seed=7)
    found, full = (sim.trace(position) for sim in (whole, canyon(diffraction=True, max_depth=1)))
    alone = [
        paths.select((paths.interactions == torch.tensor([0, 0, 1, 0])).all(1).nonzero()[:, 0])
        for paths in (found, full)
    ]
    both = [
        {
            (int(t), int(s), round(float(d) * 1e12)): float(p)
            for t, s, d, p in zip(x.target, x.source, x.delay, x.power, strict=True)
        }
        for x in alone
    ]
    assert len(both[0]) > 20
    missing = [key for key in both[0] if not any((*key[:2], key[2] + k) in both[1] for k in (-1, 0, 1))]
    assert len(missing) <= 0.02 * len(both[0])


@pytest.mark.slow  # 50 s beside other work
def test_everything_in_it_has_the_slope_of_its_differences(whole: Sionna) -> None:
    position = street(40, seed=8)
    position = position[position[:, 1].abs() < 8]
    step = torch.tensor([0.02, 0.0, 0.0])
    before, here, after = (whole.trace(position + k * step) for k in (-1, 0, 1))
    same = (before.count() == here.count()).all(1) & (after.count() == here.count()).all(1)
    assert int(same.sum()) > 6
    difference = (log_power_by_kind(after) - log_power_by_kind(before)).double() / (2 * step[0])
    for kind, slope in enumerate(difference[:, same]):
        exact = gradient(lambda p, kind=kind: log_power_by_kind(whole.trace(p))[kind, same], position)[same, 0]
        assert float((exact - slope).abs().median()) < 0.02 * float(slope.abs().median())


def log_power_by_kind(paths: PathSet) -> torch.Tensor:
    """Logarithm of each link's power by paths with edges, and by paths with scatterers: kind × link."""
    of_kind = [paths.power * (paths.interactions[:, kind] > 0) for kind in (2, 3)]
    return torch.stack([paths.sum_of_links(power).sum(1).clamp(min=1e-20).log() for power in of_kind])


def test_frozen_paths_by_scatterers_keep_their_power(whole: Sionna) -> None:
    frozen = whole.freeze(street(24, seed=9))
    power = [
        p.sum_of_links(p.power * (p.interactions[:, 3] > 0)) for p in (frozen.trace(frozen.points), frozen.trace())
    ]
    assert int((power[1] > 0).sum()) > 10
    torch.testing.assert_close(power[0], power[1], rtol=1e-4, atol=1e-16)


# ---- masts ---------------------------------------------------------------------------------------------------


def arrays_of(atlas: Atlas, folder: Path) -> bytes:
    atlas.save(folder)
    return (folder / "atlas.npz").read_bytes()


@pytest.mark.parametrize("learns", [False, True])
def test_an_atlas_of_more_sites_makes_the_new_masts_alone(tmp_path: Path, learns: bool) -> None:
    plan = replace(PLAN, rays=5000, settle=4 if learns else 0, audit=8 if learns else 0)
    canyon(sites=SITES[:1], diffraction=True).build_atlas(plan, GRID, tmp_path / "masts")
    extended = canyon(diffraction=True).build_atlas(plan, GRID, tmp_path / "masts")
    fresh = canyon(diffraction=True).build_atlas(plan, GRID)
    assert (extended.meta["masts_made"], fresh.meta["masts_made"]) == (1, 2)
    assert arrays_of(extended, tmp_path / "extended") == arrays_of(fresh, tmp_path / "fresh")


def test_another_seed_or_scene_makes_masts_anew(tmp_path: Path) -> None:
    plan = replace(PLAN, rays=2000, settle=0, audit=0)
    for change, tracing, made in (
        ({}, {}, 2),
        ({}, {}, 0),
        ({"seed": 2}, {}, 2),
        ({}, {"diffraction": True}, 2),
        ({}, {"ue_height": 2.0}, 2),
    ):
        atlas = canyon(**tracing).build_atlas(replace(plan, **change), GRID, tmp_path)
        assert atlas.meta["masts_made"] == made


@pytest.mark.slow  # 20 s: two processes start
def test_every_engine_makes_the_same_atlas(tmp_path: Path) -> None:
    plan = replace(PLAN, rays=20_000, settle=0, audit=0)
    here = canyon(**EVERYTHING).build_atlas(plan, GRID)
    there = canyon(**EVERYTHING).build_atlas(plan, GRID, engine=EngineConfig(engine="processes", workers=2))
    assert arrays_of(here, tmp_path / "here") == arrays_of(there, tmp_path / "there")


def test_sectors_of_one_mast_share_what_it_reaches() -> None:
    sectors = tuple(Cell(azimuth_deg=azimuth) for azimuth in (0.0, 120.0, 240.0))
    sites = (Site(position=(-30.0, 2.0, 12.0), cells=sectors), *SITES[1:])
    atlas = canyon(sites=sites).build_atlas(replace(PLAN, rays=2000, settle=0, audit=0), GRID)
    assert (atlas.cells, len(atlas.chains.start) - 1) == (4, 2 * GRID.count**2)
    receiver, cell, walls = atlas.candidates(street(8))
    of_cell = [torch.cat([receiver[cell == k, None], walls[cell == k]], 1) for k in range(4)]
    assert torch.equal(of_cell[0], of_cell[1])
    assert torch.equal(of_cell[0], of_cell[2])


def test_it_says_when_it_pays(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        atlas = canyon().build_atlas(replace(PLAN, rays=2000, settle=0, audit=8), GRID)
    assert "a link costs" in caplog.text
    assert "it pays from some" in caplog.text
    assert atlas.meta["audit"]["reached_share"] > 0.5


def starved() -> Sionna:
    """With an atlas of so few rays that it knows next to nothing."""
    sim = canyon()
    sim.build_atlas(replace(PLAN, rays=20, settle=0, audit=0), GRID)
    return sim


def test_where_it_is_thin_the_search_answers_and_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    sim, position = starved(), street(48)
    thin = sim.atlas.uncovered(position)
    assert int(thin.sum()) > 10
    searched = sim.path_gain(position)[thin]
    torch.testing.assert_close(searched, canyon().path_gain(position[thin]), rtol=1e-5, atol=0)
    assert not sim.atlas.uncovered(position).any()
    monkeypatch.setattr("sim_bridge.paths.solver.search_paths", None)  # from now on no search
    assert close_share(sim.path_gain(position)[thin], searched) > 0.9  # chains of neighbours may have come along


def test_thin_places_are_searched_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    sim, centres = canyon(), GRID.centres().reshape(-1, 2)
    poor = sim.build_atlas(replace(PLAN, rays=20, settle=0, audit=0), GRID)
    thin = int(poor.uncovered(sim.at_height(centres)).sum())
    atlas = sim.build_atlas(replace(PLAN, rays=20, settle=thin - 64, audit=0), GRID)
    assert atlas.meta["settled"] == thin - 64
    # A search teaches the pixel it was asked at, of which eight more are no longer thin.
    assert int(atlas.uncovered(sim.at_height(centres)).sum()) <= 64


def test_a_search_without_paths_teaches_no_chain() -> None:
    sim = canyon()
    nothing = solver.ResolvedPaths(sionna_internals.PathsBuffer(0, 2, False), 0, sim.finder.path_search())
    assert [tuple(part.shape) for part in solver.chains_of(nothing, sim.facets)] == [(0,), (0,), (0, 2)]


def test_an_audit_says_what_is_missing_and_teaches_it() -> None:
    sim = starved()
    sim.path_gain(street(200, seed=3))  # no longer thin, still poor
    before, after = sim.audit_atlas(48), sim.audit_atlas(48)
    assert before.positions == 48
    assert after.power_missing_share < 0.5 * before.power_missing_share
    assert after.links_found_share > 0.99
    assert after.median_gain_diff_db < 0.01
    assert sim.atlas.meta["audit"]["power_missing_share"] == after.power_missing_share


def test_an_atlas_is_audited_when_it_is_built(atlas: Atlas) -> None:
    result = atlas.meta["audit"]
    assert result["positions"] == PLAN.audit
    assert result["power_missing_share"] < 0.02
    with pytest.raises(UelError, match="no atlas to audit"):
        canyon().audit_atlas()


def test_a_plan_without_rays_is_refused() -> None:
    with pytest.raises(UelError, match="needs rays"):
        AtlasConfig(rays=0)


def close_share(one: torch.Tensor, other: torch.Tensor) -> float:
    """Share of links with the same gain within 2 %: of two walls that coincide either may be met."""
    both = other > 0
    return float(((one / other)[both] - 1).abs().lt(0.02).float().mean())


def test_frozen_paths_are_the_paths(fast: Sionna) -> None:
    position = street(24, seed=3)
    frozen = fast.freeze(position)
    name, value = "material/marble/conductivity", torch.tensor(0.7)
    assert close_share(frozen.trace().gain(), fast.path_gain(position)) > 0.9
    other = frozen.trace(**{name: value}).gain()
    assert close_share(other, fast.trace(position, **{name: value}).gain()) > 0.9
    assert close_share(other, frozen.trace().gain()) < 0.9
    assert all(frozen.staleness(**moved) < 0.005 for moved in ({}, {name: value}))


def test_frozen_paths_grow_stale(fast: Sionna) -> None:
    frozen, away = fast.freeze(street(24, seed=3)), torch.tensor([25.0, 3.0, 0.0])
    assert frozen.staleness(frozen.points + away * 1e-3) < 0.02
    assert frozen.staleness((frozen.points + away).clamp(min=torch.tensor([-60.0, -30.0, 1.5]))) > 0.02
    with pytest.raises(UelError, match="belong to their receivers"):
        frozen.trace(torch.zeros(3, 3))
