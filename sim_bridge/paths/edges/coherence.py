"""The power of paths that continue one another where a wave is cut off by an edge.

Gains are sums of powers: phases of different waves are those of the moment. But the wave that an edge sends out is the
rest of the one that it cuts off: at the boundary of the shadow it has half that wave's amplitude and the opposite
phase, and the field changes from 1 to 1/2 without a jump, while powers would add up to 1.25 on one side and 0.25 on the
other. So a path around an edge is added as a field to the paths that it continues, which are the same path without the
edge (boundary of the shadow) and with a reflection off one of the edge's faces in its place (boundaries of reflection),
and as a power to all others.

How much of it is decided by lengths: with all its field (weight 1) where it is as long as the path that it continues,
which is the boundary, with none where it is several waves longer. Weights of one path add up to at most 1, so that
powers stay positive, whatever the number of edges. The length of a path that is blocked is that of its image. A path
around two edges continues, in the same way, those around one of them, and through them what these continue.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float64, Int
from torch import Tensor

from sim_bridge.backend.unique_rows import unique_rows
from sim_bridge.chains.wedges import COHERENCE_LENGTH
from sim_bridge.paths.image_method import (
    EDGE,
    MIRROR,
    SCATTER,
    THROUGH,
    InteractionPlanes,
    mirrored_source,
    path_lengths,
    turning_points,
)

BOUNDARY_DETOUR = 1e-3  # waves: below, the path continues this one alone
FAR_DETOUR = 100.0  # waves: no interference, and no overflow
MIN_WEIGHT = 1e-16  # below, a field adds nothing in double precision, and its power's derivative overflows


@dataclass(frozen=True, eq=False)
class LinkPaths:
    """Geometry and fields of all paths of some links."""

    link: Int[Tensor, " row"]
    planes: InteractionPlanes
    plane: Int[Tensor, "row depth"]
    """number of each wall's plane"""
    face_normal: Float64[Tensor, "row edge face 3"]
    """of the first edge, and of the second one if there is any, out of the solid"""
    face_plane: Int[Tensor, "row edge face"]
    face_triangle: Int[Tensor, "row edge face"]
    """by which edges are told apart"""
    source: Float64[Tensor, "row 3"]
    target: Float64[Tensor, "row 3"]
    length: Float64[Tensor, " row"]
    """m"""
    field: Complex[Tensor, "row receive"]
    """without the phase of the length"""

    def around_one(self, row: Int[Tensor, " pair"], edge: int) -> "LinkPaths":
        """The ways around the first (0) or second (1) edge alone of paths around two."""
        kind = torch.zeros_like(self.planes.kind[row])
        kind[:, 0] = EDGE
        corner, axis = (v[row, edge, None].expand(*kind.shape, 3) for v in (self.planes.corner, self.planes.axis))
        planes = InteractionPlanes(kind, corner, axis, self.planes.fixed[row])
        source, target = self.source[row], self.target[row]
        length = path_lengths(turning_points(planes, source, target), source, target)
        faces = self.face_normal, self.face_plane, self.face_triangle
        normal, plane, triangle = (values[row, edge, None] for values in faces)
        ways = self.link[row], planes, self.plane[row]
        return LinkPaths(*ways, normal, plane, triangle, source, target, length, self.field[row])


Entries = tuple[Int[Tensor, " entry"], Int[Tensor, "entry column"], Float64[Tensor, " entry"]]
"""Row of a path, key of a wave that it is a part of, and the weight of the path's field in it."""


