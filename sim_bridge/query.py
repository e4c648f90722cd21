"""One question to the ray tracer: find the paths between end points, then evaluate them with gradients."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge import adapter, parameters
from sim_bridge.atlas import Atlas
from sim_bridge.buffers import interactions, labels, rows
from sim_bridge.facets import Facets
from sim_bridge.links import PathSet, radiated, rotation
from sim_bridge.wrap import LOCK, bridged


@dataclass(frozen=True, eq=False)
class Ends:
    """End points in torch: positions in metres, turns in Sionna's three angles (radians)."""

    target: Float[Tensor, "n 3"]
    target_turn: Float[Tensor, "n 3"]
    source: Float[Tensor, "cell 3"]
    source_turn: Float[Tensor, "cell 3"]

    def columns(self) -> list[Tensor]:
        """Coordinate by coordinate, as Dr.Jit has them."""
        ends = (self.source, self.source_turn, self.target, self.target_turn)
        return [axis for end in ends for axis in end.unbind(-1)]

    def padded(self, count: int) -> "Ends":
        """With the last receiver repeated until there are `count`."""
        fill = lambda v: torch.cat([v, v[-1:].expand(count - len(v), 3)])  # noqa: E731
        return replace(self, target=fill(self.target), target_turn=fill(self.target_turn))


@dataclass(frozen=True, eq=False)
class Resolved:
    """Paths that were found, ready to be evaluated: `count` rows of `buffer` are real."""

    buffer: adapter.PathsBuffer
    count: int
    plan: adapter.Search


Chains = tuple[Int[Tensor, " path"], Int[Tensor, " path"], Int[Tensor, "path depth"]]
"""Receivers, cells and walls, as an atlas keeps them."""


class Truncated(Exception):
    """A search had more candidates than its buffer holds."""


def from_atlas(scene: rt.Scene, facets: Facets, atlas: Atlas, ends: Ends, plan: adapter.Search) -> Resolved:
    """The paths among the chains that an atlas keeps for the receivers' surroundings."""
    return from_chains(scene, facets, atlas.candidates(ends.target.detach()), ends, plan)


def from_chains(scene: rt.Scene, facets: Facets, candidates: Chains, ends: Ends, plan: adapter.Search) -> Resolved:
    """The paths among chains of walls that are worth trying."""
    target, source, walls = candidates
    kind = torch.where(walls > 1, adapter.SPECULAR, torch.where(walls == 1, adapter.REFRACTION, adapter.NONE))
    facet = torch.from_numpy(facets.first)[(walls - 2).clamp(min=0)]
    shape, primitive, corner = (torch.from_numpy(v)[facet] for v in (facets.shape, facets.primitive, facets.corner))
    with LOCK:
        buffer = adapter.from_chains(target, source, kind, shape, primitive, corner[..., 0, :])
        return Resolved(*adapter.resolve(scene, facets.base, buffer, _drjit(ends), False), plan)


def chains(found: Resolved, facets: Facets) -> Chains:
    """Receiver, cell and walls of the paths, as an atlas keeps them: those without edges and scattering."""
    if not found.count:  # Dr.Jit compares no empty arrays
        none = torch.zeros(0, dtype=torch.long)
        return none, none, none.view(0, found.plan.max_depth)
    with LOCK:
        target, source = labels(found.buffer, found.count)
        kind, shape, primitive = rows(found.buffer, found.count)
    plane = torch.from_numpy(facets.plane)[torch.from_numpy(facets.base)[shape] + primitive]
    mirror, gone = kind == adapter.SPECULAR, kind == adapter.REFRACTION
    walls = torch.where(mirror, plane + 2, torch.where(gone, 1, 0))
    plain = (mirror | gone | (kind == adapter.NONE)).all(1)
    return target[plain], source[plain], walls[plain]


def searched(
    scene: rt.Scene, facets: Facets, ends: Ends, plan: adapter.Search, given: Mapping[str, Tensor]
) -> Resolved:
    """The paths that Sionna's search finds. Raises `Truncated` where they do not fit."""
    count, cells = len(ends.target), len(ends.source)
    # Few widths, so that few kernels are compiled.
    where = _drjit(ends.padded(1 << (count - 1).bit_length()))
    scenery = _of_scene(given)
    values = {name: mi.TensorXf(v.detach().reshape(-1).float().cpu().numpy()) for name, v in scenery.items()}
    with LOCK, parameters.standing(scene, values):
        with dr.suspend_grad():
            buffer = adapter.search(scene, where, plan)
        if adapter.truncated(buffer, cells, plan):
            raise Truncated
        adapter.drop_targets(buffer, count)
        return Resolved(*adapter.resolve(scene, facets.base, buffer, where, plan.diffraction), plan)


