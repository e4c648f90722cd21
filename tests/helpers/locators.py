"""What every kind of locator is asked: small ones, as if trained, and the same world told otherwise."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.conftest import ROOT
from tests.helpers.toy_city import SITES
from training.locator.losses import coarse_loss, fine_loss, patch_of
from uel.estimation.fix import Fix
from uel.geo.tile_maps import TileMaps
from uel.inference.deployment import Deployment
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.locator import Locator

MODEL = ObservationModel()
SMALL = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1, patch_pixels=2)


def trained(config: LocatorConfig = SMALL, seed: int = 0) -> Locator:
    """A locator whose every weight says something, as after training."""
    torch.manual_seed(seed)
    locator = Locator(config, MODEL).eval()
    with torch.no_grad():
        for parameter in locator.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return locator


def relabelled(maps: TileMaps, reports: Reports, order: list[int]) -> tuple[TileMaps, Reports]:
    """The same city and reports with the cells in another order."""
    radio, index = maps.radio, torch.tensor(order)
    fields = {n: getattr(radio, n)[index] for n in ("gain", "relative_error", "known", "los")}
    same = {n: getattr(reports, n)[:, index] for n in ("rsrp_dbm", "heard", "toa", "has_toa", "aoa_deg", "has_aoa")}
    shuffled = replace(radio, sites=tuple(SITES[i] for i in order), **fields)
    return replace(maps, radio=shuffled), replace(reports, serving=index.argsort()[reports.serving], **same)


def moved_by(locator: Locator, maps: TileMaps, reports: Reports, order: list[int]) -> float:
    """By how many metres fixes move, at most, when cells are relabelled."""
    with torch.no_grad():
        here = locator(reports, maps).position
        there = locator(*reversed(relabelled(maps, reports, order))).position
    return float((here - there).norm(dim=-1).max())


def integral(fix: Fix, size: float) -> float:
    """Of the density of one fix, over a square of this side in metres."""
    step = 4.0  # m; no component is narrower than a pixel of 8 m
    axis = torch.arange(-size / 2, size / 2, step)
    total = 0.0
    with torch.no_grad():
        for part in torch.cartesian_prod(axis, axis).split(4000):
            total += float(fix.log_density(part.unsqueeze(1)).exp().sum()) * step**2
    return total


def loss_of(locator: Locator, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> torch.Tensor:
    """As in training, without physics: the coarse part, then all."""
    reports, position = phones
    grid, patches = world.maps.radio.grid, locator.config.patches
    fix, patch = locator(reports, world.maps), patch_of(position, grid, patches)
    coarse = coarse_loss(fix, patch)
    return torch.stack([coarse, coarse + 0.3 * fine_loss(fix, patch, position, grid.size / patches)])


def learned(config: LocatorConfig, world: Deployment, phones: tuple[Reports, torch.Tensor], steps: int) -> list[float]:
    """Coarse losses in nats on the phones that a locator learns from, step by step."""
    torch.manual_seed(0)
    locator = Locator(config, MODEL).train()
    optimizer = torch.optim.AdamW(locator.parameters(), lr=3e-3)
    seen = []
    for _ in range(steps):
        coarse, loss = loss_of(locator, world, phones)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(locator.parameters(), 1.0)
        optimizer.step()
        seen.append(float(coarse.detach()))
    return seen


def silent_parameters(locator: Locator, world: Deployment, phones: tuple[Reports, torch.Tensor]) -> list[str]:
    """Names of the parameters that a loss does not reach."""
    loss_of(locator, world, phones)[1].backward()
    return [name for name, p in locator.named_parameters() if p.grad is None or not p.grad.any()]


EXPORT = """
import sys
from pathlib import Path
import torch
from tests.helpers.toy_city import toy_deployment
from uel.inference.torch_export import INPUT_NAMES, exported_program
from uel.models.locator import Locator
from uel.measurement.model import ObservationModel

maps = toy_deployment(Path(sys.argv[1])).maps
for folder in sys.argv[2:]:
    locator = Locator.load(folder)
    program = exported_program(locator, maps).module()
    for count in (1, 9):
        draws = torch.Generator().manual_seed(count)
        places = (torch.rand(count, 2, generator=draws) - 0.5) * 200
        reports = ObservationModel().observe(maps.radio.pixel_truth(places), maps.power_dbm, draws)
        with torch.no_grad():
            got = program(*(getattr(reports, name) for name in INPUT_NAMES))
            fix = locator(reports, maps)
        torch.testing.assert_close(got[1], fix.log_heatmap)
        torch.testing.assert_close(got[2], fix.mean)
        torch.testing.assert_close(got[3], fix.component_covariance)
    print("same", locator.config.encoder)
"""


def exported_alike(locators: list[Locator], folder: Path) -> list[str]:
    """Encoders of the locators whose exported program says what they say on the toy world.

    In a process of its own: tests' checks of types take a symbolic number of reports for a fixed one.
    """
    for number, locator in enumerate(locators):
        locator.save(folder / str(number))
    given = [str(folder / "tile"), *(str(folder / str(number)) for number in range(len(locators)))]
    done = subprocess.run([sys.executable, "-c", EXPORT, *given], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("same ") for line in done.stdout.splitlines() if line.startswith("same ")]
