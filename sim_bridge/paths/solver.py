"""One question to the ray tracer: find the paths between end points, then evaluate them with gradients."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.nn.functional import normalize

from sim_bridge.backend import sionna_internals
from sim_bridge.backend.path_buffers import edges, interactions, labels, rows, vertices
from sim_bridge.backend.torch_drjit import LOCK, call_drjit
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.facets import Facets
from sim_bridge.paths.image_method import EDGE, InteractionPlanes, turning_points
from sim_bridge.paths.path_set import PathSet, radiated, rotation
from sim_bridge.scene import scene_parameters


@dataclass(frozen=True, eq=False)
class Endpoints:
    """End points in torch: positions in metres, turns in Sionna's three angles (radians)."""

    target: Float[Tensor, "n 3"]
    target_turn: Float[Tensor, "n 3"]
    source: Float[Tensor, "cell 3"]
    source_turn: Float[Tensor, "cell 3"]

    def columns(self) -> list[Tensor]:
        """Coordinate by coordinate, as Dr.Jit has them."""
        ends = (self.source, self.source_turn, self.target, self.target_turn)
        return [axis for end in ends for axis in end.unbind(-1)]

    def padded(self, count: int) -> "Endpoints":
        """With the last receiver repeated until there are `count`."""
        return replace(self, target=_filled(self.target, count), target_turn=_filled(self.target_turn, count))


@dataclass(frozen=True, eq=False)
class ResolvedPaths:
    """Paths that were found, ready to be evaluated: `count` rows of `buffer` are real."""

    buffer: sionna_internals.PathsBuffer
    count: int
    plan: sionna_internals.PathSearch
    objects: Mapping[str, Tensor] = field(default_factory=dict)
    """where objects stood, m, that had been moved when edges were found"""

    @cached_property
    def ends(self) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Receiver and cell of each path."""
        return labels(self.buffer, self.count)

    @cached_property
    def met(self) -> tuple[Int[Tensor, "row depth"], Int[Tensor, "row depth"], Int[Tensor, "row depth"]]:
        """Kind, mesh and primitive of each interaction; 0 where there is none."""
        return rows(self.buffer, self.count)

    @cached_property
    def _kept(self) -> dict[str, Any]:
        """What the last question was answered with, for the next one."""
        return {}

    def bends(self, facets: Facets) -> InteractionPlanes:
        """What the paths meet, where it stood when the scene was opened; read once."""
        if "bends" not in self._kept:
            self._kept["bends"] = self._bends(facets)
        return self._kept["bends"]

    def _bends(self, facets: Facets) -> InteractionPlanes:
        kind, shape, primitive = self.met
        triangle = facets.number(shape, primitive)
        edge = (kind == EDGE)[..., None]
        wall = [facets.at(values, triangle) for values in (facets.corner[:, 0], facets.normal)]
        corner, axis = (
            torch.where(edge, of_edge[:, None].double(), of_wall)
            for of_edge, of_wall in zip(edges(self.buffer, self.count), wall, strict=True)
        )
        return InteractionPlanes(kind, corner, axis, vertices(self.buffer, self.count).double())

    def unfolded(
        self, bends: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"], moved: bool
    ) -> tuple[Float64[Tensor, "row depth 3"], Float[Tensor, "row 3"], Float[Tensor, "row 3"]]:
        """Turning points, and directions of departure and arrival; the last call's where all stands where it stood.

        `moved` says that walls may not. A fit of materials and turns asks for these again and again: it took half of
        its time.
        """
        if moved or source.requires_grad or target.requires_grad:
            return _unfolded(bends, source, target)
        ends = self._kept.get("ends")
        if ends is None or not (torch.equal(ends[0], source) and torch.equal(ends[1], target)):
            self._kept.update(ends=(source, target), unfolded=_unfolded(bends, source, target))
        return self._kept["unfolded"]


Chains = tuple[Int[Tensor, " path"], Int[Tensor, " path"], Int[Tensor, "path depth"]]
"""Receivers, cells and walls, as an atlas keeps them."""


class SearchOverflow(Exception):
    """A search had more candidates than its buffer holds."""


def from_atlas(
    scene: rt.Scene, facets: Facets, atlas: Atlas, ends: Endpoints, plan: sionna_internals.PathSearch
) -> ResolvedPaths:
    """The paths among the chains that an atlas keeps for the receivers' surroundings."""
    return from_chains(scene, facets, atlas.candidates(ends.target.detach()), ends, plan)


