"""Radio maps of tiles, band by band, checked against traced paths: what `uel map` does."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sim_bridge.backend.runtime import limit_threads
from sim_bridge.channel import phy_abstraction
from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.engines.config import ENGINE_FIELDS
from sim_bridge.engines.run import make_all
from sim_bridge.engines.units import UnitDone
from sim_bridge.registry import open as open_simulator
from sim_bridge.survey.worker import TileWithSites
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.durations import duration_text
from uel.core.files.locks import folder_lock
from uel.core.files.write_errors import require_writable
from uel.core.io import as_json, data_folder, replace_file
from uel.core.key_differences import difference_text, key_differences
from uel.core.outside.json_text import read_json_object
from uel.core.units import to_db
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.mobility.trajectories import draw_positions
from uel.radio import radio_map_io
from uel.radio.config import Carrier
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapLookup, RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sinr import sinr, snr
from uel.radio.sites import Site, require_sites, sites_to_json, split_by_carrier, with_frequency
from uel.radio.tracing_config import RADIO_MAP_MODEL, TracingConfig, radio_map_key

REPORT_NAME = "map_report.json"
_FIELDS_OUTSIDE_KEY = ("tiles", "frequencies", "out", *ENGINE_FIELDS)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RadioMapJob:
    """Radio maps to be made, each a unit: of a tile with its sites on one carrier."""

    config: RadioMapConfig
    tiles: tuple[TileWithSites, ...]

    @property
    def folder(self) -> Path:
        return self.config.folder

    @property
    def phases(self) -> tuple[range, ...]:
        return (range(len(self.tiles)),)

    def map_folder(self, number: int) -> Path:
        """The folder of a map, which names any simulator but the default."""
        place, backend = self.tiles[number], self.config.tracing.backend
        suffix = "" if backend == TracingConfig().backend else f"-{backend}"
        return self.folder / f"{place.tile.name}-{require_sites(place.sites).frequency / 1e9:g}GHz{suffix}"

    def report(self, number: int) -> dict[str, Any] | None:
        """The report of a map, or None where it is not made, or was made otherwise."""
        report, place = _read_report(self.map_folder(number)), self.tiles[number]
        return report if report and report["made_from"] == _provenance(place.tile, place.sites, self.config) else None

    def is_done(self, number: int) -> bool:
        return self.report(number) is not None

    def reason(self, number: int) -> str:
        """Why a map is made again; empty for one that never was made."""
        former, place = _read_report(self.map_folder(number)), self.tiles[number]
        made_from = _provenance(place.tile, place.sites, self.config)
        return difference_text(key_differences(former["made_from"], made_from)) if former else ""

    def start(self, threads: int | None) -> Callable[[int], UnitDone]:
        if threads:
            limit_threads(threads)
        return self.make

    def make(self, number: int) -> UnitDone:
        """Trace a map, compare it with paths, and write its folder, unless another process has just done so."""
        place, folder = self.tiles[number], self.map_folder(number)
        with folder_lock(folder):
            if not self.is_done(number):
                _make(place.tile, place.sites, self.config, folder)
        return UnitDone(number, folder.name)


def make_maps(config: RadioMapConfig) -> list[tuple[Path, dict[str, Any]]]:
    """Folders of the maps, each with `radiomap.zarr` and `map_report.json`, and the contents of the latter.

    A map that was made the same way before is reused; none is returned where the configuration makes some `unit` alone
    or the script of a job array. Raises `UelError` for a folder that is no tile, a tile without sites, a carrier
    outside its materials' bands, a pixel that does not divide it, and a load or an error rate that is no fraction. All
    of that is checked before the first ray. Raises `UnitError` where a map could not be made.
    """
    places = []
    for folder in config.tiles:
        tile = Tile.open(folder)
        for sites in _sites_by_carrier(tile, config.frequencies, config.tracing.material_extrapolation):
            tile.require_sites(sites, config.tracing.material_extrapolation)
            tile.grid(config.pixel)
            places.append(TileWithSites(tile, sites))
    job = RadioMapJob(config, tuple(places))
    names = [job.map_folder(number).name for number in range(len(places))]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        do = "leave a tile out, or build it under another name"
        raise UelError("two maps would have one folder", got=", ".join(repeated), do=do)
    for number in range(len(places)):
        require_writable(job.map_folder(number))
        radio_map_io.require_replaceable(job.map_folder(number))
    make_all(job, "map", config, "maps", reason=job.reason, alone=False)
    if config.is_partial:
        return []
    maps = [(job.map_folder(number), job.report(number)) for number in range(len(places))]
    return [(folder, report) for folder, report in maps if report is not None]


def trace_radio_map(tile: Tile, pixel: float, backend: str = TracingConfig().backend) -> Path:
    """Trace the radio map of a tile's own sites, with the defaults of `uel map`, and return its folder.

    The folder is one for this version of the tile, so that no map that a user made is replaced.
    """
    root = data_folder() / "maps" / tile.fingerprint
    ((folder, report),) = make_maps(
        RadioMapConfig(tiles=(tile.folder,), pixel=pixel, out=root, tracing=TracingConfig(backend=backend))
    )
    log.info("map: traced in %.0f s", report["seconds"])
    return folder


def _sites_by_carrier(tile: Tile, frequencies: tuple[float, ...], extrapolate: bool) -> list[tuple[Site, ...]]:
    """The tile's network on each of its carriers; with `frequencies`, all of its cells on each of these."""
    networks = split_by_carrier(tile.sites)
    if not frequencies:
        return list(networks.values()) if extrapolate else _defined_networks(tile, networks)
    if len(networks) > 1:
        raise UelError(
            "--frequencies move the cells of one carrier, and the tile's network has several",
            got=f"{tile.name}: {', '.join(carrier.label for carrier in networks)}",
            do="leave --frequencies out: each carrier gets its own map",
        )
    return [with_frequency(tile.sites, f) for f in frequencies]


