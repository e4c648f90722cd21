"""The picture in a tile folder: heights, materials, ground, the sources of heights, and problems."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from explorer.figures.axes import (
    colour_bar,
    draw_building_outlines,
    draw_sites,
    hillshade,
    image_extent,
    map_axes,
    new_figure,
    png_bytes,
    scale_bar,
)
from uel.geo.tile import Tile

COVER_COLOURS = {"open": "#f2efe9", "road": "#c9c5bd", "path": "#e3d9c6", "water": "#9ecae1", "green": "#c7dfb4"}
MATERIAL_COLOURS = ("#999999", "#D55E00", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#F0E442")
LINE_WIDTH = 84  # characters of a text line
HEIGHT_SOURCES = {"tag": "tagged", "levels": "from levels", "neighbours": "from neighbours", "prior": "from its type"}


def complete_report(
    tile: Tile, told: Mapping[str, Any], seen: tuple[dict[str, Any], dict[str, bytes]]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files to add to a tile's build report: the ray tracer's inspection, all problems, and the picture."""
    ray_tracing, files = seen
    problems = [*told["problems"], *(f"ray tracing: {problem}" for problem in ray_tracing["problems"])]
    more = {"ray_tracing": ray_tracing, "problems": problems}
    return more, files | {"report.png": png_bytes(tile_report(tile, {**told, **more}))}


def tile_report(tile: Tile, told: Mapping[str, Any]) -> Figure:
    """A figure of heights, materials and ground from above, and of the build report as text."""
    figure = new_figure(14.0, 10.5)
    (heights, materials), (ground, words) = figure.subplots(2, 2)
    _heights(figure, heights, tile)
    _materials(materials, tile)
    _ground(figure, ground, tile)
    _words(words, tile, told)
    return figure


def _heights(figure: Figure, ax: Axes, tile: Tile) -> None:
    stands = tile.rasters["footprint"].numpy() > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()
    _cover(ax, tile)
    top = float(np.percentile(above[stands], 98)) if stands.any() else 1.0
    shown = ax.imshow(np.where(stands, above, np.nan), cmap="viridis", vmin=0, vmax=top, **image_extent(tile.size))
    map_axes(ax, tile.size, "building heights above ground, and sites")
    colour_bar(figure, ax, shown, "m")
    scale_bar(ax, tile.size)
    if (tile.folder / "sites.json").is_file():
        draw_sites(ax, tile.sites, tile.size)


def _cover(ax: Axes, tile: Tile) -> None:
    if "cover" in tile.rasters:
        colours = ListedColormap([COVER_COLOURS[name] for name in tile.covers])
        ax.imshow(
            tile.rasters["cover"].numpy(),
            cmap=colours,
            vmin=-0.5,
            vmax=len(tile.covers) - 0.5,
            **image_extent(tile.size),
        )


def _materials(ax: Axes, tile: Tile) -> None:
    _cover(ax, tile)
    stands, index = tile.rasters["footprint"].numpy() > 0.5, tile.rasters["material"].numpy()
    seen = [k for k in range(len(tile.materials)) if (stands & (index == k)).any()]
    colours = {k: MATERIAL_COLOURS[i % len(MATERIAL_COLOURS)] for i, k in enumerate(seen)}
    for k in seen:
        layer = np.where(stands & (index == k), 0.0, np.nan)
        ax.imshow(layer, cmap=ListedColormap([colours[k]]), vmin=0, vmax=1, **image_extent(tile.size))
    draw_building_outlines(ax, tile)
    legend = [Patch(facecolor=colours[k], label=f"roof of {tile.materials[k]}") for k in seen]
    legend += [Patch(facecolor=COVER_COLOURS[name], edgecolor="#999999", label=name) for name in tile.covers]
    ax.legend(handles=legend, fontsize=8, loc="upper left", framealpha=0.92, ncols=2)
    map_axes(ax, tile.size, "roof materials and ground cover")


