"""Checkpoints that are whole or not there: Lightning by itself writes in place where `/tmp` is another disk."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from uel.core.io import replace_torch_file


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        replace_torch_file(Path(path), checkpoint)
