"""SNR and SINR of radio maps, per resource element as in TS 38.215."""

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.constants import MIN_DETECTION_SNR_DB, noise_dbm
from uel.core.units import from_db
from uel.errors import UelError
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, reference_power_dbm, require_sites

MIN_REPORTED_SINR_DB = -23.0  # TS 38.133, table 10.1.16.1-1


def weakest_level_dbm(sites: tuple[Site, ...], noise_figure_db: float = 7.0) -> float:
    """RSRP in dBm of the weakest cell that a phone detects in thermal noise: -128 dBm at 30 kHz."""
    return noise_dbm(require_sites(sites).subcarrier_spacing, noise_figure_db) + MIN_DETECTION_SNR_DB


def snr(radio: RadioMap, noise_figure_db: float = 7.0) -> Float[Tensor, "cell row column"]:
    """Power of each cell over thermal noise, linear; 0 where the map has no path."""
    spacing = require_sites(radio.sites).subcarrier_spacing
    level = from_db(reference_power_dbm(radio.sites) - noise_dbm(spacing, noise_figure_db))
    return torch.where(radio.known, radio.gain, 0.0) * level.to(radio.gain.device)[:, None, None]


def sinr(radio: RadioMap, load: float = 1.0, noise_figure_db: float = 7.0) -> Float[Tensor, "cell row column"]:
    """Power of each cell over noise and the other cells, linear; `load` is the fraction of time in which
    the other cells transmit.

    Raises `UelError` for a load outside [0, 1].
    """
    if not 0 <= load <= 1:
        raise UelError("load is outside [0, 1]", got=load, do="give the fraction of time in which cells transmit")
    signal = snr(radio, noise_figure_db)
    return signal / (1 + load * (signal.sum(0, keepdim=True) - signal))
