"""What a level depends on besides the place: distance, direction off the boresight, elevation against the tilt."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.units import wrap_deg
from uel.measurement.measured_network import MeasuredCells
from uel.radio.antennas.elements import parabolic_loss_db

UE_HEIGHT = 1.5  # m above the ground
MIN_DISTANCE = 10.0  # m: nearer phones count as this far
REFERENCE_DISTANCE = 200.0  # m, to which the intercept refers: typical, so that intercept and slope are independent
HORIZONTAL_WIDTH_DEG = 70.0  # 3 dB beam width of 3GPP's macro sector (TR 36.814, table A.2.1.1-2)
HORIZONTAL_LIMIT_DB = 25.0
VERTICAL_WIDTH_DEG = 10.0
VERTICAL_LIMIT_DB = 20.0


def horizontal_attenuation_db(off_boresight_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """12 (angle / 70°)² dB, at most 25 dB, at an angle from the boresight in degrees."""
    return parabolic_loss_db(off_boresight_deg, HORIZONTAL_WIDTH_DEG, HORIZONTAL_LIMIT_DB)


def vertical_attenuation_db(off_tilt_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """12 (angle / 10°)² dB, at most 20 dB, at an angle of depression less the downtilt in degrees."""
    return parabolic_loss_db(off_tilt_deg, VERTICAL_WIDTH_DEG, VERTICAL_LIMIT_DB)


def link_features(cells: MeasuredCells, position: Float[Tensor, "point 2"]) -> Float[Tensor, "cell point feature"]:
    """Features of every link, in the order of `uel.prediction.config.TREND_FEATURES`.

    Attenuations are those of 3GPP's sector antenna, 12 (angle / width)² dB up to a limit (TR 36.814, table A.2.1.1-2).
    A cell without a known antenna has the intercept alone.

    Example:
        >>> import torch
        >>> from uel.measurement.measured_network import MeasuredCells
        >>> one = torch.ones(1)
        >>> cells = MeasuredCells(
        ...     cell_id=("7",), is_listed=one > 0, position=torch.zeros(1, 2), height=26.5 * one, ground=one, roof=one,
        ...     azimuth_deg=0 * one, electrical_tilt_deg=one, mechanical_tilt_deg=one, frequency=one, power_dbm=one)
        >>> link_features(cells, torch.tensor([[0.0, 1000.0], [35.0, 0.0]])).round(decimals=1).tolist()
        [[[1.0, 0.7, 0.0, 0.0], [1.0, -0.7, 19.8, 13.7]]]
    """
    offset = position - cells.position[:, None]
    horizontal = offset.norm(dim=-1)
    drop = (cells.height - UE_HEIGHT)[:, None]
    distance = (horizontal.square() + drop.square()).sqrt().clamp(min=MIN_DISTANCE)
    bearing = torch.rad2deg(torch.atan2(offset[..., 0], offset[..., 1]))
    off_boresight = wrap_deg(bearing - cells.azimuth_deg[:, None])
    depression = torch.rad2deg(torch.atan2(drop, horizontal.clamp(min=1e-3)))
    off_tilt = depression - cells.tilt_deg[:, None]
    sector, elevation = horizontal_attenuation_db(off_boresight), vertical_attenuation_db(off_tilt)
    known = cells.is_listed[:, None]
    decades = (distance / REFERENCE_DISTANCE).log10()
    columns = [torch.ones_like(distance), *(torch.where(known, v, 0.0) for v in (decades, sector, elevation))]
    return torch.stack(columns, -1)
