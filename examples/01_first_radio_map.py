# %% [markdown]
# # A first radio map
#
# A square of a city, two base-station sites on its roofs, and the level that a phone receives at each place, by ray
# tracing with Sionna RT.
#
# **What it shows:** a tile, sites, a radio map with its Monte-Carlo error, and how to read values from it.
# **It takes** about half a minute of CPU. **Its limit:** the tile is one of the cities that come with Sionna RT,
# of 256 m; the next example builds your own.

# %%
import matplotlib.pyplot as plt
import torch

import scenes
import sim_bridge
import uel

# %% tags=["parameters"]
size = 256.0  # m, side of the square
pixel = 4.0  # m, side of a pixel of the radio map
rays = 2_000_000  # of each cell

# %% [markdown]
# A **tile** is a folder: meshes for the ray tracer, rasters for everything else. Objects show themselves; `tile.plot()`
# takes Matplotlib axes and returns them.

# %%
tile = scenes.build("etoile", "data/etoile", size=size, margin=64.0, progress=False)
tile

# %% [markdown]
# Two **sites** on roofs, each with three **cells** (sectors). Wedges show where the antennas point; positions are in
# metres east and north of the tile's centre.

# %%
sites = scenes.place(tile, count=2, seed=1, sectors=3)
ax = tile.plot(sites=sites)

# %% [markdown]
# `sim_bridge.open` puts the sites into the scene. The **radio map** holds the path gain of every cell, averaged over
# each pixel at 1.5 m above the ground, with delays, directions and line of sight from the same rays.

# %%
sim = sim_bridge.open(tile, sites, sim_bridge.TracingConfig(map_rays=rays))
radio = sim.radio_map(tile.grid(pixel))
radio

# %% [markdown]
# RSRP is the power of one resource element. Where no ray arrives the map is hatched: such a link is *censored*, it has
# no value.

# %%
ax = radio.plot(tile=tile)

# %% [markdown]
# One cell alone, and the standard error of its map. The error tells whether there were enough rays: it is large where
# few of them arrive.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
radio.plot(axes[0], cell=0, tile=tile)
ax = radio.plot(axes[1], cell=0, channel="error", tile=tile)

# %% [markdown]
# The other channels are `gain`, `sinr` (all cells at full load), `sight`, `spread` (delay spread) and `excess` (how
# much later than the straight line the first path arrives).

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
radio.plot(axes[0], channel="sinr", tile=tile)
ax = radio.plot(axes[1], channel="spread", tile=tile)

# %% [markdown]
# Look a value up at any position, or trace the paths to that position. The two differ: a pixel is a mean over its
# area, a position is one point.

# %%
position = torch.tensor([[10.0, 40.0], [-60.0, 20.0]])  # m east and north
power = uel.reference_power_dbm(sites)  # dBm of a resource element, of each cell
for name, source in (("map", radio), ("rays", sim)):
    gain = source.path_gain(position)
    level = (10 * gain.clamp(min=1e-30).log10() + power).where(gain > 0, torch.nan)
    print(name, [[f"{value:.0f}" for value in row] for row in level.tolist()], "dBm of the six cells")

# %% [markdown]
# All quantities as an `xarray.Dataset`; `uel convert` writes GeoTIFF, GeoPackage, KML and Zarr.

# %%
print(radio.to_xarray())

# %% [markdown]
# In a notebook of your own, `explorer.explore(tile, radio=radio)` shows the map on the ground in 3-D, and
# `uel explore` starts the web application with all of it. On the command line the same is
# `uel build etoile`, `uel place data/tiles/etoile`, `uel map data/tiles/etoile`.
