"""The turning points of paths: the image method in PyTorch, with all derivatives.

Sionna's image method decides which chains of walls are paths (`sionna_internals.resolve`). This one computes where such
a path meets its walls for given endpoints, differentiable in the endpoints and in whatever moves the walls: the source
is mirrored in one wall after the other, and the path is followed back from the target towards the images (Borish,
"Extension of the image model to arbitrary polyhedra", J. Acoust. Soc. Am. 75, 1984). Over an edge the path is the
shortest one (Keller, "Geometrical theory of diffraction", J. Opt. Soc. Am. 52, 1962). In float64: at 28 GHz a
millimetre is a tenth of a wave.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int
from sionna.rt.constants import InteractionType
from torch import Tensor

from sim_bridge.chains.scatterers import DISC_AREA

MIRROR, SCATTER, THROUGH, EDGE = (
    InteractionType.SPECULAR,
    InteractionType.DIFFUSE,
    InteractionType.REFRACTION,
    InteractionType.DIFFRACTION,
)
STEPS_ON_EDGES = 12  # of Newton's, to where the shortest way touches two edges: the length is convex in both
MIN_SQUARED_DISTANCE = 1e-24  # m²: under roots of squared distances, so that their derivatives stay finite


@dataclass(frozen=True, eq=False)
class InteractionPlanes:
    """Walls and edges that each path meets, in order from its source: at most one edge a path, or two edges and
    nothing else."""

    kind: Int[Tensor, "row depth"]
    """Sionna's interaction types; 0 where the path has no more"""
    corner: Float64[Tensor, "row depth 3"]
    """a point of the wall or of the edge, m"""
    axis: Float64[Tensor, "row depth 3"]
    """unit normal of the wall, direction of the edge"""
    fixed: Float64[Tensor, "row depth 3"]
    """where the path was found to meet it, m: scattered paths and what comes before the last scattering stay there"""

    def shifted(self, shift: Float64[Tensor, "row depth 3"]) -> "InteractionPlanes":
        """Planes with walls and edges moved by `shift` in metres."""
        return replace(self, corner=self.corner + shift)

    def trimmed(self) -> "InteractionPlanes":
        """Without the last levels, at which no path meets anything; the first one stays."""
        used = max(int((self.kind > 0).any(0).sum()), 1)
        return InteractionPlanes(*(v[:, :used] for v in (self.kind, self.corner, self.axis, self.fixed)))

    def to(self, device: torch.device) -> "InteractionPlanes":
        """The planes on a device."""
        return InteractionPlanes(*(values.to(device) for values in (self.kind, self.corner, self.axis, self.fixed)))

    def illumination(self, source: Float64[Tensor, "row 3"]) -> Float64[Tensor, " row"]:
        """Solid angle (sr) in which a source sees each m² of the surface that a path is scattered at first; 1 where its
        first interaction is another one."""
        scattered = self.kind[:, 0] == SCATTER
        line = torch.where(scattered[:, None], source - self.fixed[:, 0], 1.0)
        squared = line.square().sum(-1)
        angle = (line * self.axis[:, 0]).sum(-1).abs() / (squared.sqrt() * (squared + DISC_AREA))
        return torch.where(scattered, angle, 1.0)

    def free(self) -> Bool[Tensor, "row depth"]:
        """Behind the last scattering."""
        return (self.kind == SCATTER).flip(1).cumsum(1).flip(1) == 0


def turning_points(
    planes: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"]
) -> Float64[Tensor, "row depth 3"]:
    """Point of each interaction in metres; after the last interaction that point again, or the target if there is
    none."""
    images = _images(planes, source)
    if bool((planes.kind == EDGE).any()):
        images = _over_edges(planes, images, target)
    ahead, points, solved = target, [], planes.free()
    for level in reversed(range(planes.kind.shape[1])):
        kind, free = planes.kind[:, level, None], solved[:, level, None]
        hit = _crossing(planes, level, ahead, images[level], ((kind == MIRROR) | (kind == THROUGH)) & free)
        point = torch.where(kind == EDGE, images[level], hit)
        point = torch.where(free, point, planes.fixed[:, level])
        ahead = torch.where(kind > 0, point, ahead)
        points.append(ahead)
    solution = torch.stack(points[::-1], 1)
    pair = ((planes.kind == EDGE).sum(1) == 2).nonzero()[:, 0]
    return solution.index_copy(0, pair, _on_pairs(planes, pair, source, target)) if len(pair) else solution


