# %% [markdown]
# # Full ray tracing against a stored map in the loss
#
# A loss may compare measured levels with levels at a predicted position. These can be looked up in a stored radio map,
# or traced anew with gradients. Which one is better, and what does it cost?
#
# **What it shows:** phones are located by descending the same loss through four maps and through the ray tracer; error
# and time of each. **It takes** about two minutes of CPU. **Its limit:** one tile, one start for each phone, no
# network; how both losses do in training is measured by `uel ablate` (EVALUATION.md has the results, and where lookup
# wins).

# %%
import time

import matplotlib.pyplot as plt
import torch

import scenes
import sim_bridge
import uel

# %% tags=["parameters"]
size = 256.0  # m
phones = 24
steps = 30
rays = 1_000_000  # of each cell of the good map
few_rays = 50_000  # of the poor map

# %%
tile = scenes.build("etoile", "data/etoile", size=size, margin=32.0, progress=False)
sites = scenes.place(tile, count=4, seed=3)
power = uel.reference_power_dbm(sites)
sim = sim_bridge.open(tile, sites, sim_bridge.TracingConfig(max_depth=3, diffraction=False, samples=10_000))

# %% [markdown]
# The truth is ray-traced at points. The maps: pixels of 2 m with many rays, of 8 m, of few rays, and one of antennas
# that stand 5 m higher than they do.

# %%
higher = tuple(uel.Site(position=(*site.position[:2], site.position[2] + 5.0), cells=site.cells) for site in sites)


def map_of(own_sites, pixel, map_rays):
    """A radio map of some sites."""
    config = sim_bridge.TracingConfig(max_depth=3, diffraction=False, map_rays=map_rays)
    return sim_bridge.open(tile, own_sites, config).radio_map(tile.grid(pixel))


sources = {
    "map, 2 m": map_of(sites, 2.0, rays),
    "map, 8 m": map_of(sites, 8.0, rays),
    "map, 2 m, few rays": map_of(sites, 2.0, few_rays),
    "map, masts 5 m too high": map_of(higher, 2.0, rays),
    "ray tracing": sim,
}

# %% [markdown]
# Phones stand where at least three cells are heard; levels have 2 dB of noise, and each descent starts 12 m off.

# %%
generator = torch.Generator().manual_seed(1)
place = (torch.rand(60 * phones, 2, generator=generator) - 0.5) * 0.8 * size
place = place[tile.is_outdoor(place)]
with torch.no_grad():
    gain = sim.path_gain(place)
heard = gain > 1e-13
enough = heard.sum(1) >= 3
place, gain, heard = (values[enough][:phones] for values in (place, gain, heard))
measured = 10 * gain.clamp(min=1e-15).log10() + 2.0 * torch.randn(gain.shape, generator=generator)
angle = 2 * torch.pi * torch.rand(len(place), generator=generator)
start = place + 12.0 * torch.stack([angle.cos(), angle.sin()], -1)
start = start.clamp(-0.49 * size, 0.49 * size)


def descend(source):
    """Positions after `steps` of Adam on the misfit of levels, and seconds a step."""
    position = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([position], lr=0.8)
    begin = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        level = 10 * source.path_gain(position).clamp(min=1e-13).log10()
        misfit = ((level - measured) / 6.0)[heard]
        misfit.square().clamp(max=8.0).sum().backward()  # a capped square: a wrong link does not decide
        optimizer.step()
        with torch.no_grad():
            position.clamp_(-0.49 * size, 0.49 * size)
    return position.detach(), (time.perf_counter() - begin) / steps


answers = {name: descend(source) for name, source in sources.items()}
for name, (position, seconds) in answers.items():
    error = (position - place).norm(dim=-1)
    print(f"{name:26} median error {float(error.median()):5.1f} m, {1e3 * seconds:6.1f} ms a step")

# %%
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
fraction = torch.arange(1, len(place) + 1) / len(place)
for name, (position, _) in answers.items():
    ax.step((position - place).norm(dim=-1).sort().values, fraction, where="post", label=name)
ax.axvline(12.0, color="black", linestyle=":", label="the start")
ax.set(xlabel="error in m", ylabel="fraction of phones below", xlim=(0, 30), ylim=(0, 1))
ax.grid(alpha=0.3)
legend = ax.legend(fontsize=8)

# %% [markdown]
# What to take from it (the times are of a busy machine; compare them with one another). From 12 m off none of the five
# brings many phones home: levels change within a few metres by more than on the whole way to the truth, and a
# derivative sees these few metres alone. The map of 8 m does best, because its pixels are means; rays, which know every
# metre, are caught soonest, and a step costs tens of times as much. This is why the locator begins with a heatmap over
# the whole tile, and takes the derivative of this loss at its likeliest patches only. On trained locators
# `uel ablate --quick` measures the same question with labels, map conditions and equal CPU time.
