"""Where paths turn: the image method in PyTorch, with all derivatives.

Sionna's image method decides which chains of walls are paths (`adapter.resolve`). This one says where such a path
meets its walls for given ends, differentiable in the ends and in whatever moves the walls: the source is mirrored in
one wall after the other, and the path is followed back from the target towards the images (Borish, "Extension of the
image model to arbitrary polyhedra", J. Acoust. Soc. Am. 75, 1984). Over an edge the way is the shortest (Keller,
"Geometrical theory of diffraction", J. Opt. Soc. Am. 52, 1962). In float64: at 28 GHz a millimetre is a tenth of
a wave.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int
from sionna.rt.constants import InteractionType
from torch import Tensor

MIRROR, SCATTER, THROUGH, EDGE = (
    InteractionType.SPECULAR,
    InteractionType.DIFFUSE,
    InteractionType.REFRACTION,
    InteractionType.DIFFRACTION,
)
TINY = 1e-24  # m²: under roots of squared distances, so that their derivatives stay finite


@dataclass(frozen=True, eq=False)
class InteractionPlanes:
    """What each path meets, in order from its source; at most one edge a path."""

    kind: Int[Tensor, "row depth"]
    """Sionna's interaction types; 0 where the path has no more"""
    corner: Float64[Tensor, "row depth 3"]
    """a point of the wall or of the edge, m"""
    axis: Float64[Tensor, "row depth 3"]
    """unit normal of the wall, direction of the edge"""
    fixed: Float64[Tensor, "row depth 3"]
    """where the path was found to meet it, m: scattered paths and what comes before the last scattering stay there"""

    def shifted(self, shift: Float64[Tensor, "row depth 3"]) -> "InteractionPlanes":
        """With walls and edges moved by `shift` in metres."""
        return replace(self, corner=self.corner + shift)

    def free(self) -> Bool[Tensor, "row depth"]:
        """Behind the last scattering."""
        return (self.kind == SCATTER).flip(1).cumsum(1).flip(1) == 0


def turning_points(
    bends: InteractionPlanes, source: Float64[Tensor, "row 3"], target: Float64[Tensor, "row 3"]
) -> Float64[Tensor, "row depth 3"]:
    """Where each path meets what it meets, in metres; where it has no more, its last point or its target again."""
    images = _images(bends, source)
    if bool((bends.kind == EDGE).any()):
        images = _over_edges(bends, images, target)
    ahead, points, behind = target, [], bends.free()
    for level in reversed(range(bends.kind.shape[1])):
        kind, free = bends.kind[:, level, None], behind[:, level, None]
        hit = _crossing(bends, level, ahead, images[level], ((kind == MIRROR) | (kind == THROUGH)) & free)
        point = torch.where(kind == EDGE, images[level], hit)
        point = torch.where(free, point, bends.fixed[:, level])
        ahead = torch.where(kind > 0, point, ahead)
        points.append(ahead)
    return torch.stack(points[::-1], 1)


def _images(bends: InteractionPlanes, source: Float64[Tensor, "row 3"]) -> list[Float64[Tensor, "row 3"]]:
    """Images of the source, or of the last scattering, behind each level's wall."""
    scatter = bends.kind == SCATTER
    last = (scatter * torch.arange(1, scatter.shape[1] + 1)).argmax(1)
    image = torch.where(scatter.any(1, keepdim=True), bends.fixed[torch.arange(len(last)), last], source)
    images = []
    for level, mirror in enumerate(_mirrors(bends)):
        image = image - mirror * _beyond(bends, level, image)
        images.append(image)
    return images


def _over_edges(
    bends: InteractionPlanes, images: list[Float64[Tensor, "row 3"]], target: Float64[Tensor, "row 3"]
) -> list[Float64[Tensor, "row 3"]]:
    """From the edge on, images of the point where the path crosses it."""
    foot, along, feet = torch.zeros_like(target), torch.zeros_like(target), []
    for level, mirror in enumerate(_mirrors(bends)):
        edge, normal = bends.kind[:, level, None] == EDGE, bends.axis[:, level]
        foot = torch.where(edge, bends.corner[:, level], foot - mirror * _beyond(bends, level, foot))
        along = torch.where(edge, normal, along - mirror * 2 * (along * normal).sum(-1, keepdim=True) * normal)
        feet.append((foot, along))
    way = _shortest(images[-1], target, foot, along)
    behind = (bends.kind == EDGE).cumsum(1) > 0
    return [
        torch.where(behind[:, level, None], foot + way * along, images[level])
        for level, (foot, along) in enumerate(feet)
    ]


def _shortest(
    source: Float64[Tensor, "row 3"],
    target: Float64[Tensor, "row 3"],
    foot: Float64[Tensor, "row 3"],
    along: Float64[Tensor, "row 3"],
) -> Float64[Tensor, "row 1"]:
    """How far along a line from `foot` the shortest way between two points crosses it, m."""
    ways, offs = [], []
    for point in (source, target):
        way = ((point - foot) * along).sum(-1, keepdim=True)
        ways.append(way)
        offs.append(((point - foot - way * along).square().sum(-1, keepdim=True) + TINY).sqrt())
    return (ways[0] * offs[1] + ways[1] * offs[0]) / (offs[0] + offs[1])


def _mirrors(bends: InteractionPlanes) -> list[Bool[Tensor, "row 1"]]:
    """Level by level, whether there is a reflection that is solved for."""
    return list(((bends.kind == MIRROR) & bends.free()).unsqueeze(-1).unbind(1))


def _beyond(bends: InteractionPlanes, level: int, point: Float64[Tensor, "row 3"]) -> Float64[Tensor, "row 3"]:
    """What takes a point to its image in a level's wall, subtracted."""
    normal = bends.axis[:, level]
    return 2 * ((point - bends.corner[:, level]) * normal).sum(-1, keepdim=True) * normal


def _crossing(
    bends: InteractionPlanes,
    level: int,
    start: Float64[Tensor, "row 3"],
    end: Float64[Tensor, "row 3"],
    real: Bool[Tensor, "row 1"],
) -> Float64[Tensor, "row 3"]:
    """Where the line from `start` to `end` meets a level's wall; `start` where nothing is `real`."""
    normal, way = bends.axis[:, level], end - start
    height = ((bends.corner[:, level] - start) * normal).sum(-1, keepdim=True)
    slope = (way * normal).sum(-1, keepdim=True)
    share = torch.where(real, height, 0.0) / torch.where(real & (slope != 0), slope, 1.0)
    return start + share * way
