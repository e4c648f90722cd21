"""A training step follows the device of its batch, with map and with simulator in its loss."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.ablation_tile import MODEL, PLAN, task_of
from tests.helpers.emulated_device import EMULATED, EmulatedTensor, emulated_device
from tests.helpers.ray_traced_scenes import empty
from tests.helpers.toy_city import SITES, toy_deployment
from training.data.batch import BatchConfig, BatchDataset
from training.locator.config import LossKind
from training.locator.fit import _devices
from uel.inference.deployment import Deployment


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Empty space, by the ray tracer."""
    made = toy_deployment(tmp_path_factory.mktemp("toy") / "tile")
    return replace(made, simulator=empty(SITES))


def to_emulated(module: torch.nn.Module) -> None:
    """Move a module's parameters and buffers; `Module.to` does not know the emulated device."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(parameter.detach().to(EMULATED))
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = buffer.to(EMULATED)


@pytest.mark.parametrize(("loss", "physics"), [("map", "physics_map"), ("rt", "physics_rt")])
def test_a_step_is_that_of_the_cpu(world, loss: LossKind, physics, monkeypatch):
    plan = replace(PLAN, loss=loss, rt_fraction=float(loss == "rt"))
    batch = BatchDataset([world], BatchConfig(model=MODEL, size=4, seed=1))[0]
    found = []
    for emulated in (False, True):
        with emulated_device():
            task = task_of(world, plan, monkeypatch)
            task.eval()  # no dropout
            logged: dict = {}
            monkeypatch.setattr(task, "log_dict", lambda values, into=logged, **_: into.update(values))
            if emulated:
                to_emulated(task)
            value = task.training_step(batch.to(EMULATED) if emulated else batch, 0)
            value.backward()
            gradient = torch.stack([p.grad.double().norm() for p in task.locator.parameters() if p.grad is not None])
            found.append((value.detach(), gradient.norm(), logged[physics]))
    for one, other in zip(*found, strict=True):
        assert isinstance(other, EmulatedTensor)
        torch.testing.assert_close(other.held, one, rtol=1e-4, atol=0)


def test_ranks_of_a_job_take_the_first_gpu_that_each_sees():
    assert _devices("cpu", 2, 1) == {"devices": 2, "strategy": "ddp"}
    assert _devices("gpu", 1, 1) == {"devices": 1, "strategy": "auto"}
    arguments = _devices("gpu", 2, 1)
    assert arguments["devices"] == 1
    assert arguments["strategy"].parallel_devices == [torch.device("cuda", 0)] * 2
