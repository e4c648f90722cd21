"""The deployments of a training, whoever makes their stages, in `uel train` and in `uel demo`."""

from dataclasses import replace

import pytest

from sim_bridge.engines.config import EngineConfig
from training.commands.config import DemoConfig, TrainConfig
from training.commands.deployments import deployment_units, prepare_deployments
from uel.errors import UelError


def test_sets_of_sites_are_counted_by_kind() -> None:
    config = TrainConfig(train=("munich@0,0", "san_francisco@0,0"), deployments=2, validate=("etoile@0,0",))
    units = [(unit.place, unit.index, unit.number, unit.is_validation) for unit in deployment_units(config)]
    assert units == [
        ("munich@0,0", 0, 0, False),
        ("munich@0,0", 1, 1, False),
        ("san_francisco@0,0", 2, 0, False),
        ("san_francisco@0,0", 3, 1, False),
        ("etoile@0,0", 0, 0, True),
    ]


def test_the_demo_hands_its_engine_to_training_and_evaluation() -> None:
    demo = DemoConfig(engine="processes", workers=3, gpus=0.5)
    for config in (demo.train_config, demo.eval_config):
        assert isinstance(config, EngineConfig)
        assert (config.engine, config.workers, config.gpus) == ("processes", 3, 0.5)


@pytest.mark.parametrize("partial", [{"engine": "slurm"}, {"unit": (0,)}])
def test_a_training_is_no_array_of_jobs(partial: dict) -> None:
    with pytest.raises(UelError, match=r"the demo waits for its units(.|\n)*processes or ray"):
        DemoConfig(**partial)
    config = replace(TrainConfig(), **partial)
    with pytest.raises(UelError, match="one training waits for its units"):
        prepare_deployments(config, deployment_units(config))