def power_factors(paths: LinkPaths, wavelength: float) -> Float64[Tensor, " row"]:
    """Factors of the paths' powers, whose sums over a link are those of fields where paths continue one another.

    What two paths lose or gain together is shared between them by their powers.
    """
    edges = (paths.planes.kind == EDGE).sum(1)
    plain, single, pair = ((edges == count).nonzero()[:, 0] for count in (0, 1, 2))
    entries: list[Entries] = [(plain, _key(paths, plain, _codes(paths, plain)), torch.ones_like(paths.length[plain]))]
    entries.append(_of_singles(paths, single, wavelength))
    if len(pair):
        entries += [_of_itself(paths, single, entries[-1][2]), *_of_pairs(paths, pair, wavelength)]
    row, key, weight = (torch.cat([entry[k] for entry in entries]) for k in range(3))
    waves, wave = (torch.from_numpy(v) for v in unique_rows(key.numpy()))
    # A pair may continue one wave by way of both of its edges: one weight for each path and wave.
    first, index = (torch.from_numpy(v) for v in unique_rows(torch.stack([row, wave], 1).numpy()))
    weight = torch.zeros(len(first), dtype=torch.float64, device="cpu").index_add(0, index, weight)
    kept = weight > MIN_WEIGHT
    row, wave, weight = row[first][kept], wave[first][kept], weight[kept]
    ratio = _interference(paths, row, wave, weight, len(waves), wavelength)
    nothing = torch.zeros_like(paths.length)
    rest = 1 - nothing.index_add(0, row, weight.square())
    return rest + nothing.index_add(0, row, weight.square() * ratio[wave])


def _interference(
    paths: LinkPaths,
    row: Int[Tensor, " entry"],
    wave: Int[Tensor, " entry"],
    weight: Float64[Tensor, " entry"],
    waves: int,
    wavelength: float,
) -> Float64[Tensor, " wave"]:
    """Power of the sum of fields over the sum of powers, of each wave; 1 where one path makes it."""
    phase = -2 * torch.pi / wavelength * paths.length
    field = (weight[:, None] * (paths.field * torch.polar(torch.ones_like(phase), phase)[:, None])[row]).to(
        torch.complex128
    )
    total = torch.zeros(waves, field.shape[1], dtype=field.dtype, device="cpu").index_add(0, wave, field)
    power = torch.zeros(waves, dtype=torch.float64, device="cpu").index_add(0, wave, _power(field))
    alone = (torch.bincount(wave, minlength=waves) == 1) | (power <= 0)
    return torch.where(alone, 1.0, _power(total) / torch.where(alone, 1.0, power))


def _power(field: Complex[Tensor, "row receive"]) -> Float64[Tensor, " row"]:
    return (field.real.square() + field.imag.square()).sum(-1)


def _of_singles(paths: LinkPaths, edge: Int[Tensor, " path"], wavelength: float) -> Entries:
    """The waves that paths around one edge continue: the path without it, and those that its faces reflect."""
    planes, source = _rows(paths.planes, edge).trimmed(), paths.source[edge]
    at_edge = planes.kind == EDGE
    codes, unscattered = _codes(paths, edge)[:, : at_edge.shape[1]], ~(planes.kind == SCATTER).any(1)
    keys, detours = [], []
    for face in (None, 0, 1):
        if face is None:
            kind, axis, code = torch.where(at_edge, 0, planes.kind), planes.axis, codes
            lit = unscattered
        else:
            normal = paths.face_normal[edge, 0, face]
            kind = torch.where(at_edge, MIRROR, planes.kind)
            axis = torch.where(at_edge[..., None], normal[:, None], planes.axis)
            code = torch.where(at_edge, paths.face_plane[edge, 0, face, None] + 1, codes)
            lit = unscattered & _in_front(planes, at_edge, normal, source)
        image = mirrored_source(replace(planes, kind=kind, axis=axis), source)
        keys.append(_key(paths, edge, code))
        detour = (paths.length[edge] - (image - paths.target[edge]).norm(dim=-1)) / wavelength
        detours.append(torch.where(lit, detour.clamp(0, FAR_DETOUR), FAR_DETOUR))
    return edge.repeat_interleave(3), torch.stack(keys, 1).flatten(0, 1), _weights(torch.stack(detours, 1)).flatten()


