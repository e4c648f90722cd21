# %% [markdown]
# # Antennas and materials from levels
#
# An operator's list says where antennas point, and is often wrong by some degrees. Measured levels tell better: the
# ray tracer is differentiated by azimuths and tilts, and both are fitted to levels at known positions.
#
# **What it shows:** azimuth and tilt of three sectors from levels with 3 dB of noise, and how the map changes.
# **It takes** about a minute of CPU. **Its limit:** levels are simulated by the same ray tracer, so that only
# antennas are wrong here; on real levels materials, heights and power are fitted, too: `uel calibrate`.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import scenes
import sim_bridge
import uel

# %% tags=["parameters"]
size = 256.0  # m
phones = 200  # measured positions
steps = 80  # of the optimizer
rays = 500_000  # of each cell of a radio map

# %%
tile = scenes.build("munich", "data/munich", size=size, margin=64.0, progress=False)
template = uel.Cell(tilt_deg=8.0, array=uel.Array(rows=4, pattern="tr38901"))
(true_site,) = scenes.place(tile, count=1, seed=3, sectors=3, template=template)
tracing = sim_bridge.TracingConfig(max_depth=3, diffraction=False, map_rays=rays)
ax = tile.plot(sites=(true_site,))

# %% [markdown]
# The levels: some hundred positions outdoors, 3 dB of noise.

# %%
generator = torch.Generator().manual_seed(0)
place = (torch.rand(20 * phones, 2, generator=generator) - 0.5) * 0.9 * size
place = place[tile.is_outdoor(place)][:phones]
sim = sim_bridge.open(tile, (true_site,), tracing)
paths = sim.freeze(place)  # the paths do not depend on where antennas point
true_azimuth = torch.tensor([cell.azimuth_deg for cell in true_site.cells])
true_tilt = torch.tensor([cell.tilt_deg for cell in true_site.cells])
with torch.no_grad():
    gain = paths.trace(azimuth_deg=true_azimuth, tilt_deg=true_tilt).gain()
heard = gain > 1e-13
noise = 3.0 * torch.randn(gain.shape, generator=generator)
measured = 10 * gain.clamp(min=1e-15).log10() + noise
print(f"{int(heard.sum())} links heard at {len(place)} positions")

# %% [markdown]
# The list is wrong by up to 25° in azimuth and says a tilt of 2°. Adam moves both; the loss is the mean absolute
# difference of levels, which forgives single bad values.

# %%
azimuth = (true_azimuth + torch.tensor([25.0, -18.0, 12.0])).requires_grad_()
tilt = torch.full((3,), 2.0, requires_grad=True)
optimizer, history = torch.optim.Adam([azimuth, tilt], lr=1.0), []
for step in range(steps):
    optimizer.zero_grad()
    predicted = 10 * paths.trace(azimuth_deg=azimuth, tilt_deg=tilt).gain().clamp(min=1e-15).log10()
    loss = (predicted - measured)[heard].abs().mean()
    loss.backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 1.0 * (1 - step / steps) + 0.05
    history.append(torch.cat([azimuth.detach() - true_azimuth, tilt.detach() - true_tilt, loss.detach()[None]]))
history = torch.stack(history)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
axes[0].plot(history[:, :3], label=[f"azimuth of cell {n}" for n in range(3)])
axes[0].plot(history[:, 3:6], "--", label=[f"tilt of cell {n}" for n in range(3)])
axes[0].axhline(0, color="black", linewidth=0.8)
axes[0].set(xlabel="step", ylabel="error in degrees")
axes[0].legend(fontsize=8)
axes[1].plot(history[:, 6])
axes[1].axhline(float(noise[heard].abs().mean()), color="black", linestyle="--", label="the noise alone")
axes[1].set(xlabel="step", ylabel="mean difference of levels in dB")
legend = axes[1].legend()

# %%
for n in range(3):
    print(
        f"cell {n}: azimuth off by {float(history[-1, n]):+.1f}° (listed {float(history[0, n]):+.0f}°), "
        f"tilt off by {float(history[-1, 3 + n]):+.1f}°"
    )

# %% [markdown]
# Azimuth and tilt stand in for one another where a cell is heard from few directions: single angles keep errors of some
# degrees although the levels fit as well as the noise allows. What it is worth: the map of the listed antennas and of
# the fitted ones, against the true map.


# %%
def map_of(azimuths, tilts):
    """The radio map of other antennas on the same mast."""
    cells = zip(true_site.cells, azimuths.tolist(), tilts.tolist(), strict=True)
    site = replace(true_site, cells=tuple(replace(cell, azimuth_deg=a % 360, tilt_deg=t) for cell, a, t in cells))
    return sim_bridge.open(tile, (site,), tracing).radio_map(tile.grid(4.0))


true_map = map_of(true_azimuth, true_tilt)
listed_map = map_of(true_azimuth + torch.tensor([25.0, -18.0, 12.0]), torch.full((3,), 2.0))
fitted_map = map_of(azimuth.detach(), tilt.detach())
for name, radio in (("listed", listed_map), ("fitted", fitted_map)):
    known = radio.known & true_map.known
    error = (radio.level_db - true_map.level_db)[known].abs()
    print(f"{name} antennas: median error of the map {float(error.median()):.1f} dB")
figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained")
listed_map.plot(axes[0], cell=0, tile=tile).set_title("cell 0, listed antennas")
fitted_map.plot(axes[1], cell=0, tile=tile).set_title("cell 0, fitted antennas")
print("the wedge is where the antenna is taken to point")

# %% [markdown]
# The whole of it, with priors, materials, mast heights and the width of every answer, is one command:
# `uel calibrate --tile data/tiles/campus --drive drive.csv.gz`. For measured networks without a ray tracer there is
# `uel antennas FOLDER`.
