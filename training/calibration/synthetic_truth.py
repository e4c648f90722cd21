"""A synthetic truth for a calibration: a tile's materials and sites drawn from the prior, and the levels measured
there.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from scenes.materials.itu_p2040 import RadioMaterial
from scenes.variants.calibrated_tile import write_calibrated_tile
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths.chain_pool import gather_chains
from sim_bridge.registry import open_ray_tracer
from training.calibration.parameters import CalibrationParameters
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.io import array_bytes, replace_file
from uel.core.outside.array_files import read_array_fields
from uel.core.units import to_db
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive
from uel.measurement.reports import reports_from_levels
from uel.radio.sites import reference_power_dbm
from uel.radio.tracing_config import TracingConfig

MAX_DEVIATIONS = 1.5  # prior standard deviations, largest deviation of a synthetic truth
TRUTH_SEED_OFFSET = 1000  # added to the seed of the rays that find the true paths, so that they differ from the fit's


def draw_parameters(parameters: CalibrationParameters, seed: int) -> Float[Tensor, " parameter"]:
    """Parameter numbers drawn from the prior, none beyond `MAX_DEVIATIONS`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(parameters), generator=generator, dtype=torch.float64, device=generator.device).clamp(
        -MAX_DEVIATIONS, MAX_DEVIATIONS
    )


def materials_of(
    parameters: CalibrationParameters, theta: Float[Tensor, " parameter"], known: dict[str, dict[str, float]]
) -> dict[str, RadioMaterial]:
    """All materials with a parameter, as a tile stores them; `known` holds the values that are not fitted."""
    result = {}
    for name, values in parameters.materials_at(theta).items():
        full = known[name] | values
        result[name] = RadioMaterial(
            relative_permittivity=full["relative_permittivity"],
            conductivity=full["conductivity"],
            thickness=full["thickness"],
            scattering_coefficient=full["scattering_coefficient"],
            xpd=full["xpd_coefficient"],
        )
    return result


def make_truth(
    tile: Tile,
    parameters: CalibrationParameters,
    materials: dict[str, dict[str, float]],
    position: Tensor,
    tracing: TracingConfig,
    chains: AtlasConfig,
    seed: int,
    out: Path,
) -> None:
    """Write the true tile to `out`, and `links.npz`: level (dBm), delay (s) and which links have a path.

    Paths are found by separate rays, twice as many as the fit's: a search with Sionna's usual number of rays misses
    links that the fit's chains have.
    """
    theta = draw_parameters(parameters, seed)
    true_tile = write_calibrated_tile(
        tile, out / "tile", materials_of(parameters, theta, materials), parameters.sites_at(theta)
    )
    simulator = open_ray_tracer(true_tile, true_tile.sites, tracing, "calibration")
    truth_rays = replace(chains, rays=2 * chains.rays, depth=tracing.max_depth, seed=chains.seed + TRUTH_SEED_OFFSET)
    with torch.no_grad():
        paths = gather_chains(simulator.finder, position, 0.0, truth_rays).freeze().trace()
    gain = paths.gain()
    level = to_db(gain.clamp(min=1e-30)) + reference_power_dbm(true_tile.sites)
    delay = paths.first_arrival().float().numpy()
    links = {"level": level.numpy(), "known": (gain > 0).numpy(), "delay": delay}
    replace_file(out / "links.npz", array_bytes(links))


def read_truth(folder: Path) -> tuple[Float[Tensor, "n cell"], Float[Tensor, "n cell"]]:
    """Levels in dBm and delays in s; NaN where a link has no path."""
    names = ("level", "known", "delay")
    arrays = read_array_fields(folder / "links.npz", names)
    level, has_path, delay = (torch.from_numpy(arrays[name]) for name in names)
    return torch.where(has_path, level, torch.nan), torch.where(has_path, delay, torch.nan)


def observe_levels(
    position: Float[Tensor, "n 2"],
    level: Tensor,
    delay: Tensor,
    noise_db: float,
    range_noise: float,
    min_level_dbm: float,
    seed: int,
) -> Drive:
    """Reports of true levels: with noise (dB), above `min_level_dbm`; times of flight only if `range_noise` (m) is
    positive.
    """
    generator = torch.Generator().manual_seed(seed)
    observed = level + noise_db * torch.randn(level.shape, generator=generator, device=generator.device)
    observed = torch.where(observed >= min_level_dbm, observed, torch.nan)
    observed_delay = delay + range_noise / SPEED_OF_LIGHT * torch.randn(
        delay.shape, generator=generator, device=generator.device
    )
    return Drive(position, reports_from_levels(observed, observed_delay if range_noise else None))


def truth_key(tile: Tile, parameters: CalibrationParameters, position: Tensor, rays: dict, seed: int) -> dict:
    """The cache key of a synthetic truth."""
    theta = draw_parameters(parameters, seed)
    return {
        "tile": tile.fingerprint,
        "sites": [asdict(site) for site in parameters.sites],
        "values": parameters.value(theta).tolist(),
        "names": parameters.names,
        "position": position.tolist(),
        **rays,
    }
