"""Attenuation by trees: ITU-R P.833 for a line through a wood of known depth, on paths, maps and an atlas alike."""

from pathlib import Path

import pytest
import torch

import sim_bridge
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.simulator import Sionna
from tests.helpers.ray_traced_scenes import mast
from tests.helpers.village_tile import SIZE, village, write
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site
from uel.radio.tracing_config import TracingConfig, radio_map_key, tracing_key
from uel.radio.vegetation_attenuation import max_attenuation, specific_attenuation

WOOD, TOP = (0.0, 10.0), 15.0  # m along x, and height; from y = -10 to 20
MAST = (-24.0, 6.0, 12.0)
PHONES = torch.tensor([[27.0, 6.0, 1.5], [20.0, 1.0, 3.0], [-10.0, 4.0, 1.5], [5.0, 5.0, 1.5]])
QUICK = {"samples": 2000, "chunk": 4, "diffraction": False, "max_depth": 0}


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    """A house in a corner, and a wood."""
    grid = Grid(size=SIZE, pixel=1.0)
    x, y = grid.centres().unbind(-1)
    wood = ((x > WOOD[0]) & (x < WOOD[1]) & (y > -10) & (y < 20)).float().numpy()
    folder = tmp_path_factory.mktemp("wooded") / "tile"
    return write(folder, village(1), canopy_base=0 * wood, canopy_top=TOP * wood)


def opened(tile: Tile, sites: tuple[Site, ...] = mast(MAST), **tracing: object) -> Sionna:
    return sim_bridge.open(tile, sites, TracingConfig(**{**QUICK, **tracing}))


def depth(phone: torch.Tensor) -> torch.Tensor:
    """m of the line from the mast to a phone that lie in the wood."""
    start, end = torch.tensor(MAST, dtype=torch.float64), phone.double()
    share = (end[:, 0].clamp(*WOOD) - start[0].clamp(*WOOD)) / (end - start)[:, 0]
    return share * (end - start).norm(dim=1)


def loss_db(metres: torch.Tensor, frequency: float = 3.5e9) -> torch.Tensor:
    """Equation 1 of P.833."""
    gamma, most = specific_attenuation(frequency), max_attenuation(frequency)
    return most * (1 - torch.exp(-gamma * metres / most))


def test_a_line_through_a_wood_loses_what_p833_says(tile):
    ratio = opened(tile).path_gain(PHONES) / opened(tile, foliage=False).path_gain(PHONES)
    expected = loss_db(depth(PHONES))
    assert (expected > 3).tolist() == [True, True, False, True]
    torch.testing.assert_close(-10 * ratio[:, 0].double().log10(), expected, rtol=1e-4, atol=1e-4)


def test_each_carrier_has_its_own_attenuation(tile):
    carriers = [Carrier(frequency=2.1e9), Carrier(frequency=3.5e9)]
    both = (Site(position=MAST, cells=tuple(Cell(carrier=carrier) for carrier in carriers)),)
    ratio = opened(tile, both).path_gain(PHONES) / opened(tile, both, foliage=False).path_gain(PHONES)
    expected = torch.stack([loss_db(depth(PHONES), carrier.frequency) for carrier in carriers], 1)
    torch.testing.assert_close(-10 * ratio.double().log10(), expected, rtol=1e-4, atol=1e-4)


