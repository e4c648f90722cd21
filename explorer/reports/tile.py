"""The picture in a tile folder: heights, materials, ground, the sources of heights, and problems."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from uel.geo.tile import Tile
from uel.plots.axes import (
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

COVER_COLOURS = {"open": "#f2efe9", "road": "#c9c5bd", "path": "#e3d9c6", "water": "#9ecae1", "green": "#c7dfb4"}
MATERIAL_COLOURS = ("#999999", "#D55E00", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#F0E442")
LINE_WIDTH = 84  # characters of a text line
HEIGHT_SOURCES = {
    "tag": "tagged",
    "levels": "from levels",
    "building": "of their building",
    "neighbours": "from neighbours",
    "prior": "from its type",
    "raster": "from a raster",
}


def complete_report(
    tile: Tile, report: Mapping[str, Any], inspection: tuple[dict[str, Any], dict[str, bytes]]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files to add to a tile's build report: the ray tracer's inspection, all problems, and the picture."""
    ray_tracing, files = inspection
    problems = [*report["problems"], *(f"ray tracing: {problem}" for problem in ray_tracing["problems"])]
    added = {"ray_tracing": ray_tracing, "problems": problems}
    return added, files | {"report.png": png_bytes(tile_report(tile, {**report, **added}))}


def tile_report(tile: Tile, report: Mapping[str, Any]) -> Figure:
    """A figure of heights, materials and ground from above, and of the build report as text."""
    figure = new_figure(14.0, 10.5)
    (heights, materials), (ground, words) = figure.subplots(2, 2)
    _draw_heights(figure, heights, tile)
    _draw_materials(materials, tile)
    _draw_ground(figure, ground, tile)
    _draw_text(words, tile, report)
    return figure


def _draw_heights(figure: Figure, ax: Axes, tile: Tile) -> None:
    built = tile.rasters["footprint"].numpy() > 0.5
    above = (tile.rasters["height"] - tile.rasters["ground"]).numpy()
    _draw_cover(ax, tile)
    top = float(np.percentile(above[built], 98)) if built.any() else 1.0
    picture = ax.imshow(np.where(built, above, np.nan), cmap="viridis", vmin=0, vmax=top, **image_extent(tile.size))
    map_axes(ax, tile.size, "building heights above ground, and sites")
    colour_bar(figure, ax, picture, "m")
    scale_bar(ax, tile.size)
    if tile.has_sites:
        draw_sites(ax, tile.sites, tile.size)


def _draw_cover(ax: Axes, tile: Tile) -> None:
    if "cover" in tile.rasters:
        colours = ListedColormap([COVER_COLOURS[name] for name in tile.covers])
        ax.imshow(
            tile.rasters["cover"].numpy(),
            cmap=colours,
            vmin=-0.5,
            vmax=len(tile.covers) - 0.5,
            **image_extent(tile.size),
        )


def _draw_materials(ax: Axes, tile: Tile) -> None:
    _draw_cover(ax, tile)
    built, index = tile.rasters["footprint"].numpy() > 0.5, tile.rasters["material"].numpy()
    used = [k for k in range(len(tile.materials)) if (built & (index == k)).any()]
    colours = {k: MATERIAL_COLOURS[i % len(MATERIAL_COLOURS)] for i, k in enumerate(used)}
    for k in used:
        layer = np.where(built & (index == k), 0.0, np.nan)
        ax.imshow(layer, cmap=ListedColormap([colours[k]]), vmin=0, vmax=1, **image_extent(tile.size))
    draw_building_outlines(ax, tile)
    legend = [Patch(facecolor=colours[k], label=f"roof of {tile.materials[k]}") for k in used]
    legend += [Patch(facecolor=COVER_COLOURS[name], edgecolor="#999999", label=name) for name in tile.covers]
    ax.legend(handles=legend, fontsize=8, loc="upper left", framealpha=0.92, ncols=2)
    map_axes(ax, tile.size, "roof materials and ground cover")


