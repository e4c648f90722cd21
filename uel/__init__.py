"""Locate a phone from its reports and maps of the city: data types, observation model, estimators, networks.

The public names are imported on first use, so that `import uel` costs nothing.

Example:
    >>> import torch, uel
    >>> sites = (uel.Site(position=(-60.0, 20.0, 25.0)), uel.Site(position=(70.0, -40.0, 25.0)))
    >>> simulator = uel.FreeSpace(sites, size=256.0)
    >>> radio = simulator.radio_map(uel.Grid(size=256.0, pixel=4.0))
    >>> position = torch.tensor([[10.0, 30.0]], requires_grad=True)
    >>> simulator.path_gain(position).sum().backward()  # any simulator is differentiable in the position
    >>> bool(position.grad.isfinite().all())
    True
    >>> model, power = uel.ObservationModel(), uel.reference_power_dbm(sites)
    >>> reports = model.observe(radio.pixel_truth(position.detach()), power, torch.Generator().manual_seed(0))
    >>> reports.heard.tolist()
    [[True, True]]
"""

from typing import TYPE_CHECKING

from uel._lazy import lazy_names
from uel.core.telemetry import disable_telemetry
from uel.core.threads import wait_asleep

wait_asleep()  # before anything below imports torch
disable_telemetry()

__version__ = "0.2.0"

if TYPE_CHECKING:
    from uel.adaptation.site_adaptation import SiteAdaptation as SiteAdaptation
    from uel.core.grid import Grid as Grid
    from uel.errors import UelError as UelError
    from uel.estimation.fix import Fix as Fix
    from uel.geo.tile import Tile as Tile
    from uel.geo.tile_maps import TileMaps as TileMaps
    from uel.inference.deployment import Deployment as Deployment
    from uel.measurement.model import ObservationModel as ObservationModel
    from uel.measurement.reports import Reports as Reports
    from uel.models.locator import Locator as Locator
    from uel.radio.config import Carrier as Carrier
    from uel.radio.link_truth import LinkTruth as LinkTruth
    from uel.radio.radio_map import RadioMap as RadioMap
    from uel.radio.simulator import FreeSpace as FreeSpace
    from uel.radio.simulator import Simulator as Simulator
    from uel.radio.sites import Array as Array
    from uel.radio.sites import Cell as Cell
    from uel.radio.sites import Site as Site
    from uel.radio.sites import reference_power_dbm as reference_power_dbm
    from uel.survey.dataset import Survey as Survey

__all__ = [
    "Carrier",
    "Array",
    "Cell",
    "Site",
    "reference_power_dbm",
    "Grid",
    "Tile",
    "TileMaps",
    "Deployment",
    "RadioMap",
    "LinkTruth",
    "Reports",
    "ObservationModel",
    "Survey",
    "Simulator",
    "FreeSpace",
    "Locator",
    "Fix",
    "SiteAdaptation",
    "UelError",
]

_HOME = {
    "Carrier": "uel.radio.config",
    "Array": "uel.radio.sites",
    "Cell": "uel.radio.sites",
    "Site": "uel.radio.sites",
    "reference_power_dbm": "uel.radio.sites",
    "Grid": "uel.core.grid",
    "Tile": "uel.geo.tile",
    "TileMaps": "uel.geo.tile_maps",
    "Deployment": "uel.inference.deployment",
    "RadioMap": "uel.radio.radio_map",
    "LinkTruth": "uel.radio.link_truth",
    "Reports": "uel.measurement.reports",
    "ObservationModel": "uel.measurement.model",
    "Survey": "uel.survey.dataset",
    "Simulator": "uel.radio.simulator",
    "FreeSpace": "uel.radio.simulator",
    "Locator": "uel.models.locator",
    "Fix": "uel.estimation.fix",
    "SiteAdaptation": "uel.adaptation.site_adaptation",
    "UelError": "uel.errors",
}
__getattr__, __dir__ = lazy_names("uel", _HOME)
