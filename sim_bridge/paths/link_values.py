"""Values of many links, part by part, so that their paths need not be held at once.

A traced link with its graph takes some 20 kB, a million positions of eight cells more than 100 GB. Only the values of
links are kept here; a backward pass traces each part again (gradient checkpointing: Chen et al., "Training deep nets
with sublinear memory cost", 2016).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.memory import BYTES_PER_LINK, memory_budget, release_memory
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.paths.path_set import PathSet
from uel.errors import UelError

LinkValues = tuple[Tensor, ...]


def values_of_links(
    finder: PathFinder,
    points: Float[Tensor, "n 3"],
    values: Callable[[Float[Tensor, "part 3"], PathSet], LinkValues],
) -> LinkValues:
    """`values` of receivers and their paths, for all receivers, differentiable in their positions.

    Args:
        finder: finds the paths.
        points: receivers, as `RadioScene.rows` makes them.
        values: of some receivers and all paths to them; each tensor has a row for each receiver.
    """

    def compute(part: Float[Tensor, "part 3"]) -> LinkValues:
        return values(part, finder.trace_points(part, {}))

    learned = points.requires_grad and torch.is_grad_enabled()
    width = _receivers_at_once(finder, learned)
    if len(points) <= width:
        return compute(points)
    parts = []
    for part in points.split(width):
        parts.append(_Recomputed.apply(compute, part) if learned else compute(part))
        release_memory()
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def _receivers_at_once(finder: PathFinder, learned: bool) -> int:
    """A multiple of `TracingConfig.chunk`, so that searches are of the same receivers as without parts."""
    scene, chunk = finder.scene, finder.scene.tracing.chunk
    each = BYTES_PER_LINK[learned] * scene.cell_count * max(scene.tracing.max_depth, 1) / 3
    return max(int(memory_budget(scene.tracing.memory) / (each * chunk)), 1) * chunk


class _Recomputed(torch.autograd.Function):
    """A function of positions whose graph is made in the backward pass."""

    @staticmethod
    def forward(ctx, compute: Callable[[Tensor], LinkValues], points: Tensor) -> LinkValues:
        ctx.compute = compute
        ctx.save_for_backward(points)
        with torch.no_grad():
            result = compute(points)
        ctx.mark_non_differentiable(*(value for value in result if not value.is_floating_point()))
        return result

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph=True
            raise UelError(
                "ray-traced values have first derivatives only",
                got="a backward pass with create_graph=True",
                do="leave create_graph out; for curvature take differences of gradients",
            )
        (points,) = ctx.saved_tensors
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            result = ctx.compute(points)
        pairs = [(v, g) for v, g in zip(result, gradients, strict=True) if v.requires_grad]
        outputs, given = zip(*pairs, strict=True)
        (gradient,) = torch.autograd.grad(outputs, points, given, allow_unused=True)
        release_memory()
        return None, torch.zeros_like(points) if gradient is None else gradient
