"""Configuration of `uel antennas`. No framework is imported here."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class AntennasConfig:
    """Azimuths and tilts of a measured network from its levels: `uel antennas districts/north`.

    Compare with the list before the fit is used: in two judged districts it was no nearer to the list than beliefs that
    were 10° off (`docs/log/districts.md`).

    Raises:
        UelError: for values that cannot be.

    Example:
        >>> from pathlib import Path
        >>> from training.antennas.config import AntennasConfig
        >>> AntennasConfig(folders=(Path("north"),)).min_squares
        200
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """folders of measured networks: cells.csv, reports.csv.gz, rasters"""
    out: Path = Path("runs/antennas")
    """folder of table, report and figure"""
    wrong_azimuth_deg: float = 0.0
    """standard deviation of errors that the list's azimuths are given first, to see whether they are found again;
    0: the list as it is"""
    wrong_tilt_deg: float = 0.0
    """the same of the tilts"""
    min_squares: int = 200
    """labelled squares that a cell has to have"""
    unlabelled: int = 0
    """reports of unknown place from which antennas are fitted, too; 0: none"""
    phones: int = 200
    """judged reports of other blocks, which are located with each set of antennas; with unlabelled reports"""
    place_step: float = 40.0
    """m between the places where an unlabelled report can be"""
    rounds: int = 3
    """of expectation and maximisation"""
    seed: int = 1
    """of errors, of blocks and of squares"""
    fit: AntennaFitConfig = field(default_factory=AntennaFitConfig)

    def __post_init__(self) -> None:
        require_numbers(self)
        if not self.folders:
            raise UelError("no measured network", got="no folder", do="name one: uel antennas districts/north")
        for name in ("wrong_azimuth_deg", "wrong_tilt_deg"):
            if not 0 <= getattr(self, name) < math.inf:
                option = f"--{name.replace('_', '-')}"
                raise UelError(
                    f"{option} is not an angle of 0 or more", got=getattr(self, name), do=f"give {option} 20"
                )
        for name in ("min_squares", "phones", "rounds", "place_step"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise UelError(f"{option} must be at least 1", got=getattr(self, name), do="leave the default")
        if self.unlabelled < 0:
            raise UelError("--unlabelled must not be negative", got=self.unlabelled, do="give --unlabelled 1000, or 0")