def test_attenuations_and_positions_have_derivatives(tile):
    sim = opened(tile, max_depth=1)
    names = ("foliage/specific_attenuation", "foliage/max_attenuation")
    values = [torch.tensor(value, requires_grad=True) for value in (0.5, 30.0)]
    phones, generator = PHONES[:2].clone().requires_grad_(), torch.Generator().manual_seed(0)

    def total(position: torch.Tensor, *attenuations: torch.Tensor) -> torch.Tensor:
        return sim.trace(position, **dict(zip(names, attenuations, strict=True))).gain().log().sum()

    gradients = torch.autograd.grad(total(phones, *values), [phones, *values])
    steps = (0.02 * torch.randn(phones.shape, generator=generator), torch.tensor(0.01), torch.tensor(0.3))
    for number, (gradient, step) in enumerate(zip(gradients, steps, strict=True)):
        ends = []
        for sign in (1, -1):
            moved = [v.detach() + (sign * step if k == number else 0) for k, v in enumerate((phones, *values))]
            ends.append(float(total(*moved)))
        assert float((gradient * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=0.02)
    frozen = sim.freeze(PHONES[:2])
    given = dict(zip(names, values, strict=True))
    torch.testing.assert_close(frozen.trace(**given).gain(), sim.trace(PHONES[:2], **given).gain())


def test_a_tile_without_vegetation_has_no_such_parameter(tile, tmp_path: Path):
    bare = opened(write(tmp_path / "bare", village(1)))
    assert bare.radio_scene.foliage is None
    for sim, expected in ((bare, 0), (opened(tile, foliage=False), 0), (opened(tile), 2)):
        assert sum(name.startswith("foliage/") for name in sim.parameters) == expected
    with pytest.raises(UelError, match="no such parameter"):
        bare.trace(PHONES, **{"foliage/specific_attenuation": torch.tensor(0.3)})
    with pytest.raises(UelError, match="nothing has this foliage/max_attenuation"):
        opened(tile).trace(PHONES, **{"foliage/max_attenuation": torch.tensor(0.0)})


def test_a_reflection_loses_on_both_of_its_legs(tile):
    """Off the ground: both legs go through the wood, whose depth is that of the line to the mast's image."""
    with_trees, without = (opened(tile, max_depth=1, foliage=on).trace(PHONES[:1]) for on in (True, False))
    mirrored = PHONES[:1] * torch.tensor([1.0, 1.0, -1.0])
    order = [paths.delay.argsort() for paths in (with_trees, without)]
    assert [len(rows) for rows in order] == [2, 2]
    ratio = with_trees.power[order[0]] / without.power[order[1]]
    expected = loss_db(torch.cat([depth(PHONES[:1]), depth(mirrored)]))
    torch.testing.assert_close(-10 * ratio.double().log10(), expected, rtol=1e-3, atol=1e-3)


def test_the_atlas_has_the_attenuation_of_the_search(tile):
    sim = opened(tile, max_depth=1, ue_height=1.5)
    searched = sim.path_gain(PHONES)
    sim.build_atlas(AtlasConfig(rays=20_000, depth=1, pixel=8.0, settle=0, audit=0))
    torch.testing.assert_close(sim.path_gain(PHONES), searched)


def test_a_map_loses_what_paths_lose(tile):
    """Pixels behind the wood, in front of it, and inside; masts above the map, and in its plane."""
    grid = Grid(size=SIZE, pixel=4.0)
    for height, limit in ((12.0, 0.25), (1.5, 0.05)):
        sites = mast((MAST[0], MAST[1], height))
        wooded, bare = (
            opened(tile, sites, foliage=on, map_rays=200_000, map_batches=2).radio_map(grid) for on in (True, False)
        )
        centre = torch.cat([grid.centres(), torch.full((*grid.shape, 1), 1.5)], -1).view(-1, 3)
        exact = opened(tile, sites).path_gain(centre) / opened(tile, sites, foliage=False).path_gain(centre)
        ratio = (wooded.gain / bare.gain)[0].flatten()
        lit = bare.los[0].flatten() & (bare.gain[0].flatten() > 0)
        apart = (10 * (ratio / exact[:, 0]).log10())[lit]
        assert int((exact[:, 0][lit] < 0.5).sum()) > 50
        assert float(apart.abs().median()) < 0.05
        assert float(apart.abs().quantile(0.9)) < limit
        assert bool((wooded.known == bare.known).all())


def test_waves_around_edges_and_scattered_ones_lose_it_too(tile):
    """A map with everything has no pixel that gains by trees, and loses most behind them."""
    grid = Grid(size=SIZE, pixel=4.0)
    options = {"max_depth": 2, "diffraction": True, "scattering": 0.3, "map_rays": 40_000, "map_batches": 2}
    sites = mast((-30.0, -30.0, 8.0))
    wooded, bare = (opened(tile, sites, foliage=on, **options).radio_map(grid) for on in (True, False))
    both = wooded.known[0] & bare.known[0]
    change = 10 * (wooded.gain[0] / bare.gain[0]).log10()[both]
    assert float(change.max()) < 1e-3
    assert float(change.min()) < -6.0


def test_keys_of_cached_results_are_those_of_before_unless_trees_are_left_out():
    assert "foliage" not in tracing_key(TracingConfig()) | radio_map_key(TracingConfig())
    assert tracing_key(TracingConfig(foliage=False))["foliage"] is False
