"""Find the paths between endpoints, then evaluate them with gradients."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sim_bridge.backend import sionna_internals
from sim_bridge.backend.candidate_buffers import around_edges, joined
from sim_bridge.backend.path_buffers import interaction_counts, to_drjit
from sim_bridge.backend.torch_drjit import LOCK, call_drjit
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.edges import DiffractionEdges
from sim_bridge.chains.facets import Facets
from sim_bridge.chains.wedges import sionna_wedges
from sim_bridge.paths.atlas_candidates import Chains, atlas_candidates, atlas_pairs, chain_candidates
from sim_bridge.paths.edges.coherence import LinkPaths, power_factors
from sim_bridge.paths.edges.edge_pairs import EdgePairs, edge_pairs, ends_of
from sim_bridge.paths.edges.edge_search import at_edges_of_scene, edge_paths
from sim_bridge.paths.effects.object_motion import moved_objects, shift_by_objects, shift_by_velocities
from sim_bridge.paths.effects.vegetation import foliage_gain
from sim_bridge.paths.image_method import EDGE, path_lengths
from sim_bridge.paths.path_set import PathSet, radiated_field, radiated_power
from sim_bridge.paths.resolved_paths import ResolvedPaths
from sim_bridge.scene import scene_parameters
from sim_bridge.scene.endpoints import Endpoints, repeat_last_row
from sim_bridge.scene.radio_scene import RadioScene
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.precision import full_precision


class SearchOverflow(Exception):
    """A search had more candidates than its buffer holds."""


def from_atlas(
    scene: RadioScene, atlas: Atlas, endpoints: Endpoints, search: sionna_internals.PathSearch
) -> ResolvedPaths:
    """The paths among what an atlas keeps for the receivers' surroundings."""
    ends = _drjit(endpoints)
    with LOCK:
        buffer = atlas_candidates(scene, atlas, endpoints, ends, search)
        resolved = sionna_internals.resolve(scene.rt_scene, scene.facets.base, buffer, ends, search.diffraction)
        paths = ResolvedPaths(*resolved, search, by_scatterers=search.scattering)
        if not scene.tracing.pairs_of_edges:
            return paths
        return _with_pairs(scene, paths, atlas_pairs(scene, atlas, endpoints))


def from_chains(
    scene: RadioScene, candidates: Chains, endpoints: Endpoints, search: sionna_internals.PathSearch
) -> ResolvedPaths:
    """The paths among chains of walls that are worth trying."""
    ends = _drjit(endpoints)
    with LOCK:
        buffer = chain_candidates(scene, candidates, ends, False)
        resolved = sionna_internals.resolve(scene.rt_scene, scene.facets.base, buffer, ends, False)
        return ResolvedPaths(*resolved, search)


def chains_of(paths: ResolvedPaths, facets: Facets) -> Chains:
    """Receiver, cell and walls of the paths, as an atlas keeps them: those without edges and scattering."""
    if not paths.count:  # Dr.Jit compares no empty arrays
        none = torch.zeros(0, dtype=torch.long, device="cpu")
        return none, none, none.view(0, paths.search.max_depth)
    with LOCK:
        (target, source), (kind, shape, primitive) = paths.receiver_and_cell, paths.surfaces
    plane = torch.from_numpy(facets.plane)[facets.number(shape, primitive)]
    mirror, through = kind == sionna_internals.SPECULAR_REFLECTION, kind == sionna_internals.REFRACTION
    walls = torch.where(mirror, plane + 2, torch.where(through, 1, 0))
    plain = (mirror | through | (kind == sionna_internals.NONE)).all(1)
    return target[plain], source[plain], walls[plain]


