"""Paths found once and evaluated many times: for learning materials and antennas."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge.paths import solver
from sim_bridge.paths.dispatch import PathFinder
from sim_bridge.paths.path_set import PathSet
from sim_bridge.scene.scene_parameters import is_object_position
from uel.errors import UelError

MAX_STALENESS = 0.02  # fraction of the power that frozen paths may lack before they should be found anew
ResolvedPart = tuple[Int[Tensor, " _"], solver.ResolvedPaths]
"""Which of the receivers, and their paths."""


class FrozenPaths:
    """The paths of some receivers, kept: `trace` gives them other materials, antennas, and endpoints near the old ones.

    Materials and orientations of antennas change the fields alone. When endpoints or objects move, the image method is
    solved anew on the same walls; a path that is blocked then is lost, and one that appears is not seen: `staleness`
    measures how much that matters.
    """

    def __init__(
        self,
        finder: PathFinder,
        points: Float[Tensor, "n 3"],
        parts: Iterable[ResolvedPart] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Find the paths to `points`, or take `parts`, which were found with the parameters `given`."""
        self.finder, self.points, self._given = finder, points, dict(given or {})
        searched = ((index, paths) for index, paths, _, _ in finder.find_paths(points, {}))
        self._parts = list(searched if parts is None else parts)

    def trace(self, position: Float[Tensor, "n 3"] | None = None, **given: Tensor) -> PathSet:
        """Evaluate the frozen paths as `Sionna.trace` does. Raises `UelError` for another number of positions."""
        points, scene = self._points_at(position), self.finder.scene
        given = scene.checked_parameters(given, points)
        moved = position is not None or any(self._moves_paths(name, value) for name, value in given.items())
        parts = []
        for index, paths in self._parts:
            endpoints, parameters = scene.batch_of(points, index, given)
            if moved:
                paths = solver.re_resolve(scene, paths, endpoints, parameters)
            parts.append((index, solver.evaluate_paths(scene, paths, endpoints, parameters)))
        return solver.in_order(parts, len(points))

    def staleness(self, position: Float[Tensor, "n 3"] | None = None, **given: Tensor) -> float:
        """Fraction of the power that a fresh search finds and the frozen paths lack: 0 is as good as new.

        Freeze again above 2 % (`MAX_STALENESS`).
        """
        with torch.no_grad():
            frozen = self.trace(position, **given).gain()
            fresh = self.finder.trace(self._points_at(position), given).gain()
        return float(1 - torch.minimum(fresh, frozen).sum() / fresh.sum().clamp(min=1e-30))

    def _moves_paths(self, name: str, value: Tensor) -> bool:
        """Whether a parameter moves endpoints or walls from where they were when the paths were found."""
        known = self._given.get(name)
        return _is_geometry(name) and (known is None or not torch.equal(value, known.to(value.device)))

    def _points_at(self, position: Tensor | None) -> Float[Tensor, "n 3"]:
        if position is None:
            return self.points
        if position.shape != self.points.shape:
            raise UelError(
                "frozen paths belong to their receivers",
                got=f"positions of shape {tuple(position.shape)}, paths of {len(self.points)}",
                do="give as many positions (x, y, z), or freeze again",
            )
        return position.to(torch.float32)


def _is_geometry(name: str) -> bool:
    return name in ("cell_position", "cell_height") or is_object_position(name)