def _on_pairs(
    planes: InteractionPlanes, row: Int[Tensor, " pair"], source: Float64[Tensor, "row 3"], target: Tensor
) -> Float64[Tensor, "pair depth 3"]:
    """Turning points of the paths around two edges."""
    corner, axis = planes.corner[row], planes.axis[row]
    lines = (corner[:, 0], axis[:, 0], corner[:, 1], axis[:, 1])
    along = points_on_two_edges(source[row], target[row], *lines)
    first, second = (corner[:, k] + along[:, k, None] * axis[:, k] for k in (0, 1))
    return torch.stack([first, *[second] * (planes.kind.shape[1] - 1)], 1)


def points_on_two_edges(
    source: Float64[Tensor, "row 3"],
    target: Float64[Tensor, "row 3"],
    first: Float64[Tensor, "row 3"],
    first_axis: Float64[Tensor, "row 3"],
    second: Float64[Tensor, "row 3"],
    second_axis: Float64[Tensor, "row 3"],
) -> Float64[Tensor, "row 2"]:
    """Distances along two lines, from their points `first` and `second`, to where the shortest path by way of both
    touches them, in metres.

    The last of Newton's steps alone is differentiated: at the solution that is the whole derivative (implicit function
    theorem).
    """
    ends = (source, target, first, first_axis, second, second_axis)
    still = tuple(values.detach() for values in ends)
    along = torch.stack([((still[0] - still[2]) * still[3]).sum(-1), ((still[1] - still[4]) * still[5]).sum(-1)], -1)
    for _ in range(STEPS_ON_EDGES):
        gradient, hessian = _slope_of_length(along, *still)
        steps = (along - _solve(hessian, gradient), _one_by_one(along, *still))
        newton, other = (_length(step, *still) for step in steps)
        along = torch.where((newton < other)[:, None], *steps)
    gradient, hessian = _slope_of_length(along, *ends)
    return along - _solve(hessian.detach(), gradient)


def _one_by_one(
    along: Float64[Tensor, "row 2"], source: Tensor, target: Tensor, first: Tensor, first_axis: Tensor, second: Tensor,
    second_axis: Tensor,
) -> Float64[Tensor, "row 2"]:  # fmt: skip
    """The best point of the first line for that of the second one, then the other way round: never a longer way."""
    one = _shortest(source, second + along[:, 1:] * second_axis, first, first_axis)
    return torch.cat([one, _shortest(first + one * first_axis, target, second, second_axis)], 1)


def _length(
    along: Float64[Tensor, "row 2"], source: Tensor, target: Tensor, first: Tensor, first_axis: Tensor, second: Tensor,
    second_axis: Tensor,
) -> Float64[Tensor, " row"]:  # fmt: skip
    one, two = first + along[:, :1] * first_axis, second + along[:, 1:] * second_axis
    return (one - source).norm(dim=-1) + (two - one).norm(dim=-1) + (target - two).norm(dim=-1)


