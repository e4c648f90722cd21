"""Everything that a report of a survey holds: traced paths, the channels made of them, and the serving cell's history.

`measure_features` takes phones one by one, `serving_features` adds the features that depend on the reports before;
`uel.survey.feature_schema` lists the names. The RT layer needs nothing of Sionna PHY; the others read its tables on
first use (some 15 s a process).
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge.channel import phy_abstraction
from sim_bridge.channel.cell_measurements import (
    CSI_NAME,
    SINR_NAME,
    FeatureValues,
    InterferenceNetwork,
    cell_measurements,
    decibels,
)
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.paths.path_set import PathSet, azimuth_deg, elevation_deg
from uel.radio import serving_cell
from uel.radio.config import Carrier
from uel.survey.feature_schema import REPORT_FEATURES

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

HISTORY_INPUTS = ("rsrp_dbm", SINR_NAME, CSI_NAME)  # of `serving_features`, whether the survey keeps them or not


def measure_features(
    sim: "Sionna", position: Float[Tensor, "n dim"], velocity: Float[Tensor, "n 3"], config: FeatureConfig
) -> FeatureValues:
    """Trace phones at positions (m, two or three coordinates) that move at velocities (m/s); axes (n[, cell, …]).

    Returns all features of the configuration that need no history, and with the PHY layer the values that
    `serving_features` needs beside them.
    That takes some 0.3 kB a cell and report, and 16 B a tap of compressed CSI and antenna port.
    Raises `UelError` as `Sionna.trace` does.
    """
    with torch.no_grad():
        paths = sim.trace(position, ue_velocity=velocity.float())
        values = _ray_features(sim, sim.at_height(position.to(torch.float32)), paths, config.paths)
        if config.layers != ("rt",):
            network = InterferenceNetwork.from_scene(sim.radio_scene, config.noise_figure_db, paths.power.device)
            values |= cell_measurements(network, paths, config)
    wanted = config.features
    return {n: _typed(n, v) for n, v in values.items() if n in wanted or n in HISTORY_INPUTS}


def _ray_features(sim: "Sionna", points: Float[Tensor, "n 3"], paths: PathSet, count: int) -> FeatureValues:
    """The RT layer: features of links, of their strongest path, and of their `count` strongest paths."""
    row = paths.strongest_rows(count)

    def at_rows(values):
        return paths.values_at(values, row)

    kinds, bounces, path_known = at_rows(paths.interactions)[:, :, 0], at_rows(paths.bounces), row >= 0
    by_path = {
        "departure_azimuth_deg": at_rows(azimuth_deg(paths.departure)),
        "departure_elevation_deg": at_rows(elevation_deg(paths.departure)),
        "arrival_azimuth_deg": at_rows(azimuth_deg(paths.arrival)),
        "arrival_elevation_deg": at_rows(elevation_deg(paths.arrival)),
        "doppler": at_rows(paths.doppler),
    }
    strongest = {name: values[..., 0] for name, values in by_path.items() if name != "departure_azimuth_deg"}
    return {
        **vars(sim.link_truth(points, paths)),
        **strongest,
        "delay_spread": paths.delay_spread().float(),
        "path_count": paths.count(),
        "reflections": kinds[..., 0],
        "refractions": kinds[..., 1],
        "diffractions": kinds[..., 2],
        "path_known": path_known,
        "path_gain_db": decibels(at_rows(paths.power), path_known),
        "path_delay": at_rows(paths.delay).float(),
        **{f"path_{name}": values for name, values in by_path.items()},
        "path_interactions": bounces,
    }


def serving_features(
    values: FeatureValues,
    time: Float[Tensor, "track report"],
    valid: Bool[Tensor, "track report"],
    config: FeatureConfig,
    carrier: Carrier,
) -> FeatureValues:
    """Features of the serving cell, which need history, from `measure_features` with axes (track, report[, cell, …]).

    Reports that are not `valid` fill up short tracks; nothing is known there. Empty for a configuration of the RT layer
    alone.
    """
    if config.layers == ("rt",):
        return {}
    known = values["known"] & valid.unsqueeze(-1)
    served = serving_cell.track_serving_cell(values["rsrp_dbm"], known, time, valid, config.event)
    neighbour, neighbour_known = serving_cell.strongest_neighbours(
        values["rsrp_dbm"], known, served.cell, config.neighbours
    )
    features = {
        "serving": served.cell,
        "serving_known": served.known,
        "handover": served.handover,
        "link_failure": served.failure,
        "ping_pong": serving_cell.ping_pong(served, time),
        "stable": serving_cell.same_serving_cell(served),
        "neighbour": neighbour,
        "neighbour_known": neighbour_known,
        **_serving_csi(values[CSI_NAME], served),
        **(_service(values[SINR_NAME], served, carrier) if "sys" in config.layers else {}),
    }
    return {n: _typed(n, v) for n, v in features.items() if n in config.features}


def _serving_csi(csi: Tensor, served: serving_cell.ServingCellTrack) -> FeatureValues:
    """Real and imaginary parts of the serving cell's CSI, and its fraction of the energy."""
    serving = torch.where(served.known[..., None, None, None], _of_serving_cell(csi, served), 0)
    return {"csi": torch.view_as_real(serving), "csi_energy": serving.abs().square().sum((-3, -2, -1))}


def _service(
    sinr: Float[Tensor, "track report cell frequency"], served: serving_cell.ServingCellTrack, carrier: Carrier
) -> FeatureValues:
    """Effective SINR, MCS, block errors and throughput of a phone alone in its serving cell."""
    best = phy_abstraction.adapt_link(_of_serving_cell(sinr, served)[served.known], carrier)

    def fill(of):
        return torch.zeros(served.known.shape, dtype=of.dtype, device=of.device).masked_scatter(served.known, of)

    return {
        "effective_sinr_db": decibels(fill(best.effective), served.known),
        "mcs": fill(best.mcs),
        "bler": fill(best.bler),
        "throughput": fill(best.bits) / phy_abstraction.slot_duration(carrier),
    }


def _of_serving_cell(values: Tensor, served: serving_cell.ServingCellTrack) -> Tensor:
    """The serving cell's entries, `track report …`."""
    index = served.cell.view(*served.cell.shape, *[1] * (values.ndim - 2))
    return torch.take_along_dim(values, index, 2)[:, :, 0]


def _typed(name: str, values: Tensor) -> Tensor:
    """Values in the type that `REPORT_FEATURES` gives."""
    return values.to(getattr(torch, REPORT_FEATURES[name].dtype)) if name in REPORT_FEATURES else values