def _defined_networks(tile: Tile, networks: dict[Carrier, tuple[Site, ...]]) -> list[tuple[Site, ...]]:
    """The networks on whose carriers the tile's materials are defined; others are named. Raises `UelError` for none."""
    defined, refusals = [], list[UelError]()
    for carrier, sites in networks.items():
        try:
            tile.require_carrier(carrier)
            defined.append(sites)
        except UelError as error:
            refusals.append(error)
            log.warning("map: none of %s on %s: %s", tile.name, carrier.label, " ".join(str(error).split()))
    if not defined:
        raise refusals[0]
    return defined


def _make(tile: Tile, sites: tuple[Site, ...], config: RadioMapConfig, folder: Path) -> None:
    log.info("map: making %s%s", folder, _expectation(folder))
    start = time.perf_counter()
    simulator = open_simulator(tile, sites, config.tracing)
    radio = replace(simulator.radio_map(tile.grid(config.pixel)), backend=config.tracing.backend)
    seconds = round(time.perf_counter() - start, 1)
    for stale in (REPORT_NAME, "report.png"):
        (folder / stale).unlink(missing_ok=True)
    radio_map_io.save(radio, folder, service_maps(radio, config), {"radio_map_model": RADIO_MAP_MODEL})
    report = {
        "made_from": _provenance(tile, sites, config),
        "seconds": seconds,
        **map_summary(radio),
        "paths": compare_with_paths(simulator, tile, radio, config.check),
    }
    replace_file(folder / REPORT_NAME, as_json(report))  # last: without it the map is not there


def _expectation(folder: Path) -> str:
    """How long the last map took, of this folder or of those beside it."""
    files = [folder / REPORT_NAME] if (folder / REPORT_NAME).is_file() else [*folder.parent.glob(f"*/{REPORT_NAME}")]
    last = _read_report(max(files, key=lambda file: file.stat().st_mtime).parent) if files else None
    return f" (some {duration_text(last['seconds'])}, as the last one)" if last else ""


def _read_report(folder: Path) -> dict[str, Any] | None:
    """The report of the map in a folder; None where there is none, or where it cannot be read."""
    try:
        report = read_json_object(folder / REPORT_NAME)
    except UelError:
        return None
    return report if "made_from" in report else None