def from_chains(
    scene: rt.Scene, facets: Facets, candidates: Chains, ends: Endpoints, plan: sionna_internals.PathSearch
) -> ResolvedPaths:
    """The paths among chains of walls that are worth trying."""
    target, source, walls = candidates
    kind = torch.where(
        walls > 1,
        sionna_internals.SPECULAR,
        torch.where(walls == 1, sionna_internals.REFRACTION, sionna_internals.NONE),
    )
    facet = torch.from_numpy(facets.first)[(walls - 2).clamp(min=0)]
    shape, primitive, corner = (torch.from_numpy(v)[facet] for v in (facets.shape, facets.primitive, facets.corner))
    with LOCK:
        buffer = sionna_internals.from_chains(target, source, kind, shape, primitive, corner[..., 0, :])
        return ResolvedPaths(*sionna_internals.resolve(scene, facets.base, buffer, _drjit(ends), False), plan)


def chains_of(found: ResolvedPaths, facets: Facets) -> Chains:
    """Receiver, cell and walls of the paths, as an atlas keeps them: those without edges and scattering."""
    if not found.count:  # Dr.Jit compares no empty arrays
        none = torch.zeros(0, dtype=torch.long)
        return none, none, none.view(0, found.plan.max_depth)
    with LOCK:
        (target, source), (kind, shape, primitive) = found.ends, found.met
    plane = torch.from_numpy(facets.plane)[facets.number(shape, primitive)]
    mirror, gone = kind == sionna_internals.SPECULAR, kind == sionna_internals.REFRACTION
    walls = torch.where(mirror, plane + 2, torch.where(gone, 1, 0))
    plain = (mirror | gone | (kind == sionna_internals.NONE)).all(1)
    return target[plain], source[plain], walls[plain]


def search_paths(
    scene: rt.Scene, facets: Facets, ends: Endpoints, plan: sionna_internals.PathSearch, given: Mapping[str, Tensor]
) -> ResolvedPaths:
    """The paths that Sionna's search finds. Raises `SearchOverflow` where they do not fit."""
    count, cells = len(ends.target), len(ends.source)
    # Few widths, so that few kernels are compiled.
    where = _drjit(ends.padded(1 << (count - 1).bit_length()))
    values = _in_drjit(_materials(given) | _objects(given))
    with LOCK, scene_parameters.standing(scene, values):
        with dr.suspend_grad():
            buffer = sionna_internals.search(scene, where, plan)
        if sionna_internals.truncated(buffer, cells, plan):
            raise SearchOverflow
        sionna_internals.drop_targets(buffer, count)
        there = {name: place.detach().double().cpu() for name, place in _objects(given).items()}
        return ResolvedPaths(
            *sionna_internals.resolve(scene, facets.base, buffer, where, plan.diffraction), plan, there
        )


def re_resolve(
    scene: rt.Scene, facets: Facets, found: ResolvedPaths, ends: Endpoints, given: Mapping[str, Tensor]
) -> ResolvedPaths:
    """Those of the paths that there are for other ends, or with objects elsewhere.

    Whether something stands in the way around an edge is asked where the edge was found, also when it has moved.
    """
    if not found.count:
        return found
    with LOCK, scene_parameters.standing(scene, _in_drjit(_objects(given))):
        buffer = sionna_internals.again(found.buffer, found.count)
        plan = found.plan
        return ResolvedPaths(
            *sionna_internals.resolve(scene, facets.base, buffer, _drjit(ends), plan.diffraction), plan, found.objects
        )


def evaluate_paths(
    scene: rt.Scene,
    facets: Facets,
    found: ResolvedPaths,
    ends: Endpoints,
    given: Mapping[str, Tensor],
    wavelength: float,
    silent: bool = False,
) -> PathSet:
    """What the paths carry, differentiable in the ends and in the parameters that are given.

    With `silent` paths without power stay, so that the rows are those of the buffer.
    """
    learned = _materials(given)
    transmit, receive = (len(array.antenna_pattern.patterns) for array in (scene.tx_array, scene.rx_array))
    if not found.count:
        return _no_paths(ends, [*ends.columns(), *given.values()], receive, transmit)
    with LOCK:
        target, source = found.ends
        moved = bool(_objects(given))
        bends = found.bends(facets)
        bends = bends.shifted(_shift(scene, facets, found, given)) if moved else bends
        kinds = interactions(found.buffer, found.count)
    first, last = ends.source[source].double(), ends.target[target].double()
    vertex, departure, arrival = found.unfolded(bends, first, last, moved)
    columns = [axis.reshape(-1) for axis in _filled(vertex.float(), found.buffer.buffer_size).unbind(-1)]
    inputs = [*ends.columns(), *columns, *(value.reshape(-1) for value in learned.values())]

    def fields(*given: mi.TensorXf) -> list[mi.TensorXf]:
        points = [mi.Point3f(*(c.array for c in given[3 * k : 3 * k + 3])) for k in range(4)]
        # Dr.Jit would run the materials' code again in the backward pass, when the scene has been put back: gradients
        # of zero, silently (and new kernels for every call, 3 s instead of 0.05 s). So each runs by itself, now.
        at_once = dr.scoped_set_flag(dr.JitFlag.SymbolicCalls, not learned)
        turn = [column.array for column in given[12:15]]
        with scene_parameters.standing(scene, dict(zip(learned, given[15:], strict=True))), at_once:
            return sionna_internals.evaluate(
                scene, found.buffer, found.count, sionna_internals.DrJitEndpoints(*points), turn, found.plan
            )

    with LOCK:
        real, imag, delay, doppler = call_drjit(fields, inputs)
    shape = (found.count, receive, transmit)
    real, imag = (v.view(-1, found.buffer.buffer_size)[:, : found.count].T.reshape(shape) for v in (real, imag))
    power = radiated(real, imag, departure, elements(scene, ends, wavelength)[source], wavelength)
    doppler = doppler[: found.count]
    if "ue_velocity" in given:
        doppler = doppler + (given["ue_velocity"][target] * arrival).sum(-1) / wavelength
    # Of near-coplanar walls only one gives a path in the end; what antennas do not hear at all is none either.
    kept = ((power.detach() > 0) | silent).nonzero()[:, 0]
    rows = (target, source, power, delay[: found.count], departure, arrival, doppler, kinds, torch.complex(real, imag))
    return PathSet(len(ends.target), len(ends.source), *(values[kept] for values in rows))


