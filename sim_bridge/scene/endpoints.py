"""Endpoints of paths, in torch."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Endpoints:
    """Positions in metres and orientations as Sionna's three angles in radians."""

    target: Float[Tensor, "n 3"]
    target_orientation: Float[Tensor, "n 3"]
    source: Float[Tensor, "cell 3"]
    source_orientation: Float[Tensor, "cell 3"]

    def columns(self) -> list[Tensor]:
        """Coordinate by coordinate, as Dr.Jit has them."""
        vectors = (self.source, self.source_orientation, self.target, self.target_orientation)
        return [axis for vector in vectors for axis in vector.unbind(-1)]

    def padded(self, count: int) -> "Endpoints":
        """Endpoints with the last receiver repeated until there are `count`."""
        return replace(
            self,
            target=repeat_last_row(self.target, count),
            target_orientation=repeat_last_row(self.target_orientation, count),
        )


def repeat_last_row(values: Float[Tensor, "_ ..."], count: int) -> Float[Tensor, "_ ..."]:
    """Values with the last row repeated until there are `count`."""
    return torch.cat([values, values[-1:].expand(count - len(values), *values.shape[1:])])


def rotation(orientation: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rz(α) Ry(β) Rx(γ) of Sionna's three angles in radians (TR 38.901, equation 7.1-4)."""
    (ca, cb, cc), (sa, sb, sc) = orientation.cos().unbind(-1), orientation.sin().unbind(-1)
    rows = [
        torch.stack([ca * cb, ca * sb * sc - sa * cc, ca * sb * cc + sa * sc], -1),
        torch.stack([sa * cb, sa * sb * sc + ca * cc, sa * sb * cc - ca * sc], -1),
        torch.stack([-sb, cb * sc, cb * cc], -1),
    ]
    return torch.stack(rows, -2)
