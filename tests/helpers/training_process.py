"""One process of a training in a toy world: `torchrun --nproc-per-node 2 -m tests.helpers.training_process FOLDER`."""

import sys
from pathlib import Path

from tests.helpers.toy_city import toy_deployment
from training.locator.config import OptimizationConfig
from training.locator.fit import fit
from training.locator.setup import LocatorTrainingConfig
from uel.models.config import LocatorConfig

PLAN = OptimizationConfig(epochs=2, steps_per_epoch=2, batch=4, validation=8, rt_fraction=0.5, ema=0.5)
LOCATOR = LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1)


def main(folder: Path, plan: OptimizationConfig = PLAN) -> dict:
    """Train and return the facts."""
    world = toy_deployment(folder.parent / "tile")
    return fit(folder, "key", LocatorTrainingConfig(locator=LOCATOR, training=plan), [world], [world])[1]


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
