"""Radio maps of tiles, band by band, checked against traced paths: what `uel map` does."""

import json
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sim_bridge.channel import phy_abstraction
from sim_bridge.commands.config import RadioMapConfig
from sim_bridge.simulator import Sionna
from sim_bridge.simulator import open as open_tile
from uel.core.constants import SPEED_OF_LIGHT
from uel.core.io import as_json, data_folder, replace_file
from uel.core.units import to_db
from uel.geo.tile import Tile
from uel.mobility.trajectories import draw_positions
from uel.radio import radio_map_io
from uel.radio.config import Carrier
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import MapLookup, RadioMap
from uel.radio.sinr import sinr, snr
from uel.radio.sites import Site, require_sites

REPORT_NAME = "map_report.json"
log = logging.getLogger(__name__)


def make_maps(config: RadioMapConfig) -> list[tuple[Path, dict[str, Any]]]:
    """Folders of the maps, each with `radiomap.zarr` and `map_report.json`, and what the latter says.

    A map that is there and was made the same way is reused. Raises `UelError` for what is no tile, a tile without
    masts, a carrier outside its materials' bands, a pixel that does not divide it, and a load or an error rate that is
    no share. All of that is found before the first ray.
    """
    work = []
    for folder in config.tiles:
        tile = Tile.open(folder)
        for sites in _bands(tile, config.frequencies):
            tile.require_sites(sites)
            tile.grid(config.pixel)
            work.append((tile, sites))
    root = config.out or data_folder() / "maps"
    return [_made(tile, sites, config, root) for tile, sites in work]


def _bands(tile: Tile, frequencies: tuple[float, ...]) -> list[tuple[Site, ...]]:
    """The tile's masts, on each of the carriers."""
    carrier = require_sites(tile.sites)
    return [_on(tile.sites, replace(carrier, frequency=f)) for f in frequencies or (carrier.frequency,)]


def _on(sites: tuple[Site, ...], carrier: Carrier) -> tuple[Site, ...]:
    return tuple(replace(site, cells=tuple(replace(cell, carrier=carrier) for cell in site.cells)) for site in sites)


def _made(tile: Tile, sites: tuple[Site, ...], config: RadioMapConfig, root: Path) -> tuple[Path, dict[str, Any]]:
    folder = root / f"{tile.name}-{require_sites(sites).frequency / 1e9:g}GHz"
    made_from = _provenance(tile, sites, config)
    if (told := _report(folder)) and told["made_from"] == made_from:
        log.info("map: reusing %s", folder)
        return folder, told
    for stale in (REPORT_NAME, "report.png"):
        (folder / stale).unlink(missing_ok=True)
    log.info("map: making %s", folder)
    start = time.perf_counter()
    sim = open_tile(tile, sites, config.tracing)
    radio = sim.radio_map(tile.grid(config.pixel))
    seconds = round(time.perf_counter() - start, 1)
    radio_map_io.save(radio, folder, service_maps(radio, config), {"tile": tile.name, "fingerprint": tile.fingerprint})
    told = {
        "made_from": made_from,
        "seconds": seconds,
        **map_summary(radio),
        "paths": compare_with_paths(sim, radio, config.check),
    }
    replace_file(folder / REPORT_NAME, as_json(told))  # last: without it the map is not there
    return folder, told


def _report(folder: Path) -> dict[str, Any] | None:
    """What was said of a map that is there; None where there is none, or what is no longer to be read."""
    try:
        told = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and "made_from" in told else None


def _provenance(tile: Tile, sites: tuple[Site, ...], config: RadioMapConfig) -> dict[str, Any]:
    asked = {k: v for k, v in asdict(config).items() if k not in ("tiles", "frequencies", "out")}
    plain = {"tile": tile.fingerprint, "sites": [asdict(site) for site in sites], **asked}
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
    """What a reader wants to know of a map before using it."""
    known = radio.known
    return {
        "cells": len(known),
        "pixels": known[0].numel(),
        "known_share": round(float(known.float().mean()), 4),
        "relative_error_median": round(float(radio.relative_error[known].median()), 4) if known.any() else None,
        "relative_error_p90": round(float(radio.relative_error[known].quantile(0.9)), 4) if known.any() else None,
    }


def compare_with_paths(sim: Sionna, radio: RadioMap, count: int, seed: int = 0) -> dict[str, Any]:
    """The map beside traced paths at random places outdoors, in sight and out of it.

    A pixel's mean of the power is compared with one place in it, and the tracer's search with Monte-Carlo rays: no
    less than fading within the pixel is to be expected.
    """
    assert sim.tile is not None
    position = draw_positions(sim.tile, sim.sites, count, torch.Generator().manual_seed(seed))
    traced, looked = sim.paths(position), radio.lookup(position)
    both = traced.known & looked.known
    kinds = {"los": both & traced.los, "nlos": both & ~traced.los}
    return {
        "links": int(both.sum()),
        "only_traced": int((traced.known & ~looked.known).sum()),
        "only_mapped": int((looked.known & ~traced.known).sum()),
        **{name: _differences(traced, looked, chosen) for name, chosen in kinds.items()},
    }


def _differences(traced: LinkTruth, looked: MapLookup, chosen: Tensor) -> dict[str, float | int]:
    if not chosen.any():
        return {"links": 0}
    gain = to_db(looked.gain[chosen]) - traced.gain_db[chosen]
    way = (looked.first_arrival[chosen] - traced.delay[chosen]).abs() * SPEED_OF_LIGHT
    return {
        "links": int(chosen.sum()),
        "gain_bias_db": round(float(gain.median()), 3),
        "gain_difference_db": round(float(gain.abs().median()), 3),
        "first_arrival_difference_m": round(float(way.median()), 3),
    }


def summary_lines(folder: Path, told: dict[str, Any]) -> list[str]:
    """A map in two lines for a terminal."""
    los, nlos = told["paths"]["los"], told["paths"]["nlos"]
    beside = ", ".join(
        f"{name} {kind['gain_difference_db']:.2f} dB and {kind['first_arrival_difference_m']:.1f} m"
        for name, kind in (("in sight", los), ("out of sight", nlos))
        if kind["links"]
    )
    known = f"{told['known_share']:.1%} of {told['cells']} × {told['pixels']} pixels known"
    error = f"median error {told['relative_error_median']:.1%}" if told["relative_error_median"] is not None else ""
    return [f"{folder}: {told['seconds']:.1f} s, {known}, {error}", f"  beside traced paths: {beside}"]