def search_paths(
    scene: RadioScene, endpoints: Endpoints, search: sionna_internals.PathSearch, given: Mapping[str, Tensor]
) -> ResolvedPaths:
    """The paths that Sionna's search finds. Raises `SearchOverflow` where they do not fit."""
    rt_scene, count, cells = scene.rt_scene, len(endpoints.target), len(endpoints.source)
    # Few widths, so that few kernels are compiled.
    padded = _drjit(endpoints.padded(1 << (count - 1).bit_length()))
    values = _in_drjit(_materials(given) | moved_objects(given))
    edges = _moved_edges(scene, given) if search.diffraction and search.max_depth else None
    with LOCK, scene_parameters.temporary_parameters(rt_scene, values):
        with dr.suspend_grad():
            buffer = sionna_internals.search(rt_scene, padded, search)
        if sionna_internals.is_truncated(buffer, cells, search):
            raise SearchOverflow
        sionna_internals.drop_targets(buffer, count)
        if edges is not None:
            found = edge_paths(rt_scene.mi_scene, scene.facets, edges, padded, count, search.max_depth)
            buffer = joined(at_edges_of_scene(buffer, scene.facets, edges), found)
        positions = {name: position.detach().double().cpu() for name, position in moved_objects(given).items()}
        resolved = sionna_internals.resolve(rt_scene, scene.facets.base, buffer, padded, search.diffraction)
        paths = ResolvedPaths(*resolved, search, positions)
        if edges is None or not scene.tracing.pairs_of_edges:
            return paths
        points = (ends_of(endpoints.source), ends_of(endpoints.target))
        return _with_pairs(scene, paths, edge_pairs(rt_scene.mi_scene, edges, *points, scene.boundary_detour))


def _with_pairs(scene: RadioScene, paths: ResolvedPaths, pairs: EdgePairs) -> ResolvedPaths:
    """Paths, and behind them those around pairs of edges."""
    if not len(pairs):
        return paths
    wedges = [sionna_wedges(edges, scene.facets) for edges in (pairs.first, pairs.second)]
    points = [to_drjit(mi.Point3f, turn) for turn in pairs.turn]
    around = around_edges(pairs.target, pairs.source, wedges, points, paths.search.max_depth)
    with dr.suspend_grad():
        both = joined(paths.buffer.gather(dr.arange(mi.UInt, paths.count)), around) if paths.count else around
        buffer = sionna_internals.padded(both, np.arange(both.buffer_size))
    return replace(paths, buffer=buffer, count=both.buffer_size, pairs=pairs)


def _moved_edges(scene: RadioScene, given: Mapping[str, Tensor]) -> DiffractionEdges:
    """The scene's edges where the given objects stand, without those between an object and something else."""
    edges = scene.edges
    for name, value in moved_objects(given).items():
        number, original = scene_parameters.object_mesh(scene.rt_scene, name)
        on_object = scene.facets.shape[edges.triangle] == number
        shift = (value.detach().double().cpu() - original).numpy()
        edges = edges.shifted(on_object.all(1), shift)
        edges = edges.select(np.flatnonzero(on_object.all(1) | ~on_object.any(1)))
    return edges


def re_resolve(
    scene: RadioScene, paths: ResolvedPaths, endpoints: Endpoints, given: Mapping[str, Tensor]
) -> ResolvedPaths:
    """The paths that remain for other endpoints, or with objects elsewhere.

    Whether something blocks a path around an edge is tested where the edge was found, even when it has moved.
    """
    if not paths.count:
        return paths
    single = paths.count - (len(paths.pairs) if paths.pairs else 0)
    with LOCK, scene_parameters.temporary_parameters(scene.rt_scene, _in_drjit(moved_objects(given))):
        resolved = paths.buffer.gather(dr.zeros(mi.UInt, 0)), 0
        if single:
            buffer = sionna_internals.as_candidates(paths.buffer, single)
            resolved = sionna_internals.resolve(
                scene.rt_scene, scene.facets.base, buffer, _drjit(endpoints), paths.search.diffraction
            )
        again = ResolvedPaths(*resolved, paths.search, paths.object_positions, by_scatterers=paths.by_scatterers)
        if not paths.pairs:
            return again
        points = (ends_of(endpoints.source), ends_of(endpoints.target))
        pairs = paths.pairs.free(scene.rt_scene.mi_scene, *points, scene.boundary_detour)
        return _with_pairs(scene, again, pairs)