def _draw_ground(figure: Figure, ax: Axes, tile: Tile) -> None:
    ground = tile.rasters["ground"].numpy()
    picture = ax.imshow(ground, cmap="cividis", alpha=0.3 if np.ptp(ground) == 0 else 1.0, **image_extent(tile.size))
    if np.ptp(ground) > 1.0:
        ax.imshow(hillshade(ground, tile.raster_grid.pixel), cmap="gray", alpha=0.35, **image_extent(tile.size))
        axis = tile.raster_grid.centres()[0, :, 0].numpy()
        lines = ax.contour(axis, axis, ground, levels=10, colors="white", linewidths=0.6)
        ax.clabel(lines, fontsize=7, fmt="%.0f m")
    draw_building_outlines(ax, tile)
    has_raster = tile.meta.get("terrain", {}).get("kind") != "flat"
    level = "flat" if has_raster else "flat, no elevation raster was given"
    map_axes(ax, tile.size, f"the ground: {'elevation' if np.ptp(ground) else level}")
    if np.ptp(ground):
        colour_bar(figure, ax, picture, "m above the datum")


def _draw_text(ax: Axes, tile: Tile, report: Mapping[str, Any]) -> None:
    ax.axis("off")
    verdict = "no problem found" if not report["problems"] else "has problems"
    ax.set_title(f"{tile.name}: {verdict}", fontsize=12, loc="left")
    ax.text(
        0, 0.98, "\n".join(_text_lines(tile, report)), va="top", fontsize=9, family="monospace", transform=ax.transAxes
    )


def _text_lines(tile: Tile, report: Mapping[str, Any]) -> list[str]:
    lines = _building_lines(tile, report) if "heights" in report else _mesh_lines(tile, report)
    lines.append(f"ground cover outdoors: {_fractions_text(report['outdoors'])}")
    if report["sight"]:
        fractions = ", ".join(f"{fraction:.0%}" for fraction in report["sight"]["sites"])
        lines.append(f"outdoor area in line of sight of each site: {fractions}; of any: {report['sight']['any']:.0%}")
    if report.get("ray_tracing", {}).get("points"):
        inspection = report["ray_tracing"]
        lines.append(
            f"line of sight: delay within {inspection['delay_error'] * 1e9:.0e} ns, "
            f"gain within {inspection['gain_error_db']:.0e} dB"
        )
    if "excluded" in report:
        lines += ["", "excluded:", *(f"  {n:4d}  {reason}" for reason, n in report["excluded"].items())]
    messages = [f"! {problem}" for problem in report["problems"]] + [f"note: {note}" for note in report["notes"]]
    return [
        *lines,
        "",
        *(line for words in messages for line in textwrap.wrap(words, LINE_WIDTH, subsequent_indent="  ")),
    ]


def _mesh_lines(tile: Tile, report: Mapping[str, Any]) -> list[str]:
    x, y = tile.meta["center"]
    roofs, terrain = report["roofs"], report["terrain"]
    return [
        f"centre {x:g}, {y:g} in local metres of the city   {tile.size:g} m + {tile.meta['margin']:g} m of margin",
        f"{sum(report['triangles'].values())} triangles; {roofs['covered']:.0%} of the square built on",
        f"heights by area: {_quartiles_text(roofs)}",
        f"roofs by area: {_fractions_text(roofs['materials'])}",
        f"ground from {terrain['lowest']:.0f} to {terrain['highest']:.0f} m",
        *textwrap.wrap("unknown: " + "; ".join(report["unknown"]), LINE_WIDTH, subsequent_indent="  "),
    ]


def _fractions_text(materials: Mapping[str, float]) -> str:
    return ", ".join(f"{fraction:.0%} {name}" for name, fraction in materials.items())


def _quartiles_text(heights: Mapping[str, Any]) -> str:
    return f"{' / '.join(f'{h:.0f}' for h in heights['quartiles'])} m (min, quartiles, max)"


def _building_lines(tile: Tile, report: Mapping[str, Any]) -> list[str]:
    latitude, longitude = tile.meta["center"]
    heights, meshes = report["heights"], report["meshes"]
    known = ", ".join(f"{n} {HEIGHT_SOURCES[name]}" for name, n in heights["provenance"].items())
    return [
        f"{latitude:.5f}, {longitude:.5f}   {tile.meta['crs']}   {tile.size:g} m + {tile.meta['margin']:g} m of margin",
        f"{report['buildings']} buildings; heights: {known}",
        f"heights: {_quartiles_text(heights)}",
        f"{meshes['watertight'] or 0:.1%} of {meshes['count']} meshes watertight",
        f"overlap {report['overlaps']['share'] or 0:.3%} of the footprints",
        f"round trip to degrees {report['round_trip']['error']:.0e} m",
    ]
