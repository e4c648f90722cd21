"""Artefacts opened once and kept: by path and by when they were written."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch
from streamlit import config
from streamlit.runtime import get_instance

from explorer.analysis import artefact_index, phone_trial, single_fix
from explorer.app.serve import PATH_VARIABLE
from explorer.map_view import ground_image, tile_gltf, tile_meshes
from explorer.style import theme_of
from uel.core.io import data_folder
from uel.estimation.config import RayRescoringConfig
from uel.estimation.refinement import PatchSortedMap
from uel.geo.tile import Tile
from uel.geo.tile_maps import TileMaps
from uel.inference.config import RayTracingConfig
from uel.measurement import report_io
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.survey.dataset import Survey, TileSurvey

RAYS_PER_CELL = 20_000  # per cell, for paths that are drawn while somebody waits
INDEX_LIFETIME_S = 20  # a new run shows up after this long


@st.cache_resource(ttl=INDEX_LIFETIME_S, show_spinner=False)
def _shelf(path: str | None, data: str, runs: str) -> artefact_index.ArtefactIndex:
    return artefact_index.find_artefacts(Path(path) if path else None, Path(data), Path(runs))


def artefacts() -> artefact_index.ArtefactIndex:
    """What there is."""
    return _shelf(os.environ.get(PATH_VARIABLE), str(data_folder().resolve()), str(Path("runs").resolve()))


def modified_time(folder: Path, kind: artefact_index.ArtefactKind) -> float:
    """When a folder was written; part of what it is kept by."""
    return (folder / artefact_index.MARKER_FILES[kind]).stat().st_mtime


@st.cache_resource(max_entries=8, show_spinner=False)
def _tile(folder: str, stamp: float) -> Tile:
    return Tile.open(folder)


def tile(folder: Path) -> Tile:
    """Raises `UelError` as `Tile.open` does."""
    return _tile(str(folder), modified_time(folder, "tile"))


@st.cache_resource(max_entries=8, show_spinner="Reading the radio map …")
def _maps(folder: str, radio: str, stamps: tuple[float, float]) -> tuple[TileMaps, dict[str, Any]]:
    return TileMaps.from_tile(tile(Path(folder)), radio_map_io.load(radio)), radio_map_io.read_service(radio)


def tile_maps(place: artefact_index.TileArtefacts) -> tuple[TileMaps, dict[str, Any]]:
    """The first radio map of a place, with its tile; and the service arrays beside it. Raises `UelError`."""
    radio = place.maps[0]
    return _maps(str(place.tile), str(radio), (modified_time(place.tile, "tile"), modified_time(radio, "map")))


@st.cache_resource(max_entries=4, show_spinner="Opening the locator …")
def _locator(run: str, stamp: float) -> Locator:
    return Locator.load(run)


def locator(run: Path) -> Locator:
    """From the run's own folder, and from nowhere else. Raises `UelError`."""
    return _locator(str(run), modified_time(run, "run"))


@st.cache_resource(max_entries=4, show_spinner="Reading the survey …")
def _survey(folder: str, name: str, stamp: float) -> TileSurvey:
    return Survey.open(folder)[name]


def survey(folder: Path, name: str) -> TileSurvey:
    """Tracks of one tile. Raises `UelError` where they are unfinished or damaged."""
    return _survey(str(folder), name, modified_time(folder, "survey"))


@st.cache_resource(max_entries=16, show_spinner=False)
def _buildings(folder: str, colouring: tile_gltf.BuildingColouring, theme: str, stamp: float) -> Any:
    of = tile(Path(folder))
    return tile_gltf.buildings_glb(of, tile_meshes.read_buildings(of), colouring, theme_of(theme))


def buildings(
    folder: Path, colouring: tile_gltf.BuildingColouring, theme: str
) -> tuple[bytes, ground_image.Legend | None]:
    """A tile's buildings as glTF, and their legend."""
    return _buildings(str(folder), colouring, theme, modified_time(folder, "tile"))


@st.cache_resource(max_entries=16, show_spinner=False)
def _basemap(folder: str, theme: str, stamp: float) -> ground_image.Image:
    return ground_image.basemap(tile(Path(folder)), theme_of(theme))


