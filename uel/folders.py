"""Where generated data lives."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where generated data lives: `UEL_DATA`, or `data` in the working directory."""
    return Path(os.environ.get("UEL_DATA", "data"))
