# %% [markdown]
# # A survey of a million reports
#
# A survey is the data set that a locator learns from: tracks of phones over tiles, the noise-free truth of every link,
# in Zarr. Noise is drawn when it is read, so that one file serves every noise level.
#
# **What it shows:** a small survey made, looked at, read and drawn from, and the command for a million reports. **It
# takes** about half a minute of CPU. **Its limit:** a few hundred reports; what a million costs is worked out at the
# end from the time that these took.

# %%
import time
from pathlib import Path

import matplotlib.pyplot as plt

import scenes
import uel
from scenes.tiles.writer import write_sites
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.commands.config import SurveyConfig
from sim_bridge.commands.survey import make_survey
from uel.radio.tracing_config import TracingConfig

# %% tags=["parameters"]
size = 256.0  # m
tracks, reports = 96, 8
samples = 10_000  # rays of each cell in the search for paths

# %%
tile = scenes.build("etoile", "data/etoile", size=size, margin=64.0, progress=False)
tile = write_sites(tile, scenes.place(tile, count=3, seed=1, sectors=3))

# %% [markdown]
# Layers: `rt` are paths and what follows from them (gain, delay, angles, line of sight); `phy` adds the channel and
# what a phone measures of it, `sys` what the network makes of that (throughput, handover).

# %%
config = SurveyConfig(
    tiles=(tile.folder,),
    out=Path("data/survey"),
    tracks=tracks,
    reports=reports,
    unit_tracks=32,
    measure=FeatureConfig(layers=("rt",)),
    tracing=TracingConfig(max_depth=3, samples=samples, diffraction=False),
)
begin = time.perf_counter()
make_survey(config)
seconds = time.perf_counter() - begin
survey = uel.Survey.open("data/survey")
survey

# %%
ax = survey.plot(ground=tile)

# %% [markdown]
# A stopped survey goes on where it was; every shard has a hash, and the survey is a function of its configuration and
# seed alone: by one process or forty, by Ray or Slurm, the bytes are the same.

# %%
print("units to make:", len(survey.unfinished_units()), " damaged files:", survey.verify())
for name, values in survey.statistics().items():
    if name in ("gain_db", "delay", "azimuth_deg"):
        print(f"{name:12} mean {float(values.mean):10.3g}  deviation {float(values.std):10.3g}")

# %% [markdown]
# As a table, one row for each report and cell (`uel survey --export parquet` writes all of it):

# %%
table = survey.to_dataframe(tracks=4)
print(table[["track", "report", "cell", "x", "y", "gain_db", "delay", "los"]].head())

# %% [markdown]
# Reports are drawn on read. The same truth, seen by a good and by a poor phone:

# %%
tracks_of_tile = survey[tile.name]
good = tracks_of_tile.observe(uel.ObservationModel(shadowing_db=3.0), seed=0)
poor = tracks_of_tile.observe(uel.ObservationModel(shadowing_db=10.0), seed=0)
figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.8), layout="constrained")
good[0].plot(axes[0])
axes[0].set_title("one track, fading of 3 dB")
poor[0].plot(axes[1])
title = axes[1].set_title("the same track, fading of 10 dB")

# %% [markdown]
# ## A million

# %%
made = tracks * reports
print(f"{made} reports of nine cells took {seconds:.0f} s, the start of the ray tracer included.")
print(f"At this rate a million takes {1e6 / made * seconds / 3600:.1f} h on this machine by one process.")

# %% [markdown]
# The outputs above are of a machine that was shared by many: the kernel had 38 s of CPU in all, its start included.
# The command, with all cores and ten tiles; later units are faster, since the start is paid once:
#
# ```sh
# uel survey data/tiles/* --tracks 5000 --reports 20 --engine processes --out data/surveys/million
# ```
#
# `--engine ray --address …` and `--engine slurm` spread the same units over a cluster.