def _unfolded(
    bends: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"]
) -> tuple[Float64[Tensor, "row depth 3"], Float[Tensor, "row 3"], Float[Tensor, "row 3"]]:
    """Turning points, and directions from the first and the last of them: so they follow the ends."""
    vertex = turning_points(bends, source, target)
    bounces = (bends.kind > 0).sum(1)
    near = vertex[torch.arange(len(vertex)), (bounces - 1).clamp(min=0)]
    near = torch.where(bounces[:, None] > 0, near, source)
    return vertex, normalize(vertex[:, 0] - source, dim=-1).float(), normalize(near - target, dim=-1).float()


def _shift(
    scene: rt.Scene, facets: Facets, found: ResolvedPaths, given: Mapping[str, Tensor]
) -> Float64[Tensor, "row depth 3"]:
    """How far the objects that are given have moved what the paths meet, m."""
    kind, shape, _ = found.met
    shift = torch.zeros(*kind.shape, 3, dtype=torch.float64)
    for name, place in _objects(given).items():
        number, before = scene_parameters.mesh(scene, name)
        mine, edge = (shape == number) & (kind > 0), kind == EDGE
        wall, place = (mine & ~edge).unsqueeze(-1), place.double().cpu()
        # Walls are known as the scene was opened, edges as they stood when they were found.
        shift = (
            shift + wall * (place - before) + (mine & edge).unsqueeze(-1) * (place - found.objects.get(name, before))
        )
    return shift


def _filled(values: Float[Tensor, "_ ..."], count: int) -> Float[Tensor, "_ ..."]:
    """With the last row repeated until there are `count`."""
    return torch.cat([values, values[-1:].expand(count - len(values), *values.shape[1:])])


def _materials(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in given.items() if name.startswith("material/")}


def _objects(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in given.items() if name.startswith("object/")}


def _in_drjit(given: Mapping[str, Tensor]) -> dict[str, mi.TensorXf]:
    return {name: mi.TensorXf(v.detach().reshape(-1).float().cpu().numpy()) for name, v in given.items()}


def elements(scene: rt.Scene, ends: Endpoints, wavelength: float) -> Float[Tensor, "cell antenna 3"]:
    """Offsets of every cell's antennas from its position in metres."""
    place = torch.from_numpy(scene.tx_array.normalized_positions.numpy()).T.float() * wavelength
    return torch.einsum("cij,aj->cai", rotation(ends.source_turn), place)


def _no_paths(ends: Endpoints, inputs: list[Tensor], receive: int, transmit: int) -> PathSet:
    """Nothing, which yet has a gradient of zero."""
    none = sum((v.sum() * 0 for v in inputs), torch.zeros(())).expand(1)[:0]
    index = torch.zeros(0, dtype=torch.long)
    vector = none[:, None].expand(0, 3)
    field = torch.complex(none, none)[:, None, None].expand(0, receive, transmit)
    ends_of = (len(ends.target), len(ends.source), index, index)
    return PathSet(*ends_of, none, none, vector, vector, none, index[:, None].expand(0, 4), field)


def _drjit(ends: Endpoints) -> sionna_internals.DrJitEndpoints:
    points = [mi.Float(column.detach().float().cpu().contiguous().numpy()) for column in ends.columns()]
    return sionna_internals.DrJitEndpoints(*(mi.Point3f(*points[3 * k : 3 * k + 3]) for k in range(4)))


def in_order(parts: list[tuple[Int[Tensor, " _"], PathSet]], receivers: int) -> PathSet:
    """One set of all batches' paths, with the receivers as they were asked for."""
    index = torch.cat([part for part, _ in parts])
    joined = PathSet.cat([found for _, found in parts])
    return replace(joined, receivers=receivers, target=index[joined.target])
