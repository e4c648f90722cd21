# %% [markdown]
# # Your own city, network and log
#
# Three files are enough: a map of buildings, an operator's list of cells, and a phone's log. They become a tile,
# sites, a radio map, and a position for each report with its uncertainty.
#
# **What it shows:** the whole way from files to fixes, without training. **It takes** about half a minute of CPU.
# **Its limit:** the three files stand for yours and are made up here; on a real network the map's levels are off by
# 6 to 10 dB, which labelled reports correct (`--labelled-reports`).

# %%
import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from pyproj import Transformer

import scenes
import sim_bridge
import uel
from scenes.sites.site_files import read_sites
from scenes.tiles.writer import write_sites
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.reader import open_log
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections
from uel.models.config import LocatorConfig

# %% tags=["parameters"]
size = 256.0  # m
rays = 1_000_000  # of each cell
count = 40  # reports in the log

# %% [markdown]
# ## The files that stand for yours
#
# A town of blocks as GeoJSON. `scenes.build` reads OpenStreetMap's XML and PBF, GeoJSON, Shapefiles, GeoParquet,
# rasters of heights, Sionna scenes, and the names of places.

# %%
CENTRE = (48.0, 9.0)  # latitude and longitude
to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
east, north = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(CENTRE[1], CENTRE[0])


def degrees(x, y):
    """Longitude and latitude of metres from the centre."""
    return to_degrees.transform(east + x, north + y)


features = []
for row in range(-3, 4):
    for column in range(-3, 4):
        x, y, height = 48 * column, 48 * row, 9 + 3 * ((5 * row + 3 * column) % 5)
        corners = [(x - 16, y - 16), (x + 16, y - 16), (x + 16, y + 16), (x - 16, y + 16), (x - 16, y - 16)]
        ring = [degrees(*corner) for corner in corners]
        features.append(
            {
                "type": "Feature",
                "properties": {"building": "yes", "height": height},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
Path("town.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
with open("cells.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["latitude", "longitude", "height_above_roof", "azimuth_deg", "tilt_deg", "pci", "power_dbm"])
    for pci, (x, y, azimuth) in enumerate(
        [(-48, -48, 30), (-48, -48, 150), (48, 48, 210), (48, 48, 330), (-96, 96, 120)]
    ):
        longitude, latitude = degrees(x, y)
        table.writerow([f"{latitude:.7f}", f"{longitude:.7f}", 4, azimuth, 6, 100 + pci, 43])
print(Path("cells.csv").read_text())

# %% [markdown]
# ## Tile, sites, radio map

# %%
tile = scenes.build("town.geojson", "data/town", center=CENTRE, size=size, margin=32.0)
tile = write_sites(tile, read_sites(tile, Path("cells.csv"), uel.Cell(array=uel.Array(pattern="tr38901"))))
tile

# %%
radio = sim_bridge.open(tile, tile.sites, sim_bridge.TracingConfig(map_rays=rays)).radio_map(tile.grid(4.0))
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
tile.plot(axes[0])
ax = radio.plot(axes[1], tile=tile)

# %% [markdown]
# ## The log
#
# A phone walked down a street. Its log names cells by their PCI; times and levels are there, and because it is made up,
# the true position. `uel` finds columns by their usual names, also those of G-NetTrack, TEMS, Nemo and others.

# %%
walk = torch.stack([torch.full((count,), -24.0), torch.linspace(-100, 100, count)], -1)
model = uel.ObservationModel()
drawn = model.observe(radio.pixel_truth(walk), uel.reference_power_dbm(tile.sites), torch.Generator().manual_seed(4))
with open("log.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["time", "pci", "rsrp"])
    for number, cell in drawn.heard.nonzero().tolist():
        table.writerow([number, 100 + cell, f"{float(drawn.rsrp_dbm[number, cell]):.0f}"])

with Rejections() as rejections, open_log(tile, tile.sites, Path("log.csv"), ColumnConfig(), rejections) as log:
    reports = LogPart.cat(list(log.parts())).reports
print("set aside:", dict(rejections.counts))
reports

# %% [markdown]
# ## Fixes
#
# A locator that was not trained is grid Bayes: the probability of each place under the map, the fading and the phone's
# sensitivity. It needs no training and no labels.

# %%
maps = uel.TileMaps.from_tile(tile, radio)
locator = uel.Locator(LocatorConfig(patches=32), model).eval()
with torch.no_grad():
    fix = locator(reports, maps)
error = (fix.position - walk).norm(dim=-1)
print(f"median error {float(error.median()):.0f} m, stated standard deviation {float(fix.std.median()):.0f} m")
fix

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
fix.plot(axes[0], number=count // 2, tile=tile, truth=walk[count // 2].tolist())
tile.plot(axes[1])
axes[1].plot(*walk.T, color="#F0E442", linewidth=3, label="the walk")
axes[1].plot(*fix.position.T, ".", color="#D55E00", label="fixes, each report by itself")
legend = axes[1].legend(loc="upper right")

# %% [markdown]
# As a table with degrees, for QGIS and the rest: `to_geodataframe(tile).to_file("fixes.gpkg")`.

# %%
print(fix.to_geodataframe(tile).to_crs("EPSG:4326")[["x", "y", "std_m", "geometry"]].head())

# %% [markdown]
# The same on the command line, with a trained run and the phone's track filtered as a whole:
#
# ```sh
# uel build town.geojson --center 48.0 9.0 --size 256
# uel place data/tiles/town --kind custom --file cells.csv
# uel map data/tiles/town
# uel locate runs/demo log.csv --tile data/tiles/town --speed 1.4 --out fixes.geojson
# ```
