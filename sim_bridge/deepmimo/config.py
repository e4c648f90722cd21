"""Configuration of the export to DeepMIMO. No framework is imported here."""

import math
from dataclasses import dataclass, field

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.radio.tracing_config import TracingConfig

DEEPMIMO_PATHS = 25  # that DeepMIMO 4 loads unless asked for more


@dataclass(frozen=True, kw_only=True)
class DeepMimoConfig:
    """Paths that a scenario of DeepMIMO holds.

    Raises:
        UelError: for a spacing or a number of paths that is not positive.
    """

    spacing: float = 8.0
    """m between receivers, which stand outdoors on a grid; it must divide the tile's side"""
    paths: int = DEEPMIMO_PATHS
    """strongest paths that are kept of each link"""
    tracing: TracingConfig = field(default_factory=TracingConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 < self.spacing < math.inf:
            do = "give metres: --deepmimo.spacing 8"
            raise UelError("--deepmimo.spacing must be above 0", got=self.spacing, do=do)
        if self.paths < 1:
            raise UelError("--deepmimo.paths must be at least 1", got=self.paths, do="give --deepmimo.paths 25, say")
