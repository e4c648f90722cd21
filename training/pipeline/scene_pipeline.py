"""Stages from a place to a training deployment: tile, sites, traced tracks, and the live ray tracer."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import scenes
from scenes.tiles.sionna_cities import city_scene_file
from sim_bridge.chains.atlas import SCHEMA as ATLAS_SCHEMA
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.registry import find_backend, open_ray_tracer
from sim_bridge.registry import open as open_simulator
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import SurveyJob, TileWithSites, make_survey_locally
from training.cache import StageCache
from training.pipeline.config import RASTER_PIXEL, SitePlacementConfig, parse_place
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.config import TrackConfig
from uel.radio import radio_map_io
from uel.radio.simulator import Simulator
from uel.radio.sites import Site, sites_from_json, sites_to_json
from uel.radio.tracing_config import TracingConfig, radio_map_key, tracing_key
from uel.survey.dataset import Survey, TileSurvey


def require_unseen_city(new: tuple[str, ...], seen: tuple[str, ...], what: str, against: str) -> None:
    """Raise `UelError` for an unknown bundled city, and if a city of `new` is among those of `seen`."""
    cities = {name: city_of(name) for name in (*new, *seen)}
    seen_cities = [name for name in seen if cities[name] in {cities[other] for other in new}]
    if seen_cities:
        raise UelError(
            f"the {what} city must be unseen",
            got=f"{what} {', '.join(new)}, {against} {', '.join(seen)}",
            do=f"{what} on another city, or take {', '.join(seen_cities)} out of {against}",
        )


def city_of(place: str) -> str:
    """The city of a tile folder, or of a bundled `city@x,y`. Raises `UelError` if it is unknown."""
    if (Path(place) / "tile.json").is_file():
        meta = Tile.open(place).meta
        return str(meta.get("place", meta["name"]))
    city, _ = parse_place(place)
    city_scene_file(city)
    return city


def require_raster(pixel: float, size: float) -> None:
    """Raise `UelError` unless map pixels are whole pixels of the tile's rasters."""
    Grid(size=size, pixel=RASTER_PIXEL)
    if pixel < RASTER_PIXEL or pixel % RASTER_PIXEL:
        raise UelError(
            "pixels must nest in the tile's rasters",
            got=f"pixel {pixel} m over {RASTER_PIXEL} m",
            do=f"choose a multiple of {RASTER_PIXEL:g} m that divides the size, for example 4 m",
        )


def open_tile(place: str, size: float, margin: float, stage_cache: StageCache) -> Tile:
    """The tile of a folder, or of a bundled city, which is built if it is not in the cache."""
    if (Path(place) / "tile.json").is_file():
        return Tile.open(place)
    city, centre = parse_place(place)
    geometry = {"place": place, "size": size, "margin": margin}
    extent = {"center": centre, "size": size, "margin": margin, "pixel": RASTER_PIXEL}
    folder = stage_cache.make(f"tile-{place}", geometry, lambda out: scenes.build(city, out / "tile", **extent))
    return Tile.open(folder / "tile")


def sites_of_tile(tile: Tile, config: SitePlacementConfig, seed: int, number: int = 0) -> tuple[Site, ...]:
    """The tile's own sites for the first deployment on it, if it has some, otherwise rooftop sites that are drawn."""
    return tile.sites if number == 0 and tile.has_sites else place_sites(tile, config, seed)


def place_sites(tile: Tile, config: SitePlacementConfig, seed: int) -> tuple[Site, ...]:
    """Rooftop sites that are drawn, as read from a file."""
    sites = scenes.place(tile, config.count, seed=seed, sectors=config.sectors, mast=config.mast)
    return sites_from_json(json.loads(json.dumps(sites_to_json(sites))))


def radio_map_stage(
    name: str, tile: Tile, sites: tuple[Site, ...], tracing: TracingConfig, pixel: float, stage_cache: StageCache
) -> Path:
    """The folder of a radio map from the ray tracer, or from the cache."""
    key = {"tile": tile.fingerprint, "sites": sites_to_json(sites), "tracing": radio_map_key(tracing), "pixel": pixel}

    def build(out: Path) -> None:
        radio = open_simulator(tile, sites, tracing).radio_map(tile.grid(pixel))
        radio_map_io.save(replace(radio, backend=tracing.backend), out)

    return stage_cache.make(f"{name}-{tile.name}", key, build)


def trace_tracks(place: TileWithSites, tracks: TrackConfig, tracing: TracingConfig, seed: int, out: Path) -> None:
    """Survey paths alone: reports are drawn when it is read."""
    features = FeatureConfig(layers=("rt",))
    make_survey_locally(
        SurveyJob(out, (place,), SurveyMakingConfig(tracks=tracks, measure=features, tracing=tracing, seed=seed))
    )


def track_survey(
    name: str,
    key: Any,
    place: TileWithSites,
    tracks: TrackConfig,
    tracing: TracingConfig,
    seed: int,
    stage_cache: StageCache,
) -> TileSurvey:
    """Traced tracks of one place, made or reused."""
    folder = stage_cache.make(name, key, lambda out: trace_tracks(place, tracks, tracing, seed, out / "survey"))
    return Survey.open(folder / "survey")[place.tile.name]


def simulator_with_atlas(
    name: str,
    key: dict[str, Any],
    place: TileWithSites,
    tracing: TracingConfig,
    atlas: AtlasConfig,
    stage_cache: StageCache,
    learns: bool = True,
) -> Simulator:
    """A simulator for many queries; a ray tracer has an atlas, which learns from searches if it `learns`."""
    if not (find_backend(tracing.backend).traces_paths and tracing.max_depth):
        return open_simulator(place.tile, place.sites, tracing)
    simulator = open_ray_tracer(place.tile, place.sites, tracing, "an atlas")
    atlas = replace(atlas, depth=tracing.max_depth)
    key = key | {"atlas": {**asdict(atlas), "schema": ATLAS_SCHEMA}, "tracing": tracing_key(tracing)}
    folder = stage_cache.make(name, key, lambda out: simulator.build_atlas(atlas).save(out))
    simulator.attach_atlas(Atlas.load(folder), learns)
    return simulator
