"""Where paths turn: against Sionna's own image method, against finite differences, against geometry."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sim_bridge.paths.effects.object_motion import shift_by_objects
from sim_bridge.paths.image_method import EDGE, MIRROR, SCATTER, THROUGH, InteractionPlanes, turning_points
from sim_bridge.paths.solver import ResolvedPaths
from sim_bridge.scene import scene_parameters
from tests.helpers import ray_traced_scenes
from uel.radio.sites import Site


def bends(*kinds: list[int], seed: int = 0) -> InteractionPlanes:
    """Random walls and edges, the same number for each path."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.tensor(kinds)

    def draw():
        return torch.randn(*kind.shape, 3, generator=generator, dtype=torch.float64)

    return InteractionPlanes(kind, 10 * draw(), normalize(draw(), dim=-1), 10 * draw())


def ends(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source, target = 30 * torch.randn(2, rows, 3, generator=generator, dtype=torch.float64)
    return source, target


def length(bends: InteractionPlanes, source: Tensor, target: Tensor) -> Tensor:
    """Metres from the source by way of all turning points to the target."""
    line = torch.cat([source[:, None], turning_points(bends, source, target), target[:, None]], 1)
    return line.diff(dim=1).norm(dim=-1).sum(1)


KINDS = ([0, 0, 0], [MIRROR, THROUGH, MIRROR], [THROUGH, EDGE, MIRROR], [MIRROR, EDGE, 0], [MIRROR, SCATTER, MIRROR])


def test_derivatives_are_those_of_differences() -> None:
    met, (source, target) = bends(*KINDS), ends(len(KINDS))

    def points(source: Tensor, target: Tensor, shift: Tensor) -> Tensor:
        return turning_points(met.shifted(shift), source, target)

    given = (source, target, torch.zeros(len(KINDS), 3, 3, dtype=torch.float64))
    assert torch.autograd.gradcheck(points, tuple(v.requires_grad_() for v in given))


def test_levels_at_which_no_path_meets_anything_change_nothing() -> None:
    met, (source, target) = bends([MIRROR, 0, 0], [EDGE, THROUGH, 0]), ends(2)
    points = turning_points(met, source, target)
    assert met.trimmed().kind.tolist() == [[MIRROR, 0], [EDGE, THROUGH]]
    assert torch.equal(turning_points(met.trimmed(), source, target), points[:, :2])


def test_what_is_unfolded_is_kept_only_while_nothing_moves() -> None:
    met, (source, target) = bends(*KINDS), ends(len(KINDS))
    paths = object.__new__(ResolvedPaths)  # without a buffer of Sionna's
    first = paths.unfold(met, source, target, False)
    assert paths.unfold(met, source.clone(), target, False) is first
    other = paths.unfold(met, source, target + 1.0, False)
    torch.testing.assert_close(other[0], turning_points(met, source, target + 1.0), rtol=0, atol=0)
    assert not torch.equal(other[2], first[2])
    wall = met.shifted(torch.ones(len(KINDS), 3, 3, dtype=torch.float64))
    there = paths.unfold(wall, source, target + 1.0, True)
    torch.testing.assert_close(there[0], turning_points(wall, source, target + 1.0), rtol=0, atol=0)
    sum(part.sum() for part in paths.unfold(met, source.requires_grad_(), target, False)).backward()
    assert source.grad is not None
    assert bool((source.grad != 0).any())


def test_walls_are_met_where_they_are() -> None:
    met, (source, target) = bends(*KINDS), ends(len(KINDS))
    points = turning_points(met, source, target)
    above = ((points - met.corner) * met.axis).sum(-1)
    beside = torch.linalg.cross(points - met.corner, met.axis).norm(dim=-1)
    before_scatter = torch.tensor([[False] * 3] * 4 + [[True, True, False]])
    walls = ((met.kind == MIRROR) | (met.kind == THROUGH)) & ~before_scatter
    assert above[walls].abs().max() < 1e-9
    assert beside[met.kind == EDGE].max() < 1e-9
    assert torch.equal(points[before_scatter], met.fixed[before_scatter])
    assert torch.equal(points[0], target[:1].expand(3, 3))  # nothing met: the target again


def test_a_path_by_mirrors_is_as_long_as_from_the_image() -> None:
    met, (source, target) = bends([MIRROR, MIRROR, THROUGH]), ends(1)
    image = source
    for level in range(2):
        normal = met.axis[:, level]
        image = image - 2 * ((image - met.corner[:, level]) * normal).sum(-1, keepdim=True) * normal
    line = turning_points(met, source, target)
    # Random walls may be met from behind: the way is that of the image where each stretch goes on ahead.
    stretches = torch.cat([source[:, None], line, target[:, None]], 1)
    before, after = stretches[:, 1] - stretches[:, 0], stretches[:, 2] - stretches[:, 1]
    normal = met.axis[:, 0]
    mirrored = before - 2 * (before * normal).sum(-1, keepdim=True) * normal
    assert torch.linalg.cross(mirrored, after).norm() < 1e-9 * before.norm() * after.norm()  # angle in = angle out
    seen = (image - target) / (image - target).norm()
    assert torch.linalg.cross(seen, normalize(line[:, 2] - target, dim=-1)).norm() < 1e-9


def test_no_way_over_an_edge_is_shorter() -> None:
    met, (source, target) = bends([EDGE]), ends(1)
    best = turning_points(met, source, target)[:, 0]

    def way(p):
        return (p - source).norm(dim=-1) + (p - target).norm(dim=-1)

    aside = best + torch.linspace(-1, 1, 21)[:, None].double() * met.axis[:, 0]
    assert way(aside).argmin() == 10
    ahead, back = normalize(best - source, dim=-1), normalize(target - best, dim=-1)
    assert (ahead * met.axis[:, 0]).sum() == pytest.approx(float((back * met.axis[:, 0]).sum()), abs=1e-12)  # Keller


def test_a_way_grows_as_its_last_stretch_points() -> None:
    """d length / d target is the direction of the last stretch (Fermat), off the ground and over a roof's edge."""
    kind = torch.tensor([[MIRROR, 0], [MIRROR, EDGE], [EDGE, MIRROR]])
    ground, roof = (MIRROR, [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]), (EDGE, [0.0, 5.0, 20.0], [0.8, 0.6, 0.0])
    corner, axis = (
        torch.tensor(
            [[(roof if k == EDGE else ground)[part] for k in row] for row in kind.tolist()], dtype=torch.float64
        )
        for part in (1, 2)
    )
    met = InteractionPlanes(kind, corner, axis, torch.zeros_like(corner))
    source = torch.tensor([[-40.0, -30.0, 25.0]] * 3, dtype=torch.float64)
    target = torch.tensor([[30.0, 45.0, 1.5]] * 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(length(met, source, target).sum(), target)
    points = turning_points(met, source, target)
    last = torch.stack([points[0, 0], points[1, 1], points[2, 1]])
    torch.testing.assert_close(slope, normalize(target - last, dim=-1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("diffraction", [False, True])
def test_as_sionna_finds_them(diffraction: bool) -> None:
    sim = ray_traced_scenes.bundled(
        "munich", (Site(position=(8.5, 21.0, 27.0)),), diffraction=diffraction, samples=100_000, max_depth=3, chunk=64
    )
    points = sim.rows(torch.tensor([[x, y] for x in (-60.0, 0.0, 40.0) for y in (-30.0, 50.0, 90.0)]))
    kinds, worst = set(), []
    for _, found, where, _ in sim.finder.find_paths(points, {}):
        target, source = found.receiver_and_cell
        met = found.planes(sim.facets)
        mine = turning_points(met, where.source[source].double(), where.target[target].double())
        there = met.kind > 0
        kinds |= set(met.kind[there].tolist())
        worst.append((mine - met.fixed).norm(dim=-1)[there])
    assert kinds >= {MIRROR, THROUGH} | ({EDGE} if diffraction else set())
    apart = torch.cat(worst)
    assert len(apart) > 50
    # Sionna's points are in float32 and its rays start a little off their walls.
    assert apart.quantile(0.99) < 5e-3
    assert math.isfinite(float(apart.max()))


def test_edges_and_walls_of_an_object_that_was_moved() -> None:
    """Searched with the object elsewhere, paths turn where Sionna found them there."""
    mast = (Site(position=(-30.0, 2.0, 12.0)),)
    sim = ray_traced_scenes.bundled(
        "simple_street_canyon", mast, apart=True, diffraction=True, samples=30_000, max_depth=2
    )
    points = sim.rows(torch.tensor([[20.0, 0.0], [50.0, 3.0], [35.0, -3.0]]))
    name = "object/building_1/position"
    _, before = scene_parameters.object_mesh(sim.scene, name)
    given = {name: (before + torch.tensor([1.5, 0.0, 0.5])).float()}
    for _, found, where, mine in sim.finder.find_paths(points, given):
        target, source = found.receiver_and_cell
        met = found.planes(sim.facets).shifted(shift_by_objects(sim.radio_scene, found, mine))
        number, _ = scene_parameters.object_mesh(sim.scene, name)
        moved = (found.surfaces[1] == number) & (met.kind > 0)
        assert (moved & (met.kind == EDGE)).any()
        assert (moved & (met.kind == MIRROR)).any()
        points = turning_points(met, where.source[source].double(), where.target[target].double())
        assert (points - met.fixed).norm(dim=-1)[met.kind > 0].quantile(0.99) < 5e-3