def basemap(folder: Path, theme: str) -> ground_image.Image:
    """A tile's ground."""
    return _basemap(str(folder), theme, modified_time(folder, "tile"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _outdoors(folder: str, side: float, stamp: float) -> np.ndarray:
    of = tile(Path(folder))
    centres = of.grid(side).centres().reshape(-1, 2)
    return centres[of.is_outdoor(centres)].numpy()


def outdoor_squares(folder: Path, side: float) -> np.ndarray:
    """Middles (n, 2) in m of a tile's squares of a side in m that lie outdoors, where phones are."""
    return _outdoors(str(folder), side, modified_time(folder, "tile"))


def ground_gltf(of: Tile, picture: ground_image.Image) -> bytes:
    """The terrain with a picture on it, as glTF."""
    return tile_gltf.ground_glb(of, picture)


def media_url(content: bytes, name: str) -> str:
    """Where the browser finds a glTF file, below the path that a proxy may put before it."""
    base = config.get_option("server.baseUrlPath").strip("/")
    found = get_instance().media_file_mgr.add(content, "model/gltf-binary", name)
    return f"{'/' + base if base else ''}{found}"


@st.cache_resource(max_entries=2, show_spinner="Starting the ray tracer …")
def _simulator(folder: str, radio: str, stamp: float, _at: torch.Tensor) -> Any:
    """Opened, and tried once at a place: kernels are compiled then, and no trace's time holds their compilation."""
    from sim_bridge.scene.tracing_config import TracingConfig
    from sim_bridge.simulator import open as open_simulator

    of = tile(Path(folder))
    simulator = open_simulator(of, radio_map_io.load(radio).sites, TracingConfig(samples=RAYS_PER_CELL, chunk=1))
    simulator.trace_polylines(_at)
    return simulator


@st.cache_resource(max_entries=64, show_spinner="Tracing rays …")
def trace_rays(folder: str, radio: str, x: float, y: float, stamp: float) -> tuple[Any, float]:
    """Paths to a place in m, and the seconds that they took."""
    import time

    at = torch.tensor([[x, y]])
    simulator = _simulator(folder, radio, stamp, at)
    start = time.perf_counter()
    return simulator.trace_polylines(at), time.perf_counter() - start


@st.cache_resource(max_entries=2, show_spinner="Starting the ray tracer …")
def _rescorer(folder: str, radio: str, stamp: float) -> Any:
    """As `uel locate --refine rt` opens it, for all hypotheses of a report at once."""
    from sim_bridge.scene.tracing_config import TracingConfig
    from sim_bridge.simulator import open as open_simulator

    rays, width = RayTracingConfig(), RayRescoringConfig().hypotheses
    plan = TracingConfig(max_depth=rays.depth, samples=rays.samples, scattering=rays.scattering, chunk=width)
    return open_simulator(tile(Path(folder)), radio_map_io.load(radio).sites, plan)


@st.cache_resource(max_entries=4, show_spinner=False)
def _fine(folder: str, radio: str, patches: int, stamps: tuple[float, float]) -> PatchSortedMap:
    return PatchSortedMap.of(_maps(folder, radio, stamps)[0], patches)


@st.cache_resource(max_entries=64, show_spinner=False)
def _answered(
    run: str,
    folder: str,
    radio: str,
    refine: single_fix.RefinementMode,
    told: bytes,
    stamps: tuple[float, float, float],
    _report: Reports,
) -> single_fix.ExplainedFix:
    of = locator(Path(run))
    kept, _ = _maps(folder, radio, stamps[:2])
    fine = None if refine == "none" else _fine(folder, radio, of.config.patches, stamps[:2])
    simulator = _rescorer(folder, radio, stamps[0]) if refine == "rt" else None
    return single_fix.explain_report(of, kept, _report, fine, simulator)


def explain_report(
    run: Path, place: artefact_index.TileArtefacts, report: Reports, refine: single_fix.RefinementMode
) -> single_fix.ExplainedFix:
    """A report (a batch of one that hears a cell) located on a place, and its fix refined. Raises `UelError`."""
    radio = place.maps[0]
    stamps = modified_time(place.tile, "tile"), modified_time(radio, "map"), modified_time(run, "run")
    told = report_io.to_json(ReportSequence(torch.zeros(1), report))
    return _answered(str(run), str(place.tile), str(radio), refine, told, stamps, report)


@st.cache_resource(max_entries=16, show_spinner="Locating phones …")
def run_phone_trial(
    run: str, folder: str, radio: str, survey_of: tuple[str, str] | None, tier: str, count: int, seed: int
) -> Any:
    """A `trial.Trial` of a run on a place."""
    at = Path(folder)
    kept, _ = _maps(folder, radio, (modified_time(at, "tile"), modified_time(Path(radio), "map")))
    model = locator(Path(run)).measurement
    tracks = survey(Path(survey_of[0]), survey_of[1]) if survey_of else None
    phones = phone_trial.draw_phones(tile(at), kept, model, count, seed, tracks)
    phones = phone_trial.DrawnPhones(phones.reports.with_tier(tier), phones.position, phones.los)
    return phone_trial.score_phones(locator(Path(run)), kept, phones, seed)


@st.cache_resource(max_entries=8, show_spinner="Exchanging features …")
def permutation_importance(
    run: str, folder: str, radio: str, tier: str, count: int, seed: int
) -> dict[str, np.ndarray]:
    """Errors in m by exchanged feature, see `trial.importance`."""
    done = run_phone_trial(run, folder, radio, None, tier, count, seed)
    kept, _ = _maps(folder, radio, (modified_time(Path(folder), "tile"), modified_time(Path(radio), "map")))
    return {
        name: v.numpy()
        for name, v in phone_trial.permutation_importance(locator(Path(run)), kept, done.phones, seed).items()
    }