def _ground(figure: Figure, ax: Axes, tile: Tile) -> None:
    ground = tile.rasters["ground"].numpy()
    shown = ax.imshow(ground, cmap="cividis", alpha=0.3 if np.ptp(ground) == 0 else 1.0, **image_extent(tile.size))
    if np.ptp(ground) > 1.0:
        ax.imshow(hillshade(ground, tile.raster_grid.pixel), cmap="gray", alpha=0.35, **image_extent(tile.size))
        axis = tile.raster_grid.centres()[0, :, 0].numpy()
        lines = ax.contour(axis, axis, ground, levels=10, colors="white", linewidths=0.6)
        ax.clabel(lines, fontsize=7, fmt="%.0f m")
    draw_building_outlines(ax, tile)
    given = tile.meta.get("terrain", {}).get("kind") != "flat"
    level = "flat" if given else "flat, no elevation raster was given"
    map_axes(ax, tile.size, f"the ground: {'elevation' if np.ptp(ground) else level}")
    if np.ptp(ground):
        colour_bar(figure, ax, shown, "m above the datum")


def _words(ax: Axes, tile: Tile, told: Mapping[str, Any]) -> None:
    ax.axis("off")
    verdict = "no problem found" if not told["problems"] else "has problems"
    ax.set_title(f"{tile.name}: {verdict}", fontsize=12, loc="left")
    ax.text(0, 0.98, "\n".join(_lines(tile, told)), va="top", fontsize=9, family="monospace", transform=ax.transAxes)


def _lines(tile: Tile, told: Mapping[str, Any]) -> list[str]:
    lines = _of_buildings(tile, told) if "heights" in told else _of_meshes(tile, told)
    lines.append(f"ground cover outdoors: {_shares(told['outdoors'])}")
    if told["sight"]:
        shares = ", ".join(f"{share:.0%}" for share in told["sight"]["sites"])
        lines.append(f"outdoor area in line of sight of each site: {shares}; of any: {told['sight']['any']:.0%}")
    if told.get("ray_tracing", {}).get("points"):
        ray = told["ray_tracing"]
        lines.append(f"line of sight: delay within {ray['delay_error'] * 1e9:.0e} ns, gain within {ray['gain_error_db']:.0e} dB")
    if "excluded" in told:
        lines += ["", "excluded:", *(f"  {n:4d}  {reason}" for reason, n in told["excluded"].items())]
    said = [f"! {problem}" for problem in told["problems"]] + [f"note: {note}" for note in told["notes"]]
    return [*lines, "", *(line for words in said for line in textwrap.wrap(words, LINE_WIDTH, subsequent_indent="  "))]


def _of_meshes(tile: Tile, told: Mapping[str, Any]) -> list[str]:
    x, y = tile.meta["center"]
    roofs, terrain = told["roofs"], told["terrain"]
    return [
        f"centre {x:g}, {y:g} in local metres of the city   {tile.size:g} m + {tile.meta['margin']:g} m of margin",
        f"{sum(told['triangles'].values())} triangles; {roofs['covered']:.0%} of the square built on",
        f"heights by area: {_heights_of(roofs)}",
        f"roofs by area: {_shares(roofs['materials'])}",
        f"ground from {terrain['lowest']:.0f} to {terrain['highest']:.0f} m",
        *textwrap.wrap("unknown: " + "; ".join(told["unknown"]), LINE_WIDTH, subsequent_indent="  "),
    ]


def _shares(materials: Mapping[str, float]) -> str:
    return ", ".join(f"{share:.0%} {name}" for name, share in materials.items())


def _heights_of(told: Mapping[str, Any]) -> str:
    return f"{' / '.join(f'{h:.0f}' for h in told['quartiles'])} m (min, quartiles, max)"


def _of_buildings(tile: Tile, told: Mapping[str, Any]) -> list[str]:
    latitude, longitude = tile.meta["center"]
    heights, meshes = told["heights"], told["meshes"]
    known = ", ".join(f"{n} {HEIGHT_SOURCES[name]}" for name, n in heights["provenance"].items())
    return [
        f"{latitude:.5f}, {longitude:.5f}   {tile.meta['crs']}   {tile.size:g} m + {tile.meta['margin']:g} m of margin",
        f"{told['buildings']} buildings; heights: {known}",
        f"heights: {_heights_of(heights)}",
        f"{meshes['watertight'] or 0:.1%} of {meshes['count']} meshes watertight",
        f"overlap {told['overlaps']['share'] or 0:.3%} of the footprints",
        f"round trip to degrees {told['round_trip']['error']:.0e} m",
    ]