def evaluated(
    scene: rt.Scene,
    found: Resolved,
    ends: Ends,
    given: Mapping[str, Tensor],
    wavelength: float,
    refit: bool = True,
    silent: bool = False,
) -> PathSet:
    """What the paths carry, differentiable in the ends and in the parameters that are given.

    With `silent` paths without power stay, so that the rows are those of the buffer.
    """
    learned = _of_scene(given)
    inputs = [*ends.columns(), *(value.reshape(-1) for value in learned.values())]
    transmit, receive = (len(array.antenna_pattern.patterns) for array in (scene.tx_array, scene.rx_array))
    if not found.count:
        return _no_paths(ends, inputs, receive, transmit)

    def fields(*columns: mi.TensorXf) -> list[mi.TensorXf]:
        points = [mi.Point3f(*(c.array for c in columns[3 * k : 3 * k + 3])) for k in range(4)]
        # Dr.Jit would run the materials' code again in the backward pass, when the scene has been put back: gradients
        # of zero, silently (and new kernels for every call, 3 s instead of 0.05 s). So each runs by itself, now.
        at_once = dr.scoped_set_flag(dr.JitFlag.SymbolicCalls, not learned)
        with parameters.standing(scene, dict(zip(learned, columns[12:], strict=True))), at_once:
            return adapter.evaluate(scene, found.buffer, found.count, adapter.Ends(*points), found.plan, refit)

    with LOCK:
        real, imag, delay, *rest = bridged(fields, inputs)
        target, source = labels(found.buffer, found.count)
        kinds = interactions(found.buffer, found.count)
    shape = (found.count, receive, transmit)
    cut = lambda values: values.view(-1, found.buffer.buffer_size)[:, : found.count]  # noqa: E731
    departure, arrival = cut(rest[0]).T, cut(rest[1]).T
    element = elements(scene, ends, wavelength)[source]
    real, imag = (cut(part).T.reshape(shape) for part in (real, imag))
    power = radiated(real, imag, departure, element, wavelength)
    doppler = rest[2][: found.count]
    if "ue_velocity" in given:
        doppler = doppler + (given["ue_velocity"][target] * arrival).sum(-1) / wavelength
    # Of near-coplanar walls only one gives a path in the end; what antennas do not hear at all is none either.
    kept = ((power.detach() > 0) | silent).nonzero()[:, 0]
    rows = (target, source, power, delay[: found.count], departure, arrival, doppler, kinds, torch.complex(real, imag))
    return PathSet(len(ends.target), len(ends.source), *(values[kept] for values in rows))


def _of_scene(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of materials and objects."""
    return {name: value for name, value in given.items() if "/" in name}


def elements(scene: rt.Scene, ends: Ends, wavelength: float) -> Float[Tensor, "cell antenna 3"]:
    """Offsets of every cell's antennas from its position in metres."""
    place = torch.from_numpy(scene.tx_array.normalized_positions.numpy()).T.float() * wavelength
    return torch.einsum("cij,aj->cai", rotation(ends.source_turn), place)


def _no_paths(ends: Ends, inputs: list[Tensor], receive: int, transmit: int) -> PathSet:
    """Nothing, which yet has a gradient of zero."""
    none = sum((v.sum() * 0 for v in inputs), torch.zeros(())).expand(1)[:0]
    index = torch.zeros(0, dtype=torch.long)
    vector = none[:, None].expand(0, 3)
    field = torch.complex(none, none)[:, None, None].expand(0, receive, transmit)
    ends_of = (len(ends.target), len(ends.source), index, index)
    return PathSet(*ends_of, none, none, vector, vector, none, index[:, None].expand(0, 4), field)


def _drjit(ends: Ends) -> adapter.Ends:
    points = [mi.Float(column.detach().float().cpu().contiguous().numpy()) for column in ends.columns()]
    return adapter.Ends(*(mi.Point3f(*points[3 * k : 3 * k + 3]) for k in range(4)))


def in_order(parts: list[tuple[Int[Tensor, " _"], PathSet]], receivers: int) -> PathSet:
    """One set of all batches' paths, with the receivers as they were asked for."""
    index = torch.cat([part for part, _ in parts])
    joined = PathSet.cat([found for _, found in parts])
    return replace(joined, receivers=receivers, target=index[joined.target])
