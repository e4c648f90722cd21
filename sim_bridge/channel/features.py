"""Everything that a report of a survey holds: traced paths, the channels made of them, and the serving cell's history.

`measure` takes phones one by one, `over_time` what depends on the reports before; `uel.survey.feature_schema` lists the
names. The RT layer needs nothing of Sionna PHY; the others read its tables on first use (some 15 s a process).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sim_bridge.channel import phy_abstraction
from sim_bridge.channel.cell_measurements import CSI, SINR, FeatureValues, InterferenceNetwork, decibels, signals
from sim_bridge.paths.path_set import PathSet, azimuth_deg, elevation_deg
from uel.errors import UelError
from uel.radio import serving_cell
from uel.radio.config import Carrier, EventA3
from uel.survey.feature_schema import FEATURE_LAYERS, REPORT_FEATURES, Feature

if TYPE_CHECKING:
    from sim_bridge.simulator import Sionna

WORKING = ("rsrp_dbm", SINR, CSI)  # what `over_time` needs, whether the survey keeps it or not


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What is measured, and how finely."""

    layers: tuple[str, ...] = FEATURE_LAYERS
    """rt, or rt and phy, or all three: each rests on those before"""
    paths: int = 4
    """strongest paths of a link that are kept"""
    taps: int = 8
    """strongest taps of a link that are kept"""
    frequencies: int = 64
    """across the carrier, at which the channel is computed"""
    csi_taps: int = 16
    """delays that the compressed CSI keeps, of as many as there are frequencies"""
    load: float = 0.5
    """share of their resource elements that the other cells fill"""
    noise_figure_db: float = 7.0
    """of the phone"""
    neighbours: int = 8
    """strongest cells beside the serving one"""
    event: EventA3 = field(default_factory=EventA3)
    """when a neighbour takes over"""

    def __post_init__(self) -> None:
        if not self.layers or self.layers != FEATURE_LAYERS[: len(self.layers)]:
            raise UelError(
                "a layer rests on those before it", got=self.layers, do=f"give the first of {FEATURE_LAYERS}"
            )
        if min(self.paths, self.taps, self.frequencies, self.csi_taps, self.neighbours) < 1:
            raise UelError("paths, taps, frequencies and neighbours are counted from one", got=self, do="raise them")
        if self.csi_taps > self.frequencies:
            raise UelError("there are no more delays than frequencies", got=self.csi_taps, do="keep fewer csi_taps")
        if not 0 <= self.load <= 1:
            raise UelError("a load is a share", got=self.load, do="give a number from 0 to 1")

    @property
    def features(self) -> dict[str, Feature]:
        """What a survey by this plan holds."""
        return {name: feature for name, feature in REPORT_FEATURES.items() if feature.layer in self.layers}


def measure(
    sim: "Sionna", position: Float[Tensor, "n dim"], velocity: Float[Tensor, "n 3"], plan: FeatureConfig
) -> FeatureValues:
    """Trace phones at positions (m, two or three coordinates) that move at velocities (m/s); axes (n[, cell, …]).

    Returns all features of the plan that need no history, and with the PHY layer what `over_time` wants beside them.
    That takes some 0.3 kB a cell and report, and 16 B a tap of compressed CSI and antenna port.
    Raises `UelError` as `Sionna.trace` does.
    """
    with torch.no_grad():
        found = sim.trace(position, ue_velocity=velocity.float())
        values = _rays(sim, sim.at_height(position.to("cpu", torch.float32)), found, plan.paths)
        if plan.layers != ("rt",):
            values |= signals(InterferenceNetwork.of(sim, plan.noise_figure_db), found, plan)
    wanted = plan.features
    return {n: _typed(n, v) for n, v in values.items() if n in wanted or n in WORKING}


