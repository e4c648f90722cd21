"""Maps as a locator gets them: exact, noisy, of a wrong city, of wrong masts, or none (PROTOCOL's exact to
no_radio_map)."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scenes.perturbation import Perturbation
from scenes.variants.map_perturbation import perturb_sites
from scenes.variants.mesh_perturbation import perturb_meshes
from sim_bridge.scene.tracing_config import TracingConfig
from sim_bridge.simulator import open as open_simulator
from training.cache import StageCache
from training.pipeline.config import MAP_CONDITIONS, MapConditionConfig
from uel.adaptation.mast_heights import MapFactory
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import Site, cells_of, sites_to_json, with_azimuth_offsets

RETRACING_SEED_OFFSET = 104_729  # added to the seed of rays that trace a map anew


def maps_for_condition(
    condition: str, tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int
) -> TileMaps:
    """The maps that a locator is given under a condition; `seed` draws what is wrong. Traced once, kept by `stages`.

    Under wrong_sites (and wrong_buildings, where a mast would stand inside a wall that the map believes to be higher)
    `TileMaps.radio.sites` are the masts as they are believed to be. Under wrong_buildings the buildings' channels and
    the prior are the wrong map's, too.

    Raises `UelError` for an unknown condition, and what the ray tracer raises for sites and carriers.
    """
    if condition not in MAP_CONDITIONS:
        raise UelError("no such map condition", got=condition, do=f"choose one of {', '.join(MAP_CONDITIONS)}")
    return _MAKERS[condition](tile, sites, plan, stages, seed)


def assumed_deployment(
    condition: str, tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int
) -> tuple[Tile, tuple[Site, ...]]:
    """The tile and the masts that whoever has the maps of a condition takes for true: what they would ray-trace."""
    specs = {
        "wrong_materials": Perturbation(materials=True),
        "wrong_buildings": Perturbation(heights=plan.heights, missing=plan.missing),
    }
    if condition in specs:
        return _perturbed_twin(specs[condition], tile, sites, stages, seed)
    return tile, _wrong_sites(sites, plan, seed, tile) if condition == "wrong_sites" else sites


def map_factory(
    condition: str, tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int
) -> MapFactory:
    """How whoever has the maps of a condition traces more of them: on the place that they believe in.

    By as many rays as the true map, under few_rays, too (who can trace is not left with few), but by others: nobody
    knows the noise of the truth. Raises `UelError` for no_radio_map, where there is no map to trace anew.
    """
    if condition == "no_radio_map":
        raise UelError(
            "without a radio map there is none to trace anew", got=condition, do="choose exact to wrong_sites"
        )
    place, believed = assumed_deployment(condition, tile, sites, plan, stages, seed)
    least = tuple(place.min_mast_z(*site.position[:2]) for site in believed)

    def trace(masts: tuple[Site, ...], share: float) -> RadioMap:
        rays = {"seed": plan.tracing.seed + RETRACING_SEED_OFFSET, "map_rays": round(share * plan.tracing.map_rays)}
        # One map serves whichever way an antenna looks that looks everywhere.
        round_about = all(cell.omnidirectional for _, cell in cells_of(masts))
        north = (
            with_azimuth_offsets(masts, [-cell.azimuth_deg for _, cell in cells_of(masts)]) if round_about else masts
        )
        return replace(
            _cached_radio_map("map-masts", place, north, plan, replace(plan.tracing, **rays), stages), sites=masts
        )

    return MapFactory(trace, least)


# ---- one maker for each condition ----------------------------------------------------------------------


def _exact(tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int) -> TileMaps:
    return TileMaps.from_tile(tile, _cached_radio_map("map", tile, sites, plan, plan.tracing, stages))


def _few_rays(tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int) -> TileMaps:
    return TileMaps.from_tile(
        tile, _cached_radio_map("map-few", tile, sites, plan, _few_rays_tracing(plan, seed), stages)
    )


def _few_rays_tracing(plan: MapConditionConfig, seed: int) -> TracingConfig:
    """Rays of their own: a part of the true map's would share its noise."""
    return replace(plan.tracing, map_rays=plan.few_rays, seed=plan.tracing.seed + 1 + seed)


def _twin_maps(
    condition: str, tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int
) -> TileMaps:
    twin, raised = assumed_deployment(condition, tile, sites, plan, stages, seed)
    return TileMaps.from_tile(twin, _cached_radio_map("map-twin", twin, raised, plan, plan.tracing, stages))


def _perturbed_twin(
    spec: Perturbation, tile: Tile, sites: tuple[Site, ...], stages: StageCache, seed: int
) -> tuple[Tile, tuple[Site, ...]]:
    key = {"tile": tile.fingerprint, "spec": asdict(spec), "seed": seed}
    at = stages.make(f"twin-{tile.name}", key, lambda out: _write_twin(tile, out, spec, seed))
    twin = Tile.open(at / "tile")
    raised, _ = perturb_sites(sites, Perturbation(), seed, twin)
    return twin, raised


def _write_twin(tile: Tile, out: Path, spec: Perturbation, seed: int) -> None:
    perturb_meshes(tile, out / "tile", spec, seed)


def _wrong_sites(sites: tuple[Site, ...], plan: MapConditionConfig, seed: int, tile: Tile) -> tuple[Site, ...]:
    spec = Perturbation(azimuth_deg=plan.azimuth_deg, antenna_height=plan.antenna_height)
    believed, _ = perturb_sites(sites, spec, seed, tile)
    return believed


def _wrong_site_maps(
    tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int
) -> TileMaps:
    believed = _wrong_sites(sites, plan, seed, tile)
    return TileMaps.from_tile(tile, _cached_radio_map("map-masts", tile, believed, plan, plan.tracing, stages))


def _no_maps(tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, stages: StageCache, seed: int) -> TileMaps:
    return TileMaps.from_tile(tile, no_radio_map(tile, sites, plan))


def no_radio_map(tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig) -> RadioMap:
    """Where the masts are, and nothing known of any pixel."""
    tile.require_sites(sites)
    grid = tile.grid(plan.pixel)
    empty = torch.zeros(len(cells_of(sites)), *grid.shape)
    return RadioMap(
        grid=grid,
        sites=sites,
        gain=empty,
        relative_error=empty,
        known=empty.bool(),
        los=empty.bool(),
        elevation=tile.ground(grid.centres()) + plan.tracing.ue_height,
    )


def _cached_radio_map(
    name: str, tile: Tile, sites: tuple[Site, ...], plan: MapConditionConfig, tracing: TracingConfig, stages: StageCache
) -> RadioMap:
    """A radio map from the ray tracer, or from the folder where it was left."""
    key: dict[str, Any] = {
        "tile": tile.fingerprint,
        "sites": sites_to_json(sites),
        "tracing": asdict(tracing),
        "pixel": plan.pixel,
    }
    at = stages.make(
        f"{name}-{tile.name}",
        key,
        lambda out: radio_map_io.save(open_simulator(tile, sites, tracing).radio_map(tile.grid(plan.pixel)), out),
    )
    return radio_map_io.load(at)


MapMaker = Callable[[Tile, tuple[Site, ...], MapConditionConfig, StageCache, int], TileMaps]
_MAKERS: dict[str, MapMaker] = {
    "exact": _exact,
    "few_rays": _few_rays,
    "wrong_materials": partial(_twin_maps, "wrong_materials"),
    "wrong_buildings": partial(_twin_maps, "wrong_buildings"),
    "wrong_sites": _wrong_site_maps,
    "no_radio_map": _no_maps,
}
