"""Radio maps whose answer is known: of empty space, and behind a screen. A ray tracer that meets nothing fails both."""

import math

import mitsuba as mi
import sionna.rt as rt
import torch

from sim_bridge.simulator import Sionna, open_empty
from uel.core.grid import Grid
from uel.radio.simulator import FreeSpace
from uel.radio.sites import Site
from uel.radio.tracing_config import TracingConfig

CHECK_GRID = Grid(size=256.0, pixel=8.0)
RAYS_PER_MAP = 400_000  # some 100 a pixel at the corners
SCREEN_DISTANCE, SCREEN_SIDE = 40.0, 160.0  # m: a screen east of the mast, across its whole view in that direction
SHADOW_EDGE_MARGIN = 8.0  # m around the edge of the shadow, where pixels are partly lit


def empty_map_errors() -> dict[str, float]:
    """Of a map of empty space: the share of its pixels that is unknown, and the relative error of its mean ratio to
    Friis' law."""
    sites = (Site(position=(3.0, -2.0, 25.0)),)
    traced = open_empty(sites, _tracing(max_depth=1)).radio_map(CHECK_GRID)
    exact = FreeSpace(sites, size=CHECK_GRID.size).radio_map(CHECK_GRID).gain
    ratio = float((traced.gain / exact).mean())
    return {
        "map_unknown_share": 1 - float(traced.known.float().mean()),
        "map_error_rel": abs(ratio - 1) if math.isfinite(ratio) else math.inf,
    }


def screen_map_error() -> float:
    """Share of the pixels that are lit and have no gain, or are in the shadow of a screen and have one."""
    sim = Sionna(_screen(), (Site(position=(-SCREEN_DISTANCE, 0.0, 25.0)),), _tracing(max_depth=0))
    known = sim.radio_map(CHECK_GRID).known[0]
    x, y = CHECK_GRID.centres().unbind(-1)
    # Through the screen at x = 0, rays from a mast at x = -40 reach y = ±80 m; it is higher than any of them.
    behind = (x > SHADOW_EDGE_MARGIN) & (
        y.abs() < SCREEN_SIDE / 2 * (x + SCREEN_DISTANCE) / SCREEN_DISTANCE - 4 * SHADOW_EDGE_MARGIN
    )
    lit = x < -SHADOW_EDGE_MARGIN
    return float((known[behind].sum() + (~known[lit]).sum()) / (behind.sum() + lit.sum()))


def _tracing(max_depth: int) -> TracingConfig:
    return TracingConfig(samples=100, diffraction=False, max_depth=max_depth, map_rays=RAYS_PER_MAP, map_batches=2)


def _screen() -> rt.Scene:
    """A square of `SCREEN_SIDE` upright on the y axis, half of it below the ground."""
    scene = rt.load_scene(rt.scene.simple_reflector, merge_shapes=False)
    (plane,) = scene.objects.values()
    plane.scaling = SCREEN_SIDE
    plane.orientation = mi.Point3f(0.0, math.pi / 2, 0.0)
    return scene


def map_errors() -> dict[str, float]:
    """All of them."""
    with torch.no_grad():
        return {**empty_map_errors(), "map_shadow_error_share": screen_map_error()}
