"""Noiseless propagation between the cells and a set of positions."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.batch_record import BatchRecord


@dataclass(frozen=True, eq=False, repr=False)
class LinkTruth(BatchRecord):
    """Gain, delay, azimuth and line of sight of every link at some positions, without noise.

    A link without a path is not `known`; its gain is stored as 0 and must not be read.

    Example:
        >>> import torch, uel
        >>> truth = uel.FreeSpace((uel.Site(position=(0.0, 0.0, 25.0)),)).paths(torch.tensor([[30.0, 40.0]]))
        >>> truth.azimuth_deg.round().tolist(), truth.los.tolist()  # seen from the site, clockwise from north
        ([[37.0]], [[True]])
    """

    position: Float[Tensor, "*n 2"]
    """m, east and north of the tile's centre"""
    gain_db: Float[Tensor, "*n cell"]
    """path gain in decibels, where `known`"""
    known: Bool[Tensor, "*n cell"]
    """whether the link has a path"""
    delay: Float[Tensor, "*n cell"]
    """s, first arrival"""
    azimuth_deg: Float[Tensor, "*n cell"]
    """compass azimuth of departure at the cell, of the strongest path"""
    los: Bool[Tensor, "*n cell"]
    """whether nothing stands between cell and position"""
