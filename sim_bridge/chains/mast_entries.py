"""What one mast of an atlas reaches, and which masts there are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from uel.core.io import array_bytes, replace_file
from uel.core.outside.array_files import read_arrays
from uel.errors import UelError
from uel.radio.sites import Site, cell_positions


@dataclass(frozen=True, eq=False)
class MastEntries:
    """What an atlas keeps of one mast: pixels and what is worth trying there, each pair any number of times."""

    chain_pixel: Int[Tensor, " chain"]
    walls: Int[Tensor, "chain depth"]
    edge_pixel: Int[Tensor, " edge"]
    edge: Int[Tensor, " edge"]
    pair_pixel: Int[Tensor, " pair"]
    pair: Int[Tensor, "pair 2"]
    """the edges that a wave goes around, the mast's first"""
    scatterer_pixel: Int[Tensor, " scatterer"]
    scatterer: Int[Tensor, " scatterer"]
    scatterer_weight: Float[Tensor, " scatterer"]
    """how many times the power of each counts; in order of pixel and scatterer, each pair once"""

    def save(self, file: Path) -> None:
        """Write a file of numpy."""
        arrays = {n: v.numpy().astype(np.float32 if v.is_floating_point() else np.int32) for n, v in vars(self).items()}
        replace_file(file, array_bytes(arrays))

    @staticmethod
    def none(depth: int) -> "MastEntries":
        """Of a mast of which nothing is known."""
        nothing = torch.zeros(0, dtype=torch.long, device="cpu")
        walls, pair = (nothing.view(0, 1).expand(0, columns) for columns in (depth, 2))
        weight = torch.zeros(0, device="cpu")
        return MastEntries(nothing, walls, nothing, nothing, nothing, pair, nothing, nothing, weight)

    @staticmethod
    def load(file: Path) -> "MastEntries":
        """Read what `save` wrote. Raises `UelError` when it is damaged."""
        try:
            values = {name: torch.from_numpy(array) for name, array in read_arrays(file).items()}
            return MastEntries(**{name: v if v.is_floating_point() else v.long() for name, v in values.items()})
        except (UelError, TypeError) as error:
            raise UelError("a mast of an atlas cannot be read", got=f"{file}: {error}", do="delete the file") from error


def masts(sites: tuple[Site, ...]) -> tuple[Float[Tensor, "mast 3"], Int[Tensor, " cell"]]:
    """Positions of antennas (m), each once in the order of the cells, and the number of each cell's.

    Example:
        >>> import uel
        >>> sectors = (uel.Cell(), uel.Cell(azimuth_deg=120.0))
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0), cells=sectors), uel.Site(position=(9.0, 0.0, 25.0)))
        >>> position, mast = masts(sites)
        >>> position.tolist(), mast.tolist()
        ([[0.0, 0.0, 25.0], [9.0, 0.0, 25.0]], [0, 0, 1])
    """
    of_cell = [tuple(position) for position in cell_positions(sites).tolist()]
    numbers = {position: number for number, position in enumerate(dict.fromkeys(of_cell))}
    return torch.tensor(list(numbers), device="cpu"), torch.tensor([numbers[at] for at in of_cell], device="cpu")
