"""Artefacts and results that pages share, opened or computed once.

A function that `cached` decorates takes folders as `Path`; what it returned is kept until a folder is written anew.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import streamlit as st
import torch
from streamlit import config
from streamlit.runtime import get_instance

from explorer.analysis import artefact_index, measured_layers, report_sources, single_fix
from explorer.analysis.artefact_index import ArtefactIndex, TileArtefacts
from explorer.analysis.district import DistrictView
from explorer.analysis.report_sources import ReportSource
from explorer.app.serve import PATH_VARIABLE
from explorer.map_view.ground_image import Legend
from explorer.map_view.marks import AreaMarks
from explorer.map_view.tile_meshes import TileMesh, read_buildings
from explorer.reports.run import read_method_errors
from uel.core.io import data_folder
from uel.errors import quoted
from uel.estimation.ray_rescoring import RayRescoringConfig
from uel.estimation.refinement import PatchSortedMap
from uel.geo.tile import Tile
from uel.inference.deployment import Deployment
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.tracing_config import ACCURATE_TRACING, TracingConfig
from uel.results.run_summary import PROTOCOL_FILE, MethodErrors, newest_evaluation
from uel.survey.dataset import Survey, TileSurvey

P = ParamSpec("P")
R = TypeVar("R")
RAYS_PER_CELL = 20_000  # of paths that are traced while a visitor waits
INDEX_LIFETIME_S = 20  # a new run is listed after at most this time


def _written(folder: Path) -> tuple[str, list[float]]:
    """A folder with the times in s at which its marker files were written."""
    files = [folder / name for name in artefact_index.MARKER_FILES.values()]
    return str(folder), [file.stat().st_mtime for file in files if file.is_file()]


def _encoded(reports: Reports) -> bytes:
    return report_io.to_json(ReportSequence(torch.zeros(len(reports)), reports))


def cached(max_entries: int, spinner: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that keeps a function's results for all visitors, by its arguments and the age of its folders.

    `spinner` is shown while the function runs. Arguments that begin with an underscore are no part of the key.
    """
    by_type = {type(Path()): _written, Reports: _encoded}
    return st.cache_resource(max_entries=max_entries, show_spinner=spinner or False, hash_funcs=by_type)


# ---- artefacts -----------------------------------------------------------------------------------------


@st.cache_resource(ttl=INDEX_LIFETIME_S, show_spinner=False)
def _artefacts(path: str | None, data: str, runs: str) -> ArtefactIndex:
    return artefact_index.find_artefacts(Path(path) if path else None, Path(data), Path(runs))


def artefacts() -> ArtefactIndex:
    """The index of artefacts on this machine."""
    return _artefacts(os.environ.get(PATH_VARIABLE), str(data_folder().resolve()), str(Path("runs").resolve()))


@cached(max_entries=8)
def tile(folder: Path) -> Tile:
    """The tile in a folder. Raises `UelError` as `Tile.open` does."""
    return Tile.open(folder)


@cached(max_entries=8, spinner="Reading the radio map …")
def open_deployment(folder: Path, radio: Path) -> Deployment:
    """A tile with a radio map. Raises `UelError`."""
    return Deployment.open(folder, radio)


def deployment(artefacts: TileArtefacts) -> Deployment:
    """A tile with its first radio map; see `open_deployment`."""
    return open_deployment(artefacts.folder, artefacts.maps[0])


def radio_map(folder: Path, radio: Path) -> RadioMap:
    """The radio map of a tile. Raises `UelError` as `Deployment.open` does."""
    return open_deployment(folder, radio).maps.radio


@cached(max_entries=2, spinner="Kriging the district's levels …")
def district(folder: Path) -> DistrictView:
    """The measured network of a tile, kriged from its labelled squares. Raises `UelError` for a tile without one."""
    return DistrictView.of(tile(folder))


@cached(max_entries=8, spinner="Reading the measurements …")
def measured_layer(
    folder: Path, radio: Path | None, name: str, cell: int | None, limits: tuple[float, float] | None
) -> tuple[AreaMarks, Legend]:
    """A layer of a measured network's tile, see `measured_layers`; `limits` of the colours of levels in dBm.

    Raises `UelError` for a tile of another kind.
    """
    if name == "errors":
        return measured_layers.error_layer(tile(folder), district(folder))
    if name == "residual":
        assert radio is not None
        return measured_layers.residual_layer(tile(folder), radio_map(folder, radio), cell)
    return measured_layers.level_layer(tile(folder), cell, limits)


@cached(max_entries=8)
def meshes(folder: Path) -> TileMesh:
    """The triangles of a tile's buildings. Raises `UelError` where a mesh is missing or damaged."""
    return read_buildings(tile(folder))


@cached(max_entries=8)
def service_rasters(radio: Path) -> dict[str, torch.Tensor]:
    """The service rasters beside a radio map. Raises `UelError`."""
    return radio_map_io.read_service(radio)


@cached(max_entries=4, spinner="Opening the locator …")
def locator(run: Path) -> Locator:
    """The locator in a run's own folder. Raises `UelError` where it is missing or damaged."""
    return Locator.load(run)


@cached(max_entries=4, spinner="Reading the survey …")
def survey(folder: Path, name: str) -> TileSurvey:
    """Tracks of one tile of a survey. Raises `UelError` where the survey is unfinished or damaged."""
    return Survey.open(folder)[name]


