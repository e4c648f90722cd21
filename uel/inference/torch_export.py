"""`uel export RUN`: a locator on one tile as a file that runs with PyTorch alone, without this library."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from uel.core.files.write_errors import require_writable_file
from uel.core.io import staged_named_file
from uel.geo.tile_maps import TileMaps
from uel.inference.config import ExportConfig
from uel.inference.run_folder import Run
from uel.inference.tile_choice import RadioMapTracer, chosen_deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.locator import Locator

INPUT_NAMES = ("rsrp_dbm", "heard", "serving", "timing_advance", "has_timing_advance", "azimuth_deg", "has_azimuth")
OUTPUT_NAMES = ("position", "log_heatmap", "mean", "covariance")
MAX_REPORTS = 1024  # reports in one call


class TileLocatorModule(nn.Module):
    """A locator with its maps, from tensors to tensors: tiers rsrp to rsrp_ta_azimuth, any number of reports."""

    def __init__(self, locator: Locator, maps: TileMaps) -> None:
        super().__init__()
        self.locator, self.maps = locator.eval(), maps

    def forward(
        self,
        rsrp_dbm: Float[Tensor, "n cell"],
        heard: Bool[Tensor, "n cell"],
        serving: Int[Tensor, " n"],
        timing_advance: Float[Tensor, " n"],
        has_timing_advance: Bool[Tensor, " n"],
        azimuth_deg: Float[Tensor, " n"],
        has_azimuth: Bool[Tensor, " n"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The tensors of `OUTPUT_NAMES`: positions (n, 2), the mixture's log weights (n, patch), means and covariances.

        Inputs are those of `uel.measurement.reports.Reports`.
        """
        reports = Reports(rsrp_dbm, heard, serving, timing_advance, has_timing_advance, azimuth_deg, has_azimuth)
        fix = self.locator(reports, self.maps)
        return fix.position, fix.log_heatmap, fix.mean, fix.component_covariance


def export(config: ExportConfig, trace_radio_map: RadioMapTracer) -> Path:
    """Write the exported program (`torch.export`) and return its file.

    Read it with `torch.export.load(file).module()`. Raises `UelError` for a run without a locator or maps.
    """
    run = Run.open(config.run)
    file = config.out or run.folder / "locator.pt2"
    require_writable_file(file)
    deployment = chosen_deployment(run, config, trace_radio_map, config.backend)
    program = exported_program(run.locator, deployment.maps)
    with staged_named_file(file) as staged:
        torch.export.save(program, staged)
    return file


def exported_program(locator: Locator, maps: TileMaps) -> torch.export.ExportedProgram:
    """The exported program of a locator on its tile, for 2 to `MAX_REPORTS` reports."""
    model = ObservationModel(tier="rsrp_ta_azimuth")
    truth = maps.radio.pixel_truth(maps.radio.grid.centres()[:1, :3].reshape(-1, 2))
    reports = model.observe(truth, maps.power_dbm, torch.Generator().manual_seed(0))
    number = torch.export.Dim("reports", min=1, max=MAX_REPORTS)
    shapes = {name: {0: number} for name in INPUT_NAMES}
    with torch.no_grad():
        inputs = tuple(getattr(reports, name) for name in INPUT_NAMES)
        # Copies: tracing leaves symbolic tensors in cached properties of what it runs on.
        fresh_maps = replace(maps, radio=replace(maps.radio))
        module = TileLocatorModule(deepcopy(locator), fresh_maps)
        return torch.export.export(module, inputs, dynamic_shapes=shapes)
