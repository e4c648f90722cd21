"""A tile in 3-D in a cell of a notebook, or in a file: what is given lies over it, and no network is needed."""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from pydeck.io.html import cdn_picker
from torch import Tensor

from explorer.analysis.single_fix import TimedFix
from explorer.map_view import ground_image, marks, tile_gltf
from explorer.map_view.deck_gl import Camera, Deck, MapScene, build_deck, view_state
from explorer.map_view.ground_image import Ground, Image, Legend
from explorer.map_view.tile_meshes import read_buildings
from explorer.style import Theme, theme_of
from uel.core.io import replace_file
from uel.estimation.credible_regions import hpd_outlines
from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.geo.tile_maps import require_map_of_tile
from uel.inference.geojson import HPD_LEVELS
from uel.radio.radio_map import RadioMap

FIX_PIXELS = 128  # on a side, of the regions of a fix
PAGE_TEXT = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>{bundle}
<style>body {{margin: 0; font-family: sans-serif; color: {ink}; background: rgb{paper}}}
#map {{position: relative; width: 100%; height: {height}px}}</style></head>
<body><div id="map"></div>{legend}
<script>createDeck({{container: document.getElementById("map"), jsonInput: {deck}, tooltip: {tooltip},
customLibraries: null, configuration: null}});</script></body></html>
"""


@dataclass(frozen=True, eq=False, repr=False)
class NotebookMap:
    """A map that notebooks show below the cell that made it; `save` writes it as a page of its own."""

    title: str
    deck: Deck
    legends: Sequence[Legend]
    theme: Theme
    height: int
    """pixels"""

    def page(self) -> str:
        """The map as one HTML page with all that it needs, some 4 MB: deck.gl is a part of it."""
        return PAGE_TEXT.format(
            title=html.escape(self.title),
            bundle=cdn_picker(offline=True),
            ink=self.theme.ink,
            paper=self.theme.paper,
            height=self.height,
            legend="".join(legend.html for legend in self.legends),
            deck=self.deck.to_json().replace("</", "<\\/"),
            tooltip=json.dumps({"text": "{title}\n{more}"}),
        )

    def save(self, file: str | Path) -> Path:
        """Write the page; it opens in any browser with WebGL 2, offline too."""
        replace_file(Path(file), self.page().encode())
        return Path(file)

    def __repr__(self) -> str:
        return f"<NotebookMap: {self.title}; in a notebook it is shown, save(FILE) writes a page>"

    def _repr_html_(self) -> str:
        frame = f"width='100%' height='{self.height + 40}' frameborder='0'"
        return f'<iframe {frame} title="{html.escape(self.title)}" srcdoc="{html.escape(self.page())}"></iframe>'


def explore(
    tile: Tile,
    *,
    radio: RadioMap | None = None,
    channel: str = "rsrp",
    cell: int | None = None,
    position: Float[Tensor, "phone 2"] | None = None,
    fix: Fix | None = None,
    number: int = 0,
    truth: Sequence[float] | None = None,
    camera: Camera = "oblique",
    theme: str = "light",
    height: int = 480,
) -> NotebookMap:
    """Show a tile in 3-D: drag to turn, use the wheel to zoom, point at a mark to read what it is.

    Args:
        tile: with its meshes; its sites are shown, or those of the radio map.
        radio: a map to paint on the ground.
        channel: of the radio map, as of `RadioMap.plot`.
        cell: whose values are painted; None: the strongest cell of each pixel.
        position: of phones in metres of the tile; of many a sample is drawn.
        fix: whose position, candidates and regions are shown.
        number: of the fix in its batch.
        truth: the true (x, y) in metres of that fix, where it is known.
        camera: `oblique`, `from above`, `from the south`; `close` looks at the fix.
        theme: `light` or `dark`.
        height: of the map in pixels.

    Raises:
        UelError: for meshes that are absent or damaged, for a radio map of another tile, and for a channel or a cell
            that it does not have.

    Example:
        >>> import tempfile, explorer, scenes
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> explorer.explore(tile)
        <NotebookMap: etoile; in a notebook it is shown, save(FILE) writes a page>
    """
    colours = theme_of(theme)
    ground, legends = Ground(ground_image.basemap(tile, colours)), list[Legend]()
    if radio is not None:
        require_map_of_tile(radio.made_on, radio.grid, tile)
        layer, legend = ground_image.radio_overlay(radio, {}, channel, cell)
        ground, legends = Ground(ground.base, layer), [legend]
    sites = radio.sites if radio is not None else tile.sites if tile.has_sites else ()
    drawn = marks.site_marks(sites, tile, cell)
    if position is not None:
        drawn = marks.MapMarks(dots=[marks.phone_dots(tile, position.detach().cpu().numpy())[0]]) + drawn
    if fix is not None:
        drawn = drawn + _fix_marks(tile, colours, fix[number : number + 1], truth)
    frame = [fix.position[number].tolist()] if fix is not None else []
    view = view_state(tile, camera, frame, has_panel=False)
    deck = build_deck(_scene(tile, ground.picture, colours), drawn, colours, view)
    return NotebookMap(tile.name, deck, legends, colours, height)


def _fix_marks(tile: Tile, theme: Theme, fix: Fix, truth: Sequence[float] | None) -> marks.MapMarks:
    """Regions, candidates, position and truth of one fix."""
    shown = TimedFix(fix, 0.0, tile.grid(tile.size / FIX_PIXELS))
    regions = [marks.region_lines(tile, hpd_outlines(shown.heatmap, shown.grid, level), level) for level in HPD_LEVELS]
    return marks.MapMarks(lines=regions) + marks.fix_marks(tile, theme, truth, shown.position, None, shown.candidates)


def _scene(tile: Tile, picture: Image, theme: Theme) -> MapScene:
    """The meshes as addresses that hold their bytes."""
    buildings, _ = tile_gltf.buildings_glb(tile, read_buildings(tile), "plain", theme)
    meshes = (tile_gltf.ground_glb(tile, picture), buildings, tile_gltf.pole_glb())
    ground, houses, pole = (f"data:model/gltf-binary;base64,{base64.b64encode(mesh).decode()}" for mesh in meshes)
    return MapScene(ground=ground, buildings=houses, pole=pole)
