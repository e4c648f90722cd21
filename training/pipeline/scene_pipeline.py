"""Places to train on, stage by stage: tile, masts, radio maps, traced tracks, and the ray tracer itself."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import scenes
from scenes.tiles.sionna_cities import city_scene_file
from sim_bridge.chains.atlas import Atlas
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.simulator import Sionna, TracingConfig
from sim_bridge.simulator import open as open_simulator
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import SurveyJob, TileWithSites, make_survey_locally
from training.cache import StageCache
from training.pipeline.config import RASTER_PIXEL, SitePlacementConfig, parse_place
from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.config import TrackConfig
from uel.radio.sites import Site, sites_from_json, sites_to_json
from uel.survey.dataset import Survey, TileSurvey


def require_unseen_city(new: tuple[str, ...], seen: tuple[str, ...], what: str, against: str) -> None:
    """Raise `UelError` for an unknown bundled city, and where a city of `new` is among those `seen`."""
    cities = {name: city_of(name) for name in (*new, *seen)}
    both = [name for name in seen if cities[name] in {cities[other] for other in new}]
    if both:
        raise UelError(
            f"the {what} city must be unseen",
            got=f"{what} {', '.join(new)}, {against} {', '.join(seen)}",
            do=f"{what} on another city, or take {', '.join(both)} out of {against}",
        )


def city_of(place: str) -> str:
    """The city of a tile's folder, or of a bundled `city@x,y`. Raises `UelError` when there is none of this name."""
    if (Path(place) / "tile.json").is_file():
        meta = Tile.open(place).meta
        return str(meta.get("place", meta["name"]))
    city, _ = parse_place(place)
    city_scene_file(city)
    return city


def require_raster(pixel: float, size: float) -> None:
    """Raise `UelError` unless pixels of maps are whole pixels of the tile's rasters."""
    Grid(size=size, pixel=RASTER_PIXEL)
    if pixel < RASTER_PIXEL or pixel % RASTER_PIXEL:
        raise UelError(
            "pixels must nest in the tile's rasters",
            got=f"pixel {pixel} m over {RASTER_PIXEL} m",
            do=f"choose a multiple of {RASTER_PIXEL:g} m that divides the size, for example 4 m",
        )


def open_tile(place: str, size: float, margin: float, stages: StageCache) -> Tile:
    """A tile's folder, or that of a bundled city, cut when it is not there yet."""
    if (Path(place) / "tile.json").is_file():
        return Tile.open(place)
    city, centre = parse_place(place)
    geometry = {"place": place, "size": size, "margin": margin}
    cut = {"center": centre, "size": size, "margin": margin, "pixel": RASTER_PIXEL}
    at = stages.make(f"tile-{place}", geometry, lambda out: scenes.build(city, out / "tile", **cut))
    return Tile.open(at / "tile")


def place_sites(tile: Tile, plan: SitePlacementConfig, seed: int) -> tuple[Site, ...]:
    """Rooftop masts, as a file would hold them."""
    sites = scenes.place(tile, plan.count, seed=seed, sectors=plan.sectors, mast=plan.mast)
    return sites_from_json(json.loads(json.dumps(sites_to_json(sites))))


def trace_tracks(place: TileWithSites, tracks: TrackConfig, tracing: TracingConfig, seed: int, out: Path) -> None:
    """Paths alone: what a phone makes of them is drawn on read."""
    rays = FeatureConfig(layers=("rt",))
    make_survey_locally(
        SurveyJob(out, (place,), SurveyMakingConfig(tracks=tracks, measure=rays, tracing=tracing, seed=seed))
    )


def track_survey(
    name: str,
    key: Any,
    place: TileWithSites,
    tracks: TrackConfig,
    tracing: TracingConfig,
    seed: int,
    stages: StageCache,
) -> TileSurvey:
    """Tracks of one place, traced when they are not there yet."""
    at = stages.make(name, key, lambda out: trace_tracks(place, tracks, tracing, seed, out / "survey"))
    return Survey.open(at / "survey")[place.tile.name]


def live_simulator(
    name: str,
    key: dict[str, Any],
    place: TileWithSites,
    tracing: TracingConfig,
    atlas: AtlasConfig,
    stages: StageCache,
) -> Sionna:
    """The ray tracer that a loss queries, with an atlas of chains unless `tracing` has diffraction."""
    simulator = open_simulator(place.tile, place.sites, tracing)
    if not tracing.diffraction:
        atlas = replace(atlas, depth=tracing.max_depth)
        at = stages.make(name, key | {"atlas": asdict(atlas)}, lambda out: simulator.build_atlas(atlas).save(out))
        simulator.attach_atlas(Atlas.load(at))
    return simulator
