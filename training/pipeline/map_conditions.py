"""The maps that a locator is given under each map condition of EVALUATION.md: exact, of few rays, wrong, or none."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from scenes.perturbation import Perturbation
from scenes.variants.map_perturbation import perturb_sites
from scenes.variants.mesh_perturbation import perturb_meshes
from training.cache import StageCache
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig
from training.pipeline.scene_pipeline import radio_map_stage
from uel.adaptation.mast_heights import MapFactory
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cells_of, with_azimuth_offsets
from uel.radio.tracing_config import TracingConfig

RETRACING_SEED_OFFSET = 104_729  # added to the seed of the rays of maps that are traced anew


def maps_for_condition(
    condition: str, tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    """The maps that a locator is given under a condition; `seed` draws their errors. Traced once, kept in
    `stage_cache`.

    Under wrong_sites `TileMaps.radio.sites` are the assumed sites; under wrong_buildings, too, where a mast would
    otherwise stand inside a wall that is higher on the map. Under wrong_buildings the building channels and the prior
    are those of the wrong map.

    Raises `UelError` for an unknown condition, and the errors of the ray tracer for sites and carriers.
    """
    if condition not in MAP_CONDITIONS:
        raise UelError("unknown map condition", got=condition, do=f"choose one of {', '.join(MAP_CONDITIONS)}")
    return _MAKERS[condition](tile, sites, config, stage_cache, seed)


def assumed_deployment(
    condition: str, tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> tuple[Tile, tuple[Site, ...]]:
    """The tile and the sites that are assumed with the maps of a condition: those that its user would ray-trace."""
    specs = {
        "wrong_materials": Perturbation(materials=True),
        "wrong_buildings": Perturbation(heights=config.heights, missing=config.missing),
    }
    if condition in specs:
        return _perturbed_twin(specs[condition], tile, sites, stage_cache, seed)
    return tile, _wrong_sites(sites, config, seed, tile) if condition == "wrong_sites" else sites


def map_factory(
    condition: str, tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> MapFactory:
    """The factory of more maps with the assumptions of a condition, on its assumed tile.

    It uses as many rays as the true map, under few_rays, too, but other ones: the noise of the true map is unknown to
    its user. Raises `UelError` for no_radio_map.
    """
    if condition == "no_radio_map":
        raise UelError(
            "condition no_radio_map has no map to trace anew", got=condition, do="choose exact to wrong_sites"
        )
    assumed_tile, assumed_sites = assumed_deployment(condition, tile, sites, config, stage_cache, seed)
    min_heights = tuple(assumed_tile.min_mast_z(*site.position[:2]) for site in assumed_sites)

    def trace(retraced_sites: tuple[Site, ...], rays_fraction: float) -> RadioMap:
        options = {
            "seed": config.tracing.seed + RETRACING_SEED_OFFSET,
            "map_rays": round(rays_fraction * config.tracing.map_rays),
        }
        # The map of omnidirectional antennas does not depend on their azimuths.
        all_omnidirectional = all(cell.omnidirectional for _, cell in cells_of(retraced_sites))
        traced_sites = (
            with_azimuth_offsets(retraced_sites, [-cell.azimuth_deg for _, cell in cells_of(retraced_sites)])
            if all_omnidirectional
            else retraced_sites
        )
        return replace(
            _traced_map(
                "map-masts", assumed_tile, traced_sites, config, replace(config.tracing, **options), stage_cache
            ),
            sites=retraced_sites,
        )

    return MapFactory(trace, min_heights)


# ---- one maker for each condition ----------------------------------------------------------------------


def _exact(
    tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    return TileMaps.from_tile(tile, _traced_map("map", tile, sites, config, config.tracing, stage_cache))


def _few_rays(
    tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    return TileMaps.from_tile(
        tile, _traced_map("map-few", tile, sites, config, _few_rays_tracing(config, seed), stage_cache)
    )


def _few_rays_tracing(config: MapConditionConfig, seed: int) -> TracingConfig:
    """Tracing with separate rays: a part of the true map's would share its noise."""
    return replace(config.tracing, map_rays=config.few_rays, seed=config.tracing.seed + 1 + seed)


def _twin_maps(
    condition: str, tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    twin, twin_sites = assumed_deployment(condition, tile, sites, config, stage_cache, seed)
    return TileMaps.from_tile(twin, _traced_map("map-twin", twin, twin_sites, config, config.tracing, stage_cache))


def _perturbed_twin(
    spec: Perturbation, tile: Tile, sites: tuple[Site, ...], stage_cache: StageCache, seed: int
) -> tuple[Tile, tuple[Site, ...]]:
    key = {"tile": tile.fingerprint, "spec": asdict(spec), "seed": seed}
    folder = stage_cache.make(f"twin-{tile.name}", key, lambda out: _write_twin(tile, out, spec, seed))
    twin = Tile.open(folder / "tile")
    twin_sites, _ = perturb_sites(sites, Perturbation(), seed, twin)
    return twin, twin_sites


def _write_twin(tile: Tile, out: Path, spec: Perturbation, seed: int) -> None:
    perturb_meshes(tile, out / "tile", spec, seed)


def _wrong_sites(sites: tuple[Site, ...], config: MapConditionConfig, seed: int, tile: Tile) -> tuple[Site, ...]:
    spec = Perturbation(azimuth_deg=config.azimuth_deg, antenna_height=config.antenna_height)
    assumed_sites, _ = perturb_sites(sites, spec, seed, tile)
    return assumed_sites


def _wrong_site_maps(
    tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    assumed_sites = _wrong_sites(sites, config, seed, tile)
    return TileMaps.from_tile(tile, _traced_map("map-masts", tile, assumed_sites, config, config.tracing, stage_cache))


def _no_maps(
    tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig, stage_cache: StageCache, seed: int
) -> TileMaps:
    return TileMaps.from_tile(tile, no_radio_map(tile, sites, config))


def no_radio_map(tile: Tile, sites: tuple[Site, ...], config: MapConditionConfig) -> RadioMap:
    """A radio map with sites and without any known pixel."""
    tile.require_sites(sites)
    grid = tile.grid(config.pixel)
    empty = torch.zeros(len(cells_of(sites)), *grid.shape, device="cpu")
    return RadioMap(
        grid=grid,
        sites=sites,
        gain=empty,
        relative_error=empty,
        known=empty.bool(),
        los=empty.bool(),
        elevation=tile.ground(grid.centres()) + config.tracing.ue_height,
        made_on=tile.reference,
    )


def _traced_map(
    name: str,
    tile: Tile,
    sites: tuple[Site, ...],
    config: MapConditionConfig,
    tracing: TracingConfig,
    stage_cache: StageCache,
) -> RadioMap:
    return radio_map_io.load(radio_map_stage(name, tile, sites, tracing, config.pixel, stage_cache))


MapMaker = Callable[[Tile, tuple[Site, ...], MapConditionConfig, StageCache, int], TileMaps]
_MAKERS: dict[str, MapMaker] = {
    "exact": _exact,
    "few_rays": _few_rays,
    "wrong_materials": partial(_twin_maps, "wrong_materials"),
    "wrong_buildings": partial(_twin_maps, "wrong_buildings"),
    "wrong_sites": _wrong_site_maps,
    "no_radio_map": _no_maps,
}