@full_precision()
def evaluate_paths(
    scene: RadioScene,
    paths: ResolvedPaths,
    endpoints: Endpoints,
    given: Mapping[str, Tensor],
    keep_silent: bool = False,
) -> PathSet:
    """Fields, delays and directions of paths, differentiable in the endpoints and in the parameters that are given.

    With `keep_silent` paths without power stay, so that the rows are those of the buffer. Of several carriers each has
    its fields on the paths of its cells.
    """
    if len(scene.carriers) == 1 or not paths.count:
        found = _evaluate(scene.carriers[0][1], paths, endpoints, given)
    else:
        found = _evaluate_carriers(scene, paths, endpoints, given)
    # Of near-coplanar walls only one gives a path in the end; a path that no antenna receives is none either.
    return found if keep_silent else found.select((found.power.detach() > 0).nonzero()[:, 0])


def _evaluate_carriers(
    scene: RadioScene, paths: ResolvedPaths, endpoints: Endpoints, given: Mapping[str, Tensor]
) -> PathSet:
    device, parts, order = endpoints.target.device, list[PathSet](), list[Tensor]()
    for number, (cells, part) in enumerate(scene.carriers):
        own = replace(endpoints, **{n: getattr(endpoints, n)[cells] for n in ("source", "source_orientation")})
        rows, of_carrier = paths.of_carrier(number, cells)
        of_cells = {name: value[cells] for name, value in given.items() if name in scene_parameters.CELL_PARAMETERS}
        if len(rows):
            found = _evaluate(part, of_carrier, own, {**given, **of_cells}, part.on_its_carrier)
            parts.append(replace(found, cells=len(endpoints.source), source=cells.to(device)[found.source]))
            order.append(rows)
    return PathSet.of_same_links(parts).select(torch.cat(order).argsort().to(device))


