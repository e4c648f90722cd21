"""Noiseless propagation between the cells and a set of positions."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from uel.core.batch_record import BatchRecord


@dataclass(frozen=True, eq=False)
class LinkTruth(BatchRecord):
    """Gain, delay, azimuth and line of sight of every link at some positions, without noise.

    A link without a path is not `known`; its gain is stored as 0 and must not be read.
    """

    position: Float[Tensor, "*n 2"]
    """m, east and north of the tile's centre"""
    gain_db: Float[Tensor, "*n cell"]
    """path gain in decibels, where `known`"""
    known: Bool[Tensor, "*n cell"]
    delay: Float[Tensor, "*n cell"]
    """s, first arrival"""
    azimuth_deg: Float[Tensor, "*n cell"]
    """compass azimuth of departure at the cell, of the strongest path"""
    los: Bool[Tensor, "*n cell"]