def _slope_of_length(
    along: Float64[Tensor, "row 2"], source: Tensor, target: Tensor, first: Tensor, first_axis: Tensor, second: Tensor,
    second_axis: Tensor,
) -> tuple[Float64[Tensor, "row 2"], Float64[Tensor, "row 3"]]:  # fmt: skip
    """First derivatives of the length by both distances, and second ones (11, 12, 22)."""
    one, two = first + along[:, :1] * first_axis, second + along[:, 1:] * second_axis
    legs = [
        (leg, (leg.square().sum(-1) + MIN_SQUARED_DISTANCE).sqrt()) for leg in (one - source, two - one, target - two)
    ]
    (into, near), (between, middle), (out, far) = [(leg / length[:, None], length) for leg, length in legs]

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(-1)

    def across(unit: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return dot(a, b) - dot(unit, a) * dot(unit, b)

    gradient = torch.stack([dot(into - between, first_axis), dot(between - out, second_axis)], -1)
    return gradient, torch.stack(
        [
            across(into, first_axis, first_axis) / near + across(between, first_axis, first_axis) / middle,
            -across(between, first_axis, second_axis) / middle,
            across(between, second_axis, second_axis) / middle + across(out, second_axis, second_axis) / far,
        ],
        -1,
    )


def _solve(hessian: Float64[Tensor, "row 3"], gradient: Float64[Tensor, "row 2"]) -> Float64[Tensor, "row 2"]:
    """Newton's step."""
    a, b, c = hessian.unbind(-1)
    x, y = gradient.unbind(-1)
    determinant = (a * c - b * b).clamp(min=1e-18)
    return torch.stack([c * x - b * y, a * y - b * x], -1) / determinant[:, None]


def path_lengths(
    vertex: Float64[Tensor, "row depth 3"], source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"]
) -> Float64[Tensor, " row"]:
    """Lengths of paths by way of their turning points (`turning_points`) in metres."""
    points = torch.cat([source[:, None], vertex, target[:, None]], 1)
    # Behind the last interaction points repeat: a root of 0 has no derivative.
    return ((points[:, 1:] - points[:, :-1]).square().sum(-1) + MIN_SQUARED_DISTANCE).sqrt().sum(1)


def mirrored_source(planes: InteractionPlanes, source: Float64[Tensor, "row 3"]) -> Float64[Tensor, "row 3"]:
    """Image of the source in all walls that reflect, m: as far from the target as the path is long, were it free."""
    return _images(planes, source)[-1]


def _images(planes: InteractionPlanes, source: Float64[Tensor, "row 3"]) -> list[Float64[Tensor, "row 3"]]:
    """Images of the source, or of the last scattering, behind each level's wall."""
    scatter = planes.kind == SCATTER
    last = (scatter * torch.arange(1, scatter.shape[1] + 1, device=scatter.device)).argmax(1)
    image = torch.where(
        scatter.any(1, keepdim=True), planes.fixed[torch.arange(len(last), device=last.device), last], source
    )
    images = []
    for level, mirror in enumerate(_mirrors(planes)):
        image = image - mirror * _to_image(planes, level, image)
        images.append(image)
    return images


def _over_edges(
    planes: InteractionPlanes, images: list[Float64[Tensor, "row 3"]], target: Float64[Tensor, "row 3"]
) -> list[Float64[Tensor, "row 3"]]:
    """From the edge on, images of the point where the path crosses it."""
    foot, along, feet = torch.zeros_like(target), torch.zeros_like(target), []
    for level, mirror in enumerate(_mirrors(planes)):
        edge, normal = planes.kind[:, level, None] == EDGE, planes.axis[:, level]
        foot = torch.where(edge, planes.corner[:, level], foot - mirror * _to_image(planes, level, foot))
        along = torch.where(edge, normal, along - mirror * 2 * (along * normal).sum(-1, keepdim=True) * normal)
        feet.append((foot, along))
    distance = _shortest(images[-1], target, foot, along)
    behind = (planes.kind == EDGE).cumsum(1) > 0
    return [
        torch.where(behind[:, level, None], foot + distance * along, images[level])
        for level, (foot, along) in enumerate(feet)
    ]


def _shortest(
    source: Float64[Tensor, "row 3"],
    target: Float64[Tensor, "row 3"],
    foot: Float64[Tensor, "row 3"],
    along: Float64[Tensor, "row 3"],
) -> Float64[Tensor, "row 1"]:
    """Distance along a line from `foot` to where the shortest path between two points crosses it, m."""
    projections, distances = [], []
    for point in (source, target):
        projection = ((point - foot) * along).sum(-1, keepdim=True)
        projections.append(projection)
        distances.append(
            ((point - foot - projection * along).square().sum(-1, keepdim=True) + MIN_SQUARED_DISTANCE).sqrt()
        )
    return (projections[0] * distances[1] + projections[1] * distances[0]) / (distances[0] + distances[1])


def _mirrors(planes: InteractionPlanes) -> list[Bool[Tensor, "row 1"]]:
    """Whether each level is a reflection that is solved for."""
    return list(((planes.kind == MIRROR) & planes.free()).unsqueeze(-1).unbind(1))


def _to_image(planes: InteractionPlanes, level: int, point: Float64[Tensor, "row 3"]) -> Float64[Tensor, "row 3"]:
    """The vector to subtract from a point to get its image in a level's wall."""
    normal = planes.axis[:, level]
    return 2 * ((point - planes.corner[:, level]) * normal).sum(-1, keepdim=True) * normal


def _crossing(
    planes: InteractionPlanes,
    level: int,
    start: Float64[Tensor, "row 3"],
    end: Float64[Tensor, "row 3"],
    real: Bool[Tensor, "row 1"],
) -> Float64[Tensor, "row 3"]:
    """Point where the line from `start` to `end` meets a level's wall; `start` where nothing is `real`."""
    normal, line = planes.axis[:, level], end - start
    height = ((planes.corner[:, level] - start) * normal).sum(-1, keepdim=True)
    slope = (line * normal).sum(-1, keepdim=True)
    fraction = torch.where(real, height, 0.0) / torch.where(real & (slope != 0), slope, 1.0)
    return start + fraction * line
