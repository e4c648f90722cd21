"""Pieces of surface that scatter: their areas, and the power that they bring beside that of rays."""

import numpy as np
import pytest
import torch

from sim_bridge.chains.config import AtlasConfig
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.scatterers import SCATTERER_SIZE, Scatterers, sampled_scatterers
from sim_bridge.simulator import Sionna
from tests.helpers.blocks import block, rectangle, simulator
from tests.helpers.ray_traced_scenes import mast, mirror
from uel.core.grid import Grid

SLAB = {"relative_permittivity": 5.0, "conductivity": 0.1, "thickness": 0.1, "scattering_coefficient": 0.5}


def pieces_of(corner: np.ndarray) -> Scatterers:
    return Scatterers.from_facets(Facets.from_corners(corner))


def test_pieces_have_the_area_of_the_surfaces() -> None:
    pieces = pieces_of(block(rectangle((-30.0, 30.0), (-10.0, 10.0)), 15.0))
    assert pieces.area.sum() == pytest.approx(160 * 15 + 60 * 20)
    assert pieces.area.max() <= 1.2 * SCATTERER_SIZE**2
    # Walls, roof; at a corner of the house three pieces lie in one cube.
    assert sorted(np.unique(np.abs(pieces.normal).round(), axis=0).tolist()) == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_pieces_are_the_same_however_a_wall_is_drawn() -> None:
    """As one, as a row of houses, or with its triangles in another order: area and places."""
    corner = block(rectangle((0.0, 32.0), (0.0, 8.0)), 8.0)
    whole, shuffled = pieces_of(corner), pieces_of(corner[::-1][:, [1, 2, 0]])
    assert len(whole) == len(shuffled)
    assert whole.area.sum() == pytest.approx(shuffled.area.sum())


def test_a_point_sees_no_piece_larger_than_half_of_all_space() -> None:
    pieces = pieces_of(block(rectangle((-30.0, 30.0), (-10.0, 10.0)), 15.0))
    everywhere = np.broadcast_to(pieces.position[:1] + 1e-3, (len(pieces), 3))
    assert np.abs(pieces.solid_angle(everywhere, np.arange(len(pieces)))).max() <= 2 * np.pi * 1.2
    far = np.array([[0.0, 0.0, 515.0]])
    roof = np.flatnonzero(pieces.normal[:, 2] ** 2 > 0.9)
    total = pieces.solid_angle(np.broadcast_to(far, (len(roof), 3)), roof)
    assert float(np.abs(total).sum()) == pytest.approx(60 * 20 / 500**2, rel=0.02)


def above_ground(tracing: dict) -> Sionna:
    """A plane at z = 0 that scatters."""
    return mirror(mast((-40.0, 0.0, 20.0)), SLAB, **{"scattering": 0.5, "chunk": 16, "max_paths": 2_000_000, **tracing})


@pytest.mark.parametrize(("count", "limit_db"), [(8, 4.0), (64, 0.8)])
def test_they_bring_the_power_of_many_rays(count: int, limit_db: float) -> None:
    """Sionna's estimate from a hundred thousand rays a cell is the slow twin; the plane is seen near Brewster's angle,
    so that its pieces reflect unlike each other."""
    position = torch.tensor([[x, y, 10.0] for x in (0.0, 20.0, 50.0) for y in (-30.0, 10.0)])
    few, many = above_ground({"ue_height": 10.0}), above_ground({"samples": 100_000})
    few.build_atlas(AtlasConfig(rays=1000, depth=1, settle=0, audit=0, scatterers=count), Grid(size=160.0, pixel=4.0))
    power = []
    for paths in (few.trace(position), many.trace(position)):
        power.append(paths.sum_of_links(paths.power * (paths.interactions[:, 3] > 0))[:, 0])
        assert bool((power[-1] > 0).all())
    assert float((power[0] / power[1]).log10().abs().max()) < limit_db / 10
    assert float((power[0].sum() / power[1].sum()).log10().abs()) < limit_db / 20


def test_a_narrow_yard_whose_walls_are_all_near_has_scatterers() -> None:
    """A yard of 6 m: no piece of its walls is farther than a pixel and a half."""
    yard = [(rectangle((x, x + 20.0), (-30.0, 30.0)), 12.0) for x in (-23.0, 3.0)]
    sim = simulator(yard, mast((0.0, -25.0, 40.0)), scattering=0.3, diffraction=False, max_depth=1)
    pieces, scene = Scatterers.from_facets(sim.facets), sim.scene.mi_scene
    place = np.array([[0.0, 0.0, 1.5]])
    source = np.array([0.0, -25.0, 40.0])
    row, piece, weight = sampled_scatterers(scene, pieces, source, place, 24.0, 8)
    assert 4 <= len(row) <= 8
    assert bool((np.linalg.norm(pieces.position[piece] - place, axis=1) < 36.0).all())
    assert bool(np.isfinite(weight).all())
    assert bool((weight > 0).all())


def test_power_follows_the_mast_as_its_differences_do() -> None:
    sim = above_ground({"ue_height": 10.0})
    sim.build_atlas(AtlasConfig(rays=1000, depth=1, settle=0, audit=0), Grid(size=160.0, pixel=8.0))
    position = torch.tensor([[20.0, 10.0, 10.0]])

    def scattered(height: torch.Tensor) -> torch.Tensor:
        paths = sim.trace(position, cell_height=height)
        return (paths.power * (paths.interactions[:, 3] > 0)).sum().log()

    height = torch.tensor([20.0], requires_grad=True)
    (slope,) = torch.autograd.grad(scattered(height), height)
    with torch.no_grad():
        difference = (scattered(height + 0.1) - scattered(height - 0.1)) / 0.2
    assert float(slope) == pytest.approx(float(difference), rel=0.02)
    assert abs(float(difference)) > 1e-3
