"""Simulators in other processes: they travel as specifications, and a fork is noticed."""

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sim_bridge.simulator import Sionna, TracingConfig, rt
from tests.conftest import ROOT
from tests.helpers.ray_traced_scenes import bundled, empty, mast
from uel.errors import UelError

POSITION = torch.tensor([[25.0, -3.0, 1.5], [40.0, 2.0, 1.5]])


def gain_there(sim: Sionna) -> list[float]:
    """Runs in a worker."""
    return sim.path_gain(POSITION)[:, 0].tolist()


def error_there(sim: Sionna) -> str:
    """Runs in a worker; what the bridge says."""
    try:
        sim.path_gain(POSITION)
    except UelError as error:
        return str(error)
    return "no error"


def test_a_simulator_travels_as_its_specification() -> None:
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), samples=1000, max_depth=1)
    content = pickle.dumps(sim)
    assert len(content) < 5000
    torch.testing.assert_close(pickle.loads(content).path_gain(POSITION), sim.path_gain(POSITION), rtol=0, atol=0)


def test_a_scene_in_memory_cannot_travel() -> None:
    sim = Sionna(rt.load_scene(None), mast(), TracingConfig(samples=100, diffraction=False))
    with pytest.raises(UelError, match=r"cannot be sent[\s\S]*do:  open it from a tile"):
        pickle.dumps(sim)


def test_a_spawned_worker_computes_the_same() -> None:
    sim = empty(mast())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply_async(gain_there, (sim,)).get(timeout=120)
    assert there == sim.path_gain(POSITION)[:, 0].tolist()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_forked_worker_is_told_instead_of_hanging() -> None:
    script = (
        "import multiprocessing, tests.sim_bridge.backend.test_processes as t\n"
        "sim = t.empty(t.mast())\n"
        "sim.path_gain(t.POSITION)\n"
        "def work(queue): queue.put(t.error_there(sim))\n"
        "fork = multiprocessing.get_context('fork')\n"
        "queue = fork.Queue()\n"
        "child = fork.Process(target=work, args=(queue,)); child.start()\n"
        "print(queue.get(timeout=60)); child.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=180)
    assert "Dr.Jit does not survive a fork" in done.stdout, done.stderr[-2000:]
    assert "spawn" in done.stdout


DDP = """
import os, sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from sim_bridge.simulator import TracingConfig, open_empty
from uel.radio.sites import Site

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
sim = open_empty((Site(position=(3.0, -2.0, 20.0)),), TracingConfig(samples=100, diffraction=False))
torch.manual_seed(0)
net = DistributedDataParallel(torch.nn.Linear(2, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=10.0)
for step in range(3):
    torch.manual_seed(10 * step + rank)
    optimizer.zero_grad()
    position = net(torch.randn(4, 2)) * 20 + 40
    loss = sim.path_gain(position).log().mean()
    loss.backward()
    optimizer.step()
print([round(v, 6) for p in net.parameters() for v in p.flatten().tolist()])
"""


@pytest.mark.slow  # 25 s: two processes compile their kernels
def test_two_processes_train_with_the_tracer_in_the_step(tmp_path: Path) -> None:
    """Gradients through the bridge are averaged over both ranks: their weights stay one."""
    command = [sys.executable, "-W", "error::UserWarning:sim_bridge", "-c", DDP]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], stdout=-1, stderr=-1, text=True, cwd=ROOT)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240) for process in ranks]
    assert all(process.returncode == 0 for process in ranks), outputs[0][1][-2000:] + outputs[1][1][-2000:]
    first, second = (out.strip().splitlines()[-1] for out, _ in outputs)
    assert first == second
    torch.manual_seed(0)
    untrained = [round(v, 6) for p in torch.nn.Linear(2, 2).parameters() for v in p.flatten().tolist()]
    assert first != str(untrained)
