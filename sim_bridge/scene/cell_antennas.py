"""Antennas of a scene's cells: those that Sionna RT has, and those whose gain is put in here.

Sionna has one array for all transmitters of a scene. Where the cells of a network have several, or one that Sionna does
not have (a measured pattern, TR 36.814, an electrical tilt), every cell gets one isotropic element of the network's
polarisation in Sionna, and its own gain multiplies the power of every ray that leaves it: a polarised field is its
isotropic field times the root of the gain, so that nothing is lost but the phases between the elements (an array is one
port then).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sim_bridge.scene.endpoints import rotation
from uel.radio.sites import Array, Site, cells_of


def sionna_array(sites: tuple[Site, ...]) -> Array:
    """The array of every transmitter in Sionna: the cells' own, or one isotropic element."""
    arrays = {cell.array for _, cell in cells_of(sites)}
    first = cells_of(sites)[0][1].array
    return first if len(arrays) == 1 and first.in_sionna else Array(polarization=first.polarization)


def has_own_gains(sites: tuple[Site, ...]) -> bool:
    """Whether the cells' gains are put in beside Sionna's array."""
    return any(cell.array != sionna_array(sites) for _, cell in cells_of(sites))


def path_gains(
    sites: tuple[Site, ...],
    orientation: Float[Tensor, "cell 3"],
    cell: Int[Tensor, " row"],
    departure: Float[Tensor, "row 3"],
) -> Float[Tensor, " row"]:
    """Linear gain of the cells in directions of the world, differentiable in both.

    Args:
        sites: the network.
        orientation: Sionna's three angles of every cell in radians.
        cell: of each row.
        departure: unit vector of each row, away from its cell.
    """
    turned = torch.einsum("rij,ri->rj", rotation(orientation.double())[cell], departure.double())
    kinds: dict[Array, list[int]] = {}
    for index, (_, own) in enumerate(cells_of(sites)):
        kinds.setdefault(own.array, []).append(index)
    gain = torch.ones(len(cell), dtype=torch.float64, device=departure.device)
    for array, members in kinds.items():
        rows = torch.isin(cell, torch.tensor(members, device=cell.device)).nonzero()[:, 0]
        gain = gain.index_copy(0, rows, array.gain(turned[rows]))
    return gain.to(departure.dtype)
