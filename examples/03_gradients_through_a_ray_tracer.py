# %% [markdown]
# # The bridge: gradients through a ray tracer in ten lines
#
# PyTorch asks for path gain at a position, Sionna RT answers through Dr.Jit, and `.backward()` brings derivatives back
# to positions, antennas and materials.
#
# **What it shows:** derivatives beside finite differences, and a descent on a material's permittivity, into a valley.
# **It takes** about a minute of CPU. **Its limit:** derivatives are of the paths that are there; none of them
# sees a path appear or vanish.

# %%
import matplotlib.pyplot as plt
import torch

import scenes
import sim_bridge

# %% tags=["parameters"]
size = 256.0  # m
points = 60  # positions along a street
phones = 64  # whose levels the material is learned from
steps = 40  # of the optimizer

# %%
tile = scenes.build("munich", "data/munich", size=size, margin=64.0, progress=False)
sites = scenes.place(tile, count=2, seed=3)

# %% [markdown]
# The ten lines. The position is a leaf of PyTorch's graph, as any weight of a network is.

# %%
sim = sim_bridge.open(tile, sites, sim_bridge.TracingConfig(max_depth=3))
position = torch.tensor([[20.0, 30.0]], requires_grad=True)  # m east and north
gain = sim.path_gain(position)  # (position, cell), linear: Sionna RT inside
loss = gain.clamp(min=1e-15).log10().sum()
loss.backward()  # Dr.Jit's derivatives, and the image method's
print("gain", gain.tolist())
print("derivative by east and north", position.grad.tolist())

# %% [markdown]
# ## Is it right?
#
# Along a line of positions the automatic derivative of the level (dB) stands beside a central difference over 6 cm. The
# gain is the sum of the powers of all paths, so there is no fast fading in it. Where the two differ, a path appears or
# vanishes within these 6 cm.

# %%
along = torch.stack([torch.linspace(-0.4 * size, 0.4 * size, points), torch.full((points,), 0.35 * size)], -1)
along = along[tile.is_outdoor(along)]


def level_db(place):
    """Level of the first cell in dB."""
    return 10 * sim.path_gain(place)[:, 0].clamp(min=1e-15).log10()


line = along.clone().requires_grad_()
level = level_db(line)
level.sum().backward()
step = torch.tensor([0.03, 0.0])
with torch.no_grad():
    difference = (level_db(along + step) - level_db(along - step)) / 0.06

figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
axes[0].plot(along[:, 0], level.detach().where(level > -149, torch.nan), ".-")  # nothing where no path is
axes[0].set(ylabel="path gain in dB")
axes[1].plot(along[:, 0], line.grad[:, 0], "o", label="automatic derivative")
axes[1].plot(along[:, 0], difference, "+", color="black", label="difference over 6 cm")
axes[1].set(xlabel="east in m", ylabel="dB per metre", ylim=(-3, 3))
legend = axes[1].legend()

# %% [markdown]
# ## A material from levels
#
# `freeze` finds the paths once, `trace` evaluates them with other materials. Here the walls' true permittivity is not
# known to the optimizer: it sees levels at some positions and starts from a wrong value. The start is not far: the
# reflection of a wall rings with its thickness, so that the misfit has many valleys (`uel calibrate` scans them first).

# %%
name = "material/marble/relative_permittivity"
generator = torch.Generator().manual_seed(0)
place = (torch.rand(20 * phones, 2, generator=generator) - 0.5) * 0.9 * size
place = place[tile.is_outdoor(place)][:phones]
frozen = sim.freeze(place)
truth = torch.tensor(7.074)  # ITU-R P.2040 says this of marble
with torch.no_grad():
    gain = frozen.trace(**{name: truth}).gain()
    heard = gain > 1e-13
    measured = 10 * gain.clamp(min=1e-15).log10() + 0.5 * torch.randn(
        gain.shape, generator=generator
    )  # 0.5 dB of noise

logarithm = torch.tensor(6.6).log().requires_grad_()  # the start
optimizer, values = torch.optim.Adam([logarithm], lr=0.01), []
for _ in range(steps):
    optimizer.zero_grad()
    predicted = 10 * frozen.trace(**{name: logarithm.exp()}).gain().clamp(min=1e-15).log10()
    loss = (predicted - measured)[heard].abs().mean()
    loss.backward()
    optimizer.step()
    values.append((float(logarithm.detach().exp()), float(loss.detach())))

figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
ax.plot([value for value, _ in values], label="learned")
ax.axhline(float(truth), color="black", linestyle="--", label="true")
ax.set(xlabel="step", ylabel="relative permittivity", title=f"misfit {values[0][1]:.2f} → {values[-1][1]:.2f} dB")
legend = ax.legend()

# %% [markdown]
# The misfit falls from 2.5 to 1.0 dB, and the permittivity is wrong: the descent ends in the next valley, 6.2 instead
# of 7.07. The noise alone has a misfit of 0.4 dB; by such a difference a wrong valley is known. A derivative is right
# and looks near; a scan of starts finds the valley.
#
# `sim.parameters` lists all names that `trace` takes: positions, heights, azimuths and tilts of cells, velocities,
# properties of every material, positions of objects. `uel doctor --gradients` compares each of them with differences.

# %%
print(len(sim.parameters), "parameters, for example", sim.parameters[:6])