@cached(max_entries=16)
def walk(folder: Path, radio: Path, run: Path, number: int) -> ReportSource:
    """The walk of a number on a tile, as the run's locator assumes that phones report."""
    return report_sources.walk_source(open_deployment(folder, radio), locator(run).measurement, number)


@cached(max_entries=2, spinner="Reading the log …")
def uploaded_log(folder: Path, radio: Path, run: Path, name: str, content: bytes) -> ReportSource:
    """Reports of an uploaded log. Raises `UelError` with the fault of the file."""
    return report_sources.file_source(open_deployment(folder, radio), locator(run).measurement, name, content)


# ---- files for the browser ----------------------------------------------------------------------------


def media_url(content: bytes, media_type: str, name: str) -> str:
    """The address of a file for the browser, below the path of a proxy."""
    base = config.get_option("server.baseUrlPath").strip("/")
    address = get_instance().media_file_mgr.add(content, media_type, name)
    return f"{'/' + base if base else ''}{address}"


# ---- rays ----------------------------------------------------------------------------------------------


@cached(max_entries=1, spinner="Starting the ray tracer …")
def _simulator(folder: Path, radio: Path, _position: torch.Tensor) -> Any:
    """A ray tracer that has traced one position, so that no later time includes the compilation of kernels.

    Raises `UelError` for a radio map of another tile, and for one that no ray tracer made.
    """
    from sim_bridge.registry import open_ray_tracer, require_paths

    opened, purpose = open_deployment(folder, radio), "the display of rays"
    require_paths(opened.backend, purpose, f" to uel map {quoted(folder)}")
    tracing = TracingConfig(backend=opened.backend, samples=RAYS_PER_CELL, chunk=1)
    simulator = open_ray_tracer(opened.tile, opened.sites, tracing, purpose)
    simulator.trace_polylines(_position)
    return simulator


@cached(max_entries=64, spinner="Tracing rays …")
def trace_rays(folder: Path, radio: Path, x: float, y: float) -> tuple[Any, float]:
    """Paths to a position in m as `sim_bridge.paths.polylines.PathPolylines`, and the time in s that they took."""
    position = torch.tensor([[x, y]])
    simulator = _simulator(folder, radio, position)
    start = time.perf_counter()
    return simulator.trace_polylines(position), time.perf_counter() - start


@cached(max_entries=1, spinner="Starting the ray tracer …")
def _rescoring_simulator(folder: Path, radio: Path) -> Any:
    """The simulator that made a radio map, set up as by `uel locate --refine rt`, for all hypotheses of a report at
    once. Raises `UelError` for a radio map of another tile."""
    import sim_bridge

    opened = open_deployment(folder, radio)
    tracing = replace(ACCURATE_TRACING, backend=opened.backend, chunk=RayRescoringConfig().hypotheses)
    return sim_bridge.open(opened.tile, opened.sites, tracing)


# ---- fixes ---------------------------------------------------------------------------------------------


@cached(max_entries=4)
def _patch_sorted_map(folder: Path, radio: Path, patches: int) -> PatchSortedMap:
    return PatchSortedMap.of(open_deployment(folder, radio).maps, patches)


@cached(max_entries=64)
def _explain_report(
    run: Path,
    folder: Path,
    radio: Path,
    report: Reports,
    model: ObservationModel,
    refine: single_fix.RefinementMode,
) -> single_fix.ExplainedFix:
    _warm_up(run, folder, radio, refine, report, model)
    return _explained(run, folder, radio, report, model, refine)


@cached(max_entries=8)
def _warm_up(
    run: Path, folder: Path, radio: Path, refine: single_fix.RefinementMode, _report: Reports, _model: ObservationModel
) -> None:
    """Locate one report, so that the times of others include no first use of a network or a kernel."""
    _explained(run, folder, radio, _report, _model, refine)


def _explained(
    run: Path,
    folder: Path,
    radio: Path,
    report: Reports,
    model: ObservationModel,
    refine: single_fix.RefinementMode,
) -> single_fix.ExplainedFix:
    opened, maps = locator(run), open_deployment(folder, radio).maps
    fine = None if refine == "none" else _patch_sorted_map(folder, radio, opened.config.patches)
    simulator = _rescoring_simulator(folder, radio) if refine == "rt" else None
    return single_fix.explain_report(opened, maps, report, model, fine, simulator)


def explain_report(
    run: Path, artefacts: TileArtefacts, report: Reports, model: ObservationModel, refine: single_fix.RefinementMode
) -> single_fix.ExplainedFix:
    """The fix of a report (a batch of one that hears a cell) on a tile, refined as asked. Raises `UelError`."""
    return _explain_report(run, artefacts.folder, artefacts.maps[0], report, model, refine)


def method_errors(run: Path) -> dict[str, MethodErrors]:
    """Errors in the base condition of a run's newest evaluation by `truth/tier/method`. Raises `UelError`."""
    evaluation = newest_evaluation(run)
    stamp = "" if evaluation is None else f"{evaluation} {(evaluation / PROTOCOL_FILE).stat().st_mtime}"
    return _method_errors(run, stamp)


@cached(max_entries=16)
def _method_errors(run: Path, stamp: str) -> dict[str, MethodErrors]:
    return read_method_errors(run)


# ---- machine -------------------------------------------------------------------------------------------


@cached(max_entries=1, spinner="Looking for a GPU …")
def ray_tracer_backend() -> str:
    """What the ray tracer runs on. Raises `UelError` where it cannot run."""
    from sim_bridge.backend.runtime import ensure_runtime

    runtime = ensure_runtime()
    return f"{runtime}; Mitsuba variant {runtime.variant}"
