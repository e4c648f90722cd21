"""A small made-up run as `uel demo` writes it: locator, tile, radio map, evaluation, metrics and one example fix."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from explorer.style import RUN_METHOD_STYLES
from scenes.tiles.writer import write_tile
from tests.helpers.free_space import masts
from uel.core.grid import Grid
from uel.core.tile_reference import TileReference
from uel.estimation.scoring import error_summary
from uel.geo.tile import Tile
from uel.inference.run_folder import RECORD_FILE
from uel.measurement.model import ObservationModel
from uel.measurement.tiers import TIERS
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Cell, Site
from uel.results.condition import Condition
from uel.results.evaluation import ConditionResult, write_result
from uel.results.run_summary import PROTOCOL_FILE

SIZE, UES = 512.0, 200
SCALE = dict(zip(RUN_METHOD_STYLES, (150.0, 110.0, 80.0, 60.0, 70.0, 26.0, 28.0, 25.0, 40.0, 30.0), strict=True))
SECTORS = tuple(Cell(azimuth_deg=a) for a in (0.0, 120.0, 240.0))
SITES = (*masts((-120.0, 90.0), (150.0, -60.0)), Site(position=(40.0, 160.0, 25.0), cells=SECTORS))


def make_run(run: Path, paths: bool = True) -> Path:
    """Write a made-up run into a folder, and its tile beside it; returns the folder."""
    (run / "training").mkdir(parents=True)
    tile = make_tile(run.parent / "tile")
    radio = make_radio(run / "radio", Tile.open(tile).reference)
    errors = make_errors(("map", "paths") if paths else ("map",))
    torch.manual_seed(0)
    Locator(LocatorConfig(width=8, pixel_width=4, depth=1, radio_depth=1), ObservationModel()).save(run)
    (run / RECORD_FILE).write_text(json.dumps({"deployment": {"tile": str(tile), "radio": radio.name}}))
    write_evaluation(run / "eval" / "demo", errors)
    (run / "metrics.json").write_text(json.dumps(make_metrics(errors)))
    (run / "training/metrics.csv").write_text(make_csv())
    np.savez(run / "example.npz", **make_example())
    return run


def write_evaluation(folder: Path, errors: dict[str, np.ndarray]) -> None:
    """The base condition of an evaluation: phones at the centre, located as far off as `errors` say."""
    results: dict[Condition, dict[str, dict[str, np.ndarray]]] = {}
    for key, error in errors.items():
        truth, tier, method = key.split("/")
        estimate = np.stack([error, np.zeros_like(error)], 1)
        results.setdefault(Condition(truth=truth, tier=tier), {})[method] = {"estimate": estimate}  # type: ignore[arg-type]
    (folder / "cells").mkdir(parents=True)
    for number, (condition, methods) in enumerate(results.items()):
        position = np.zeros((UES, 2), np.float32)
        write_result(folder / "cells" / f"{number}.npz", ConditionResult(condition, "blocks#0", position, methods, {}))
    names = [f"{number}.npz" for number in range(len(results))]
    protocol = {"base": asdict(next(iter(results))), "cells": names, "tiles": ["blocks (made up)"]}
    (folder / PROTOCOL_FILE).write_text(json.dumps(protocol))


def make_tile(folder: Path) -> Path:
    """Blocks of houses with streets between them, on a slope."""
    axis = np.arange(256) * 2.0
    x, y = np.meshgrid(axis, axis)
    footprint = ((x % 80 > 24) & (y % 96 > 30)).astype(np.float32)
    ground = (x / 60).astype(np.float32)
    height = ground + footprint * (8 + 5 * ((x // 80 + 2 * (y // 96)) % 4)).astype(np.float32)
    rasters = {"ground": ground, "height": height, "footprint": footprint, "material": footprint}
    meta = {"name": "blocks", "size": SIZE, "pixel": 2.0, "materials": ["air", "concrete"]}
    return write_tile(folder, [], {}, rasters, meta).folder


def make_radio(folder: Path, made_on: TileReference) -> Path:
    radio = FreeSpace(SITES, size=SIZE).radio_map(Grid(size=SIZE, pixel=4.0))
    known = torch.ones_like(radio.known)
    known[:, 90:110, 20:70] = False
    noise = torch.rand(radio.gain.shape, generator=torch.Generator().manual_seed(0)) * 0.6
    noisy = RadioMap(radio.grid, SITES, radio.gain * known, noise, known, radio.los, radio.elevation, made_on=made_on)
    radio_map_io.save(noisy, folder)
    return folder


def make_errors(truths: tuple[str, ...]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        f"{truth}/{tier}/{method}": generator.rayleigh(scale / (1 + i), UES).astype(np.float32)
        for truth in truths
        for i, tier in enumerate(TIERS)
        for method, scale in SCALE.items()
    }


def make_metrics(errors: dict[str, np.ndarray]) -> dict[str, object]:
    def table(truth: str) -> dict[str, object]:
        rows = {k: error_summary(torch.from_numpy(v)) for k, v in errors.items() if k.startswith(f"{truth}/")}
        tiers = {t: {m: rows[f"{truth}/{t}/{m}"] for m in RUN_METHOD_STYLES} for t in TIERS if rows}
        return {"tile": "blocks (made up)", "truth": truth, "tier": tiers}

    training = {
        "steps": 300,
        "batches": 300,
        "rt_batches": 75,
        "rt_links": 4800,
        "rt_gradient_norm": 0.0123,
        "wall_s": 61,
    }
    return {
        "test": table("map"),
        "test_paths": table("paths"),
        "r50": {"rsrp": 1.62, "rsrp_ta": 1.04, "rsrp_ta_azimuth": 1.6},
        "r95": {"rsrp": 1.59, "rsrp_ta": 1.09, "rsrp_ta_azimuth": 1.6},
        "training": training,
        "seed": 3,
        "versions": {"torch": "2.0", "sionna-rt": "2.2.0"},
        "stages": {"build": 12.0, "train": 61.5},
    }


def make_csv() -> str:
    lines = ["step,epoch,loss,coarse,fine,physics_map,physics_rt,val_p50_m"]
    generator = np.random.default_rng(1)
    for step in range(0, 300, 3):
        loss = 4 * np.exp(-step / 90) + 1 + 0.2 * generator.normal(size=4)
        traced = f"{loss[3]:.4f}" if step % 12 == 0 else ""
        lines.append(f"{step},0,{loss[0]:.4f},{loss[1]:.4f},{loss[2]:.4f},{loss[3] / 2:.4f},{traced},")
        if step % 60 == 0:
            lines.append(f"{step},0,,,,,,{60 + 80 * np.exp(-step / 90):.2f}")
    return "\n".join(lines) + "\n"


def make_example() -> dict[str, object]:
    def blob(count: int, places: list[tuple[float, float, float, float]]) -> np.ndarray:
        axis = (np.arange(count) + 0.5) * SIZE / count - SIZE / 2
        x, y = np.meshgrid(axis, axis)
        density = sum(w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2 / s**2) for a, b, s, w in places)
        return (density / density.sum()).astype(np.float32)

    return {
        "truth": np.array([60.0, -40.0]),
        "estimate": np.array([75.0, -22.0]),
        "covariance": np.diag([900.0, 400.0]),
        "heatmap": blob(32, [(70, -30, 30, 1.0), (-60, 40, 30, 0.3)]),
        "candidates": np.array([[72.0, -28.0], [-60.0, 40.0], [110.0, 10.0]]),
        "candidate_probability": np.array([0.7, 0.25, 0.05]),
        "candidate_std": np.array([[25.0, 15.0], [30.0, 30.0], [12.0, 20.0]]),
        "posterior": blob(128, [(63, -44, 12, 1.0), (-60, 40, 8, 0.1)]),
        "limit_estimate": np.array([62.0, -45.0]),
        "serving": 1,
        "rsrp_dbm": np.array([-80.0, -71.0, 0.0, -85.0, -92.0]),
        "heard": np.array([True, True, False, True, True]),
        "tier": "rsrp_ta",
    }
