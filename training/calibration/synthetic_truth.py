"""A world to be found again: a tile's walls and masts, wrong by as much as is believed, and what phones hear there."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scenes.materials.itu_p2040 import RadioMaterial
from scenes.variants.calibrated_tile import write_calibrated_tile
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths.chain_pool import gather_chains
from sim_bridge.scene.tracing_config import TracingConfig
from sim_bridge.simulator import open as open_simulator
from training.calibration.parameters import CalibrationParameters
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.units import to_db
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive, reports_from_levels
from uel.radio.sites import reference_power_dbm

MAX_DEVIATIONS = 1.5  # deviations of the belief: how wrong a pretended world is at most
TRUTH_SEED_OFFSET = 1000  # of the rays that find the truth's paths: not those of the fit


def draw_parameters(parameters: CalibrationParameters, seed: int) -> Float[Tensor, " parameter"]:
    """Numbers of a world that is as wrong as is believed, none more than `MAX_DEVIATIONS`."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(len(parameters), generator=random, dtype=torch.float64).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)


def materials_of(
    parameters: CalibrationParameters, theta: Float[Tensor, " parameter"], known: dict[str, dict[str, float]]
) -> dict[str, RadioMaterial]:
    """All materials with a parameter, as a tile holds them; `known` are the values of what is not learned."""
    told = {}
    for name, values in parameters.materials_at(theta).items():
        full = known[name] | values
        told[name] = RadioMaterial(
            relative_permittivity=full["relative_permittivity"],
            conductivity=full["conductivity"],
            thickness=full["thickness"],
            scattering_coefficient=full["scattering_coefficient"],
            xpd=full["xpd_coefficient"],
        )
    return told


def make_truth(
    tile: Tile,
    parameters: CalibrationParameters,
    known: dict[str, dict[str, float]],
    position: Tensor,
    tracing: TracingConfig,
    chains: AtlasConfig,
    seed: int,
    out: Path,
) -> None:
    """Write the true tile to `out`, and `links.npz`: level (dB, power included), delay (s) and which links have a path.

    Paths are found by rays of its own, twice as many as the fit's: a search with Sionna's usual number of rays loses
    links that the fit's chains have.
    """
    theta = draw_parameters(parameters, seed)
    true = write_calibrated_tile(tile, out / "tile", materials_of(parameters, theta, known), parameters.sites_at(theta))
    sim = open_simulator(true, true.sites, tracing)
    own = replace(chains, rays=2 * chains.rays, depth=tracing.max_depth, seed=chains.seed + TRUTH_SEED_OFFSET)
    with torch.no_grad():
        found = gather_chains(sim.finder, position, 0.0, own).freeze().trace()
    gain = found.gain()
    level = to_db(gain.clamp(min=1e-30)) + reference_power_dbm(true.sites)
    np.savez(out / "links.npz", level=level.numpy(), known=(gain > 0).numpy(), delay=found.first_arrival().numpy())


def read_truth(folder: Path) -> tuple[Float[Tensor, "n cell"], Float[Tensor, "n cell"]]:
    """Levels in dBm and delays in s; NaN where a link has no path."""
    with np.load(folder / "links.npz") as file:
        level, known, delay = (torch.from_numpy(file[name]) for name in ("level", "known", "delay"))
    return torch.where(known, level, torch.nan), torch.where(known, delay, torch.nan)


def observe_levels(
    position: Float[Tensor, "n 2"],
    level: Tensor,
    delay: Tensor,
    noise_db: float,
    noise_range: float,
    least: float,
    seed: int,
) -> Drive:
    """What phones say of true levels: with noise (dB), above `least` dBm; times of flight if those have a noise (m)."""
    random = torch.Generator().manual_seed(seed)
    said = level + noise_db * torch.randn(level.shape, generator=random)
    said = torch.where(said >= least, said, torch.nan)
    timed = delay + noise_range / SPEED_OF_LIGHT * torch.randn(delay.shape, generator=random)
    return Drive(position, reports_from_levels(said, timed if noise_range else None))


def truth_key(tile: Tile, parameters: CalibrationParameters, position: Tensor, how: dict, seed: int) -> dict:
    """What a pretended world depends on."""
    theta = draw_parameters(parameters, seed)
    return {
        "tile": tile.fingerprint,
        "sites": [asdict(site) for site in parameters.sites],
        "values": parameters.value(theta).tolist(),
        "names": parameters.names,
        "position": position.tolist(),
        **how,
    }