def _of_itself(paths: LinkPaths, edge: Int[Tensor, " path"], weight: Float64[Tensor, " wave"]) -> Entries:
    """What is left of paths around one edge: a wave of its own, which pairs of edges continue."""
    own = (1 - weight.view(-1, 3).square().sum(1)).clamp(min=1e-12).sqrt()
    alone = (paths.planes.kind[edge] > 0).sum(1) == 1
    return edge, _own_key(paths, edge), torch.where(alone, own, 0.0)


def _of_pairs(paths: LinkPaths, pair: Int[Tensor, " path"], wavelength: float) -> list[Entries]:
    """The waves that paths around two edges continue: those of the ways around one of them."""
    ways = [paths.around_one(pair, edge) for edge in (0, 1)]
    detours = [((paths.length[pair] - way.length) / wavelength).clamp(0, FAR_DETOUR) for way in ways]
    entries = []
    for way, share in zip(ways, _weights(torch.stack(detours, 1)).unbind(1), strict=True):
        index = torch.arange(len(pair), device="cpu")
        of_way = _of_singles(way, index, wavelength)
        for row, key, weight in (of_way, _of_itself(way, index, of_way[2])):
            entries.append((pair[row], key, share[row] * weight))
    return entries


def _weights(detour: Float64[Tensor, "path wave"]) -> Float64[Tensor, "path wave"]:
    """Weights of a path in the waves that it continues, by its detours in waves: 1 in one of them at its boundary."""
    near = 1 / (detour.square() + BOUNDARY_DETOUR**2)
    return near / near.sum(1, keepdim=True) * (-(detour / COHERENCE_LENGTH).square()).exp()


def _own_key(paths: LinkPaths, index: Int[Tensor, " path"]) -> Int[Tensor, "path column"]:
    """Link and edge, like no key of walls."""
    low, high = paths.face_triangle[index, 0].sort(dim=1).values.unbind(1)
    code = torch.zeros_like(paths.planes.kind[index])
    code[:, 0] = high + 1
    return torch.cat([paths.link[index, None], -1 - low[:, None], code], 1)


def _in_front(
    planes: InteractionPlanes,
    at_edge: Bool[Tensor, "path depth"],
    normal: Float64[Tensor, "path 3"],
    source: Float64[Tensor, "path 3"],
) -> Bool[Tensor, " path"]:
    """Whether the wave that comes to the edge comes from in front of one of its faces."""
    level = at_edge.int().argmax(1)
    kind = torch.where(torch.arange(at_edge.shape[1], device="cpu") < level[:, None], planes.kind, 0)
    image = mirrored_source(replace(planes, kind=kind), source)
    corner = planes.corner[torch.arange(len(level), device="cpu"), level]
    return ((image - corner) * normal).sum(-1) > 0


def _rows(planes: InteractionPlanes, index: Int[Tensor, " path"]) -> InteractionPlanes:
    return InteractionPlanes(planes.kind[index], planes.corner[index], planes.axis[index], planes.fixed[index])


def _codes(paths: LinkPaths, index: Int[Tensor, " path"]) -> Int[Tensor, "path depth"]:
    """Walls that paths meet, one number each: positive where they reflect, negative where they are passed; 0: none."""
    kind, wall = paths.planes.kind[index], paths.plane[index] + 1
    return torch.where(kind == MIRROR, wall, torch.where(kind == THROUGH, -wall, 0))


def _key(paths: LinkPaths, index: Int[Tensor, " path"], code: Int[Tensor, "path depth"]) -> Int[Tensor, "path column"]:
    """Link and walls in their order: alike for paths that differ by an edge. A scattered path is like no other. `code`
    may lack the last levels, at which these paths meet nothing."""
    code = torch.nn.functional.pad(code, (0, paths.plane.shape[1] - code.shape[1]))
    order = (code == 0).int().argsort(dim=1, stable=True)
    scattered = (paths.planes.kind[index] == SCATTER).any(1)
    return torch.cat([paths.link[index, None], torch.where(scattered, index + 1, 0)[:, None], code.gather(1, order)], 1)
