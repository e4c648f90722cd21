"""Configuration of `uel residuals`. No framework is imported here."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from uel.core.io import data_folder
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError
from uel.prediction.config import TrendPrior
from uel.radio.tracing_config import TracingConfig


@dataclass(frozen=True, kw_only=True)
class ResidualsConfig:
    """Measured levels minus those of a radio map: `uel residuals data/tiles/north`.

    Raises:
        UelError: without a tile.

    Example:
        >>> from pathlib import Path
        >>> from training.residuals.config import ResidualsConfig
        >>> ResidualsConfig(tiles=(Path("data/tiles/north"),)).seed
        1
    """

    tiles: tyro.conf.Positional[tuple[Path, ...]]
    """folders of tiles that `uel network` made, with a radio map of each in `maps` (`uel map`)"""
    maps: Path = field(default_factory=lambda: data_folder() / "maps")
    """folder of the radio maps"""
    backend: str = TracingConfig().backend
    """simulator of the radio maps"""
    out: Path = Path("runs/residuals")
    """folder of table and report"""
    document: Path | None = None
    """text file whose part between the lines <!-- residuals --> and <!-- /residuals --> is replaced by the table"""
    seed: int = 1
    """of the pairs of squares and of intervals"""
    trend: TrendPrior = field(default_factory=TrendPrior)
    """levels that are expected where no map says any"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not self.tiles:
            do = "name one: uel network FOLDER, uel map TILE, uel residuals TILE"
            raise UelError("no tile of a measured network", got="no folder", do=do)