def _evaluate(
    scene: RadioScene,
    paths: ResolvedPaths,
    endpoints: Endpoints,
    given: Mapping[str, Tensor],
    within: Callable[[], AbstractContextManager] = nullcontext,
) -> PathSet:
    """All paths of the cells of one carrier, those without power too."""
    rt_scene, wavelength, learned = scene.rt_scene, scene.wavelength, _materials(given)
    with LOCK, within():
        transmit, receive = (len(array.antenna_pattern.patterns) for array in (rt_scene.tx_array, rt_scene.rx_array))
        offsets = scene.antenna_offsets(endpoints)
    if not paths.count:
        return _no_paths(endpoints, [*endpoints.columns(), *given.values()], receive, transmit)
    with LOCK:
        device = endpoints.target.device
        target, source = (index.to(device) for index in paths.receiver_and_cell)
        moved = bool(moved_objects(given))
        planes = paths.planes(scene.facets)
        planes = planes.shifted(shift_by_objects(scene, paths, given)) if moved else planes
        planes, kinds = planes.to(device), interaction_counts(paths.buffer, paths.count).to(device)
        wedges = paths.wedges(scene)
    first, last = endpoints.source[source].double(), endpoints.target[target].double()
    vertex, departure, arrival = paths.unfold(planes, first, last, moved)
    columns = [axis.reshape(-1) for axis in repeat_last_row(vertex.float(), paths.buffer.buffer_size).unbind(-1)]
    inputs = [*endpoints.columns(), *columns, *(value.reshape(-1) for value in learned.values())]

    def fields(*arrays: mi.TensorXf) -> list[mi.TensorXf]:
        points = [mi.Point3f(*(c.array for c in arrays[3 * k : 3 * k + 3])) for k in range(4)]
        # Dr.Jit would run the materials' code again in the backward pass, when the scene has been put back: gradients
        # of zero, silently (and new kernels for every call, 3 s instead of 0.05 s). So each runs by itself, now.
        at_once = dr.scoped_set_flag(dr.JitFlag.SymbolicCalls, not learned)
        turning = [column.array for column in arrays[12:15]]
        with scene_parameters.temporary_parameters(rt_scene, dict(zip(learned, arrays[15:], strict=True))), at_once:
            return sionna_internals.evaluate(
                rt_scene, paths.buffer, paths.count, sionna_internals.DrJitEndpoints(*points), turning, paths.search,
                wedges, paths.edge_levels,
            )  # fmt: skip

    with LOCK:
        real, imag, doppler = call_drjit(fields, inputs, within)
    length = path_lengths(vertex, first, last)
    shape = (paths.count, receive, transmit)
    real, imag = (v.view(-1, paths.buffer.buffer_size)[:, : paths.count].T.reshape(shape) for v in (real, imag))
    antennas = offsets[source]
    weights = given["beam_weights"][source] if "beam_weights" in given else None
    power = radiated_power(real, imag, departure, antennas, wavelength, weights)
    gain = scene.own_gains(endpoints, source, departure) if scene.has_own_gains else None
    if paths.by_scatterers:
        light = planes.illumination(first).to(power.dtype)
        gain = light if gain is None else gain * light
    if scene.foliage is not None:
        foliage = foliage_gain(scene.foliage, given, (first, vertex, last)).to(power.dtype)
        gain = foliage if gain is None else gain * foliage
    if gain is not None:
        power, root = power * gain, gain.sqrt()[:, None, None]
        real, imag = real * root, imag * root
    if bool((planes.kind == EDGE).any()):
        field = radiated_field(real, imag, departure, antennas, wavelength, weights)
        link, ends = target * len(endpoints.source) + source, (first.cpu(), last.cpu())
        walls = paths.wall_planes(scene.facets)
        lines = LinkPaths(link.cpu(), planes.to(torch.device("cpu")), *walls, *ends, length.cpu(), field.cpu())
        power = power * power_factors(lines, wavelength).float().to(device)
    doppler = doppler[: paths.count] + shift_by_velocities(
        scene, paths, given, (first.cpu(), vertex.cpu(), last.cpu())
    ).to(device)
    if "ue_velocity" in given:
        doppler = doppler + (given["ue_velocity"][target] * arrival).sum(-1) / wavelength
    if "cell_velocity" in given:
        doppler = doppler + (given["cell_velocity"][source] * departure).sum(-1) / wavelength
    delay, field = length / SPEED_OF_LIGHT, torch.complex(real, imag)
    rows = (target, source, power, delay, departure, arrival, doppler, kinds, field)
    return PathSet(len(endpoints.target), len(endpoints.source), *rows)


def _materials(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in given.items() if name.startswith("material/")}


def _in_drjit(given: Mapping[str, Tensor]) -> dict[str, mi.TensorXf]:
    return {name: mi.TensorXf(v.detach().reshape(-1).float().cpu().numpy()) for name, v in given.items()}


def _no_paths(endpoints: Endpoints, inputs: list[Tensor], receive: int, transmit: int) -> PathSet:
    """An empty set of paths whose gradient with respect to all inputs is zero."""
    none = sum((v.sum() * 0 for v in inputs), torch.zeros((), device=endpoints.target.device)).expand(1)[:0]
    index = torch.zeros(0, dtype=torch.long, device=none.device)
    vector = none[:, None].expand(0, 3)
    field = torch.complex(none, none)[:, None, None].expand(0, receive, transmit)
    links = (len(endpoints.target), len(endpoints.source), index, index)
    return PathSet(*links, none, none.double(), vector, vector, none, index[:, None].expand(0, 4), field)


def _drjit(endpoints: Endpoints) -> sionna_internals.DrJitEndpoints:
    points = [mi.Float(column.detach().float().cpu().contiguous().numpy()) for column in endpoints.columns()]
    return sionna_internals.DrJitEndpoints(*(mi.Point3f(*points[3 * k : 3 * k + 3]) for k in range(4)))


def in_order(parts: list[tuple[Int[Tensor, " _"], PathSet]], receivers: int) -> PathSet:
    """One set of all batches' paths, with the receivers in the order of the positions."""
    joined = PathSet.cat([paths for _, paths in parts])
    index = torch.cat([part for part, _ in parts]).to(joined.target.device)
    return replace(joined, receivers=receivers, target=index[joined.target])
