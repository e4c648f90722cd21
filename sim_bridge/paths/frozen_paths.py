"""Paths found once and evaluated again and again: for learning materials and antennas."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge.paths import dispatch, solver
from sim_bridge.paths.path_set import PathSet
from uel.errors import UelError

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

STALE = 0.02  # share of the power
ResolvedPart = tuple[Int[Tensor, " _"], solver.ResolvedPaths]
"""Which of the receivers, and their paths."""


class FrozenPaths:
    """The paths of some receivers, frozen: `trace` gives them other materials, antennas, and ends near the old ones.

    Materials and the turns of antennas change the fields alone. Ends and objects that move take the walls of their
    paths along (the image method is solved anew); a path that is blocked on the way is lost, and one that appears is
    not seen: `staleness` tells how much that matters.
    """

    def __init__(
        self,
        sim: "Sionna",
        points: Float[Tensor, "n 3"],
        found: Iterable[ResolvedPart] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.sim, self.points, self._given = sim, points, dict(given or {})
        searched = ((index, paths) for index, paths, _, _ in dispatch.find_paths(sim, points, {}))
        self._parts = list(searched if found is None else found)

    def trace(self, position: Float[Tensor, "n 3"] | None = None, **given: Tensor) -> PathSet:
        """As `Sionna.trace`, on the frozen paths. Raises `UelError` for another number of positions."""
        points = self._moved(position)
        self.sim.require_known(given, len(points))
        moved = position is not None or any(self._moved_by(name, value) for name, value in given.items())
        parts, scene, facets = [], self.sim.scene, self.sim.facets
        for index, found in self._parts:
            ends, mine = self.sim.share(points, index, given)
            if moved:
                found = solver.re_resolve(scene, facets, found, ends, mine)
            parts.append((index, solver.evaluate_paths(scene, facets, found, ends, mine, self.sim.wavelength)))
        return solver.in_order(parts, len(points))

    def staleness(self, position: Float[Tensor, "n 3"] | None = None, **given: Tensor) -> float:
        """Share of the power that a fresh search finds and the frozen paths lack: 0 is as good as new.

        Freeze again above 2 % (`STALE`).
        """
        with torch.no_grad():
            frozen = self.trace(position, **given).gain()
            fresh = self.sim.trace(self._moved(position), **given).gain()
        return float(1 - torch.minimum(fresh, frozen).sum() / fresh.sum().clamp(min=1e-30))

    def _moved_by(self, name: str, value: Tensor) -> bool:
        """Whether a parameter moves what paths hang on from where it was when they were found."""
        known = self._given.get(name)
        return _moves(name) and (known is None or not torch.equal(value, known))

    def _moved(self, position: Tensor | None) -> Float[Tensor, "n 3"]:
        if position is None:
            return self.points
        if position.shape != self.points.shape:
            raise UelError(
                "frozen paths belong to their receivers",
                got=f"positions of shape {tuple(position.shape)}, paths of {len(self.points)}",
                do="give as many positions (x, y, z), or freeze again",
            )
        return position.to("cpu", torch.float32)


def _moves(name: str) -> bool:
    return name in ("cell_position", "cell_height") or name.startswith("object/")
