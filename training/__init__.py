"""Train, evaluate and calibrate: losses with the ray tracer in the loop, protocols, ablations.

Each function takes its configuration and returns the folder of its results; the command line's verbs call the same
functions. The names are imported on first use.

Example:
    >>> from pathlib import Path
    >>> import training
    >>> config = training.EvalConfig(run=Path("runs/demo"), phones=200, tiers=("rsrp",))
    >>> config.tiles
    ('florence@0,100', 'florence@-150,-200')
"""

from typing import TYPE_CHECKING

from uel._lazy import lazy_names

if TYPE_CHECKING:
    from training.ablation.config import AblateConfig as AblateConfig
    from training.ablation.runner import ablate as ablate
    from training.calibration.config import CalibrateConfig as CalibrateConfig
    from training.calibration.run import run as calibrate
    from training.commands.config import DemoConfig as DemoConfig
    from training.commands.config import TrainConfig as TrainConfig
    from training.commands.demo import run as demo
    from training.commands.train import run as train
    from training.evaluation.protocol import EvalConfig as EvalConfig
    from training.evaluation.runner import run_protocol as evaluate

__all__ = [
    "train",
    "TrainConfig",
    "evaluate",
    "EvalConfig",
    "ablate",
    "AblateConfig",
    "calibrate",
    "CalibrateConfig",
    "demo",
    "DemoConfig",
]

_HOME = {
    "train": "training.commands.train:run",
    "TrainConfig": "training.commands.config",
    "evaluate": "training.evaluation.runner:run_protocol",
    "EvalConfig": "training.evaluation.protocol",
    "ablate": "training.ablation.runner",
    "AblateConfig": "training.ablation.config",
    "calibrate": "training.calibration.run:run",
    "CalibrateConfig": "training.calibration.config",
    "demo": "training.commands.demo:run",
    "DemoConfig": "training.commands.config",
}
__getattr__, __dir__ = lazy_names("training", _HOME)
