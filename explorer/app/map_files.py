"""Files that the browser loads for a map: ground, layers over it, buildings, squares to click on. Each is made once."""

from pathlib import Path

import numpy as np

from explorer.app import cache
from explorer.app.cache import cached, media_url
from explorer.map_view import deck_gl, ground_image, plan_2d, tile_gltf, tile_meshes
from explorer.map_view.ground_image import Ground, Legend, Overlay
from explorer.map_view.picture_files import encode_jpeg
from explorer.style import theme_of
from uel.core.grid import Grid
from uel.plots import radio_layers
from uel.radio.radio_map import RadioMap

GLTF_TYPE, JSON_TYPE = "model/gltf-binary", "application/json"
NO_LAYER, STRONGEST_CELL = "none", "best"  # names of layers beside those of `radio_layers`
THUMBNAIL_SIDE = 288  # pixels
CLICK_SQUARE_SIDE = 8.0  # m, side of the squares that a click picks


@cached(max_entries=8)
def basemap(folder: Path, theme: str) -> ground_image.Image:
    """A picture of a tile's ground."""
    return ground_image.basemap(cache.tile(folder), theme_of(theme))


@cached(max_entries=64)
def thumbnail(folder: Path, theme: str) -> bytes:
    """A small picture of a tile from above, as JPEG. Raises `UelError` for a damaged tile."""
    ground = basemap(folder, theme)
    return encode_jpeg(plan_2d.shaded_plan(cache.tile(folder), ground, theme_of(theme), THUMBNAIL_SIDE))


@cached(max_entries=8)
def _ground_mesh(folder: Path, theme: str) -> bytes:
    return tile_gltf.ground_glb(cache.tile(folder), basemap(folder, theme))


@cached(max_entries=8, spinner="Building the scene …")
def _buildings(folder: Path, colouring: tile_gltf.BuildingColouring, theme: str) -> tuple[bytes, Legend | None]:
    opened = cache.tile(folder)
    return tile_gltf.buildings_glb(opened, tile_meshes.read_buildings(opened), colouring, theme_of(theme))


@cached(max_entries=1)
def _pole() -> bytes:
    return tile_gltf.pole_glb()


@cached(max_entries=16)
def radio_layer(folder: Path, radio: Path, name: str, cell: int | None) -> tuple[Overlay, Legend]:
    """A layer of a radio map, of one cell or of the strongest in each pixel, and its legend."""
    opened = cache.radio_map(folder, radio)
    if name == STRONGEST_CELL:
        overlay = ground_image.cells_overlay(radio_layers.strongest_cell(opened).numpy(), opened.known.any(0).numpy())
        return overlay, ground_image.cells_legend("strongest cell", len(opened.gain))
    return ground_image.radio_overlay(opened, cache.service_rasters(radio), name, cell)


@cached(max_entries=16)
def click_squares(folder: Path, radio: Path | None, name: str, cell: int | None) -> bytes:
    """Rows of the outdoor squares of a tile as JSON; their hover cards give the values of a layer."""
    opened = cache.tile(folder)
    centres = opened.grid(CLICK_SQUARE_SIDE).centres().reshape(-1, 2)
    centres = centres[opened.is_outdoor(centres)].numpy()
    texts = [""] * len(centres)
    if radio is not None and name != NO_LAYER:
        texts = _layer_texts(cache.radio_map(folder, radio), cache.service_rasters(radio), name, cell, centres)
    return deck_gl.square_rows(opened, centres, CLICK_SQUARE_SIDE, texts)


def _layer_texts(radio: RadioMap, service: dict, name: str, cell: int | None, centres: np.ndarray) -> list[str]:
    best = radio_layers.strongest_cell(radio).numpy()
    row, column = _pixels(radio.grid, centres)
    shown = "rsrp" if name == STRONGEST_CELL else name
    layer = radio_layers.RADIO_LAYERS[shown]
    values, known = radio_layers.layer_values(shown, radio, service, cell)
    texts = []
    for value, is_known, own in zip(values[row, column], known[row, column], best[row, column], strict=True):
        number = int(own) if cell is None else cell
        value_text = f"{value:.3g} {layer.unit}" if np.isfinite(value) else "not known: few rays met it"
        texts.append(f"{layer.title} {value_text}, cell {number}" if is_known else f"{layer.title}: no ray met it")
    return texts


def _pixels(grid: Grid, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.clip(((centres + grid.size / 2) / grid.pixel).astype(int), 0, grid.count - 1)
    return index[:, 1], index[:, 0]


def scene_of(
    folder: Path, ground: Ground, colouring: tile_gltf.BuildingColouring, theme: str, opacity: float, key: str
) -> tuple[deck_gl.MapScene, Legend | None]:
    """The addresses of a map's meshes, and the legend of its buildings."""
    buildings, legend = _buildings(folder, colouring, theme)
    layer = None
    if ground.layer is not None:
        layer = media_url(tile_gltf.ground_glb(cache.tile(folder), ground.layer), GLTF_TYPE, f"{key}-layer")
    meshes = {"ground": _ground_mesh(folder, theme), "buildings": buildings, "pole": _pole()}
    addresses = {name: media_url(mesh, GLTF_TYPE, f"{key}-{name}") for name, mesh in meshes.items()}
    return deck_gl.MapScene(**addresses, layer=layer, is_layer_over=ground.is_over, opacity=opacity), legend


def squares_url(rows: bytes, key: str) -> str:
    """The address of the rows of `click_squares`."""
    return media_url(rows, JSON_TYPE, f"{key}-squares")
