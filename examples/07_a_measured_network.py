# %% [markdown]
# # A measured network, zero to two thousand labels
#
# An operator's list of cells, rasters of heights, and levels measured on squares of 5 m: how far off is a phone located
# with no label, with twenty, with two thousand?
#
# **What it shows:** kriging of levels around a law of distance, and the error of four methods by the number of labels.
# **It takes** about two minutes of CPU. **Its limit:** the district is made up by a script (a law of distance, a
# sector pattern, a fading field): its figures say nothing about a city. Those of measured districts are in
# EVALUATION.md.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from explorer.figures.measured_networks import error_by_labels
from scenes.measured_networks.reader import read_measured_network
from scenes.measured_networks.synthetic_district import write_district
from training.measured_networks.config import MeasuredEvalConfig
from training.measured_networks.runner import run_measured
from uel.measurement.measured_network import split_labels
from uel.prediction.config import PredictionParameters
from uel.prediction.label_locator import LabelLocator
from uel.prediction.level_reports import LevelReports
from uel.prediction.square_posterior import Squares
from uel.results.measured_evaluation import MEAN_NAME, MeasuredResult, MeasuredTable

# %% tags=["parameters"]
side = 480.0  # m, of the measured district
budgets = (0, 20, 100, 500, 2000)  # labels
draws, phones = 2, 60  # draws of labelled blocks, judged phones of each
shown_labels = 500

# %% [markdown]
# The folder of a measured network: `cells.csv`, `reports.csv.gz` and rasters, as
# `scenes/measured_networks/reader.py` describes.

# %%
folder = Path("districts/made_up")
if not folder.is_dir():
    write_district(folder, seed=3, side=side, masts=6)
network = read_measured_network(folder).heard_cells()
network

# %%
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
network.plot(axes[0])
ax = network.plot(axes[1], cell=0)

# %% [markdown]
# Labelled and judged squares come from different blocks of 64 m, so that no judged phone stands beside a label. With
# the labels, levels of all cells are kriged: the mean is a law of distance and direction, and the cells share the
# effects of masts and of the district.

# %%
split = split_labels(network, seed=0)
labels = network.select(split.labels(min(shown_labels, len(split.labelled))))
squares, parameters = Squares.outdoors(network), PredictionParameters()
locator = LabelLocator.fit(labels, squares, squares.prior(labels, parameters.places), parameters)


def raster(values):
    """Values of squares on the district's grid, NaN elsewhere."""
    full = np.full(squares.possible.numel(), np.nan)
    full[squares.index] = values
    return full.reshape(squares.grid.shape)


half = squares.grid.size / 2
extent = {"extent": (-half, half, -half, half), "origin": "lower"}
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
picture = axes[0].imshow(raster(locator.prediction.mean[0]), **extent)
axes[0].set(title=f"cell 0 kriged from {len(labels)} labels", xlabel="east in m", ylabel="north in m")
figure.colorbar(picture, ax=axes[0], label="RSRP in dBm")
picture = axes[1].imshow(raster(locator.prediction.std[0]), cmap="cividis", **extent)
axes[1].plot(*labels.position.T, ".", color="white", markersize=2)
axes[1].set(title="its error bar, and the labels", xlabel="east in m", ylabel="north in m")
bar = figure.colorbar(picture, ax=axes[1], label="dB")

# %% [markdown]
# One phone: the posterior over all squares where it can be.

# %%
phone = network.select(split.judged[:1])
estimate = locator(LevelReports.of(phone))
figure, ax = plt.subplots(figsize=(6.2, 5.2), layout="constrained")
picture = ax.imshow(raster(estimate.probability[0] * 100), cmap="Blues", **extent)
ax.plot(*phone.position[0], "*", color="#F0E442", markersize=14, markeredgecolor="black", label="truth")
ax.plot(*estimate.position[0], "X", color="#D55E00", markersize=10, markeredgecolor="white", label="answer")
error = float((estimate.position - phone.position).norm())
ax.set(title=f"{error:.0f} m off", xlabel="east in m", ylabel="north in m")
figure.colorbar(picture, ax=ax, label="probability of a square in %")
legend = ax.legend()

# %% [markdown]
# ## How many labels?
#
# The same over draws of blocks and many phones. Rivals: the strongest cell's site (no labels), the five nearest
# fingerprints, and kriging of each cell by itself.

# %%
methods = ("strongest_cell", "knn_5", "law_kriging", "path_loss", "path_loss_kriging")
config = MeasuredEvalConfig(
    data=Path("districts"), out=Path("runs/made_up"), methods=methods, labels=budgets, draws=draws, phones=phones
)
table = MeasuredTable.of(MeasuredResult.load(run_measured(config)))
for row in (row for row in table.rows if row["district"] == MEAN_NAME):
    interval = f"[{row['p50_low_m']:.0f}, {row['p50_high_m']:.0f}]"
    print(f"{row['labels']:>5} labels  {row['method']:18} median {row['p50_m']:5.0f} m {interval}")
error_by_labels(table.rows)

# %% [markdown]
# `uel eval --protocol chengdu --data FOLDER` runs this on a folder of districts with intervals over blocks, and
# `uel train-maps --data FOLDER` learns maps of levels from other districts, for a district without labels.
# `network.to_dataframe()` and `network.to_geodataframe()` give levels and cells as tables.

# %%
print(network.to_geodataframe().head(3)[["cell_id", "height", "azimuth_deg", "geometry"]])