def _provenance(tile: Tile, sites: tuple[Site, ...], config: RadioMapConfig) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(config).items() if k not in _FIELDS_OUTSIDE_KEY}
    settings["tracing"] = radio_map_key(config.tracing)
    plain = {"tile": tile.fingerprint, "sites": sites_to_json(sites), **settings}
    return json.loads(json.dumps(plain))


def service_maps(radio: RadioMap, config: RadioMapConfig) -> dict[str, Tensor]:
    """SNR, SINR, MCS, error rate and throughput of every cell and pixel, 0 where the map is not known (MCS -1)."""
    served = phy_abstraction.link_service(radio, config.load, config.noise_figure_db, config.bler_target)
    ratios = {
        "snr_db": snr(radio, config.noise_figure_db),
        "sinr_db": sinr(radio, config.load, config.noise_figure_db),
    }
    levels = {n: torch.where(radio.known, to_db(v.clamp(min=1e-30)), 0.0) for n, v in ratios.items()}
    return {**levels, "mcs": served.mcs, "bler": served.bler, "throughput": served.throughput}


def map_summary(radio: RadioMap) -> dict[str, Any]:
    """Size, known fraction and Monte-Carlo error of a map."""
    known = radio.known
    return {
        "cells": len(known),
        "pixels": known[0].numel(),
        "known_share": round(float(known.float().mean()), 4),
        "relative_error_median": round(float(radio.relative_error[known].median()), 4) if known.any() else None,
        "relative_error_p90": round(float(radio.relative_error[known].quantile(0.9)), 4) if known.any() else None,
    }


def compare_with_paths(simulator: Simulator, tile: Tile, radio: RadioMap, count: int, seed: int = 0) -> dict[str, Any]:
    """Differences of the map and traced paths at random positions outdoors, with and without line of sight.

    A pixel's mean of the power is compared with one position in it, and the tracer's search with Monte-Carlo rays: no
    less than fading within the pixel is to be expected.
    """
    position = draw_positions(tile, simulator.sites, count, torch.Generator().manual_seed(seed))
    traced, mapped = simulator.paths(position), radio.lookup(position)
    both = traced.known & mapped.known
    kinds = {"los": both & traced.los, "nlos": both & ~traced.los}
    return {
        "links": int(both.sum()),
        "only_traced": int((traced.known & ~mapped.known).sum()),
        "only_mapped": int((mapped.known & ~traced.known).sum()),
        **{name: _differences(traced, mapped, chosen) for name, chosen in kinds.items()},
    }


def _differences(traced: LinkTruth, mapped: MapLookup, chosen: Tensor) -> dict[str, float | int]:
    if not chosen.any():
        return {"links": 0}
    gain = to_db(mapped.gain[chosen]) - traced.gain_db[chosen]
    length = (mapped.first_arrival[chosen] - traced.delay[chosen]).abs() * SPEED_OF_LIGHT
    return {
        "links": int(chosen.sum()),
        "gain_bias_db": round(float(gain.median()), 3),
        "gain_difference_db": round(float(gain.abs().median()), 3),
        "first_arrival_difference_m": round(float(length.median()), 3),
    }


def summary_lines(folder: Path, report: dict[str, Any]) -> list[str]:
    """A map in two lines for a terminal."""
    los, nlos = report["paths"]["los"], report["paths"]["nlos"]
    differences = ", ".join(
        f"{name} {kind['gain_difference_db']:.2f} dB and {kind['first_arrival_difference_m']:.1f} m"
        for name, kind in (("in sight", los), ("out of sight", nlos))
        if kind["links"]
    )
    known = f"{report['known_share']:.1%} of {report['cells']} × {report['pixels']} pixels known"
    error = f"median error {report['relative_error_median']:.1%}" if report["relative_error_median"] is not None else ""
    return [f"{folder}: {report['seconds']:.1f} s, {known}, {error}", f"  beside traced paths: {differences}"]