def _rays(sim: "Sionna", points: Float[Tensor, "n 3"], found: PathSet, count: int) -> FeatureValues:
    """The RT layer: of links, of their strongest path, and of their strongest paths."""
    row = found.ranked(count)
    at = lambda values: found.at(values, row)  # noqa: E731
    kinds, bounces, there = at(found.interactions)[:, :, 0], at(found.bounces), row >= 0
    paths = {
        "departure_azimuth_deg": at(azimuth_deg(found.departure)),
        "departure_elevation_deg": at(elevation_deg(found.departure)),
        "arrival_azimuth_deg": at(azimuth_deg(found.arrival)),
        "arrival_elevation_deg": at(elevation_deg(found.arrival)),
        "doppler": at(found.doppler),
    }
    strongest = {name: values[..., 0] for name, values in paths.items() if name != "departure_azimuth_deg"}
    return {
        **vars(sim.truth(points, found)),
        **strongest,
        "delay_spread": found.delay_spread(),
        "path_count": found.count(),
        "reflections": kinds[..., 0],
        "refractions": kinds[..., 1],
        "diffractions": kinds[..., 2],
        "path_known": there,
        "path_gain_db": decibels(at(found.power), there),
        "path_delay": at(found.delay),
        **{f"path_{name}": values for name, values in paths.items()},
        "path_interactions": bounces,
    }


def over_time(
    values: FeatureValues,
    time: Float[Tensor, "track report"],
    valid: Bool[Tensor, "track report"],
    plan: FeatureConfig,
    carrier: Carrier,
) -> FeatureValues:
    """The features that need history, of what `measure` returned with axes (track, report[, cell, …]).

    Reports that are not `valid` fill up short tracks; nothing is known there. Empty for a plan of the RT layer alone.
    """
    if plan.layers == ("rt",):
        return {}
    known = values["known"] & valid.unsqueeze(-1)
    served = serving_cell.track_serving_cell(values["rsrp_dbm"], known, time, valid, plan.event)
    neighbour, there = serving_cell.strongest_neighbours(values["rsrp_dbm"], known, served.cell, plan.neighbours)
    found = {
        "serving": served.cell,
        "serving_known": served.known,
        "handover": served.handover,
        "link_failure": served.failure,
        "ping_pong": serving_cell.ping_pong(served, time),
        "stable": serving_cell.same_serving_cell(served),
        "neighbour": neighbour,
        "neighbour_known": there,
        **_csi(values[CSI], served),
        **(_data(values[SINR], served, carrier) if "sys" in plan.layers else {}),
    }
    return {n: _typed(n, v) for n, v in found.items() if n in plan.features}


def _csi(every: Tensor, served: serving_cell.ServingCellTrack) -> FeatureValues:
    """Of the serving cell, real and imaginary parts."""
    own = torch.where(served.known[..., None, None, None], _at(every, served), 0)
    return {"csi": torch.view_as_real(own), "csi_energy": own.abs().square().sum((-3, -2, -1))}


def _data(
    sinr: Float[Tensor, "track report cell frequency"], served: serving_cell.ServingCellTrack, carrier: Carrier
) -> FeatureValues:
    """What the serving cell delivers to a phone alone in it."""
    best = phy_abstraction.adapt(_at(sinr, served)[served.known], carrier)
    fill = lambda of: torch.zeros(served.known.shape, dtype=of.dtype).masked_scatter(served.known, of)  # noqa: E731
    return {
        "effective_sinr_db": decibels(fill(best.effective), served.known),
        "mcs": fill(best.mcs),
        "bler": fill(best.bler),
        "throughput": fill(best.bits) / phy_abstraction.slot(carrier),
    }


def _at(values: Tensor, served: serving_cell.ServingCellTrack) -> Tensor:
    """The serving cell's entries, `track report …`."""
    index = served.cell.view(*served.cell.shape, *[1] * (values.ndim - 2))
    return torch.take_along_dim(values, index, 2)[:, :, 0]


def _typed(name: str, values: Tensor) -> Tensor:
    """As `REPORT_FEATURES` says."""
    return values.to(getattr(torch, REPORT_FEATURES[name].dtype)) if name in REPORT_FEATURES else values
