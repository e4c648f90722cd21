# %% [markdown]
# # Training and judging a locator
#
# A network learns on one city to read a report and the maps of a tile; it is judged in another city that it has never
# seen, beside seven baselines and beside the physical limit of the same data.
#
# **What it shows:** the pipeline from tiles to a table of errors, and one fix. **It takes** some minutes on two cores.
# **Its limit:** to be quick, radio maps are of free space (no buildings in the way), tiles are small, and there are far
# too few phones and steps for a result. `make demo` is one: the same with the ray tracer, in ten minutes.

# %%
import matplotlib.pyplot as plt
import torch

import training
from explorer.figures.overview import error_figure
from explorer.reports.run import read_curves, read_errors
from uel.config import load
from uel.inference.run_folder import Run
from uel.results.run_summary import run_metrics

# %% tags=["parameters"]
arguments = "--config demo/quick --backend free-space --size 256 --margin 0 --training.epochs 4"

# %% [markdown]
# Everything that the pipeline depends on stands in one configuration; `configs/demo/quick.yaml` holds what differs from
# the default. Stages that are there already are reused, and a stopped run goes on where it was.

# %%
config = load(training.DemoConfig, "demo", arguments.split())
print("trained on", config.train, "validated on", config.validate, "tested on", config.test)
folder = training.demo(config)

# %% [markdown]
# The training: the loss of each step, and the error on the validation tile after each epoch.

# %%
curves = read_curves(folder / "training/metrics.csv")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].plot(*curves["loss"])
axes[0].set(xlabel="step", ylabel="loss")
for name in (name for name in curves if name.startswith("val_p50")):
    axes[1].plot(*curves[name], ".-", label=name)
axes[1].set(xlabel="step", ylabel="m", title="median error on the validation tile")
legend = axes[1].legend(fontsize=7)

# %% [markdown]
# The errors in the unseen city, where reports are drawn from the radio map: *the limit* is grid Bayes with the true map
# and the true noise, so that no method can have a smaller mean error. *Tiers* are what a report holds: levels alone,
# with timing advance, with the azimuth at the serving cell.

# %%
errors = read_errors(folder)
error_figure(errors, "map")

# %%
metrics = run_metrics(folder)
for tier, rows in metrics["test"]["tier"].items():
    print(tier)
    for method, row in sorted(rows.items(), key=lambda item: item[1]["p50_m"]):
        print(f"  {method:24} median {row['p50_m']:6.1f} m, 95 % below {row['p95_m']:6.1f} m")

# %% [markdown]
# One fix in the unseen city, of the trained locator.

# %%
run = Run.open(folder)
reports, truth = run.deployment.reports_from_map(1, run.locator.measurement, torch.Generator().manual_seed(5))
fix = run.locator(reports, run.maps)
ax = fix.plot(tile=run.tile, truth=truth[0].tolist())

# %% [markdown]
# `explorer.report(folder)` writes all of it as `report.md`, `uel explore runs/quick` shows it in the browser, and
# `uel eval runs/quick --protocol quick` judges the locator on wrong maps, fewer cells and other fading, too. A locator
# for your own tiles: `uel train --run mine --train data/tiles/a data/tiles/b --validate data/tiles/c`.
